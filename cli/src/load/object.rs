//! JSON that has passed its schema into the type of its kind.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use portcullis_translate::{Kind, Object};

/// # Errors
/// What the schema could not see: a type of ours that is stricter.
pub(super) fn typed(kind: Kind, json: serde_json::Value) -> Result<Object, serde_json::Error> {
    Ok(match Object::of_kind(kind, json)? {
        Object::Secret(secret) => Object::Secret(Arc::new(merge_string_data(Arc::unwrap_or_clone(secret)))),
        other => other,
    })
}

/// Whether two objects say the same, whatever their text looked like.
pub(super) fn same(a: &Object, b: &Object) -> bool {
    match (a, b) {
        (Object::GatewayClass(a), Object::GatewayClass(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::Gateway(a), Object::Gateway(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::HttpRoute(a), Object::HttpRoute(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::GrpcRoute(a), Object::GrpcRoute(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::TlsRoute(a), Object::TlsRoute(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::TcpRoute(a), Object::TcpRoute(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::UdpRoute(a), Object::UdpRoute(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::ListenerSet(a), Object::ListenerSet(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::BackendTlsPolicy(a), Object::BackendTlsPolicy(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::ReferenceGrant(a), Object::ReferenceGrant(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::Namespace(a), Object::Namespace(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::Service(a), Object::Service(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::EndpointSlice(a), Object::EndpointSlice(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::Secret(a), Object::Secret(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::ConfigMap(a), Object::ConfigMap(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::GatewayParameters(a), Object::GatewayParameters(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::Backend(a), Object::Backend(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::RateLimitPolicy(a), Object::RateLimitPolicy(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::AuthPolicy(a), Object::AuthPolicy(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::XBackend(a), Object::XBackend(b)) => Arc::ptr_eq(a, b) || a == b,
        (Object::ClusterTrustBundle(a), Object::ClusterTrustBundle(b)) => Arc::ptr_eq(a, b) || a == b,
        _ => false,
    }
}

/// `stringData` is for writing alone: an API server moves it into `data`, where it wins.
fn merge_string_data(mut secret: Secret) -> Secret {
    for (key, value) in secret.string_data.take().unwrap_or_default() {
        secret.data.get_or_insert_default().insert(key, k8s_openapi::ByteString(value.into_bytes()));
    }
    secret
}
