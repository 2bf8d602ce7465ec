//! The kinds as the API server names them.

use kube::api::{ApiResource, GroupVersionKind};
use portcullis_translate::Kind;

/// The kinds whose objects are all followed. Secrets and ConfigMaps are held one by one: see [`super::hold`].
pub(crate) const FOLLOWED: [Kind; 19] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::TlsRoute,
    Kind::TcpRoute,
    Kind::UdpRoute,
    Kind::ListenerSet,
    Kind::BackendTlsPolicy,
    Kind::ReferenceGrant,
    Kind::Namespace,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::GatewayParameters,
    Kind::Backend,
    Kind::RateLimitPolicy,
    Kind::AuthPolicy,
    Kind::XBackend,
    Kind::ClusterTrustBundle,
];

/// Whether the controller can work without the kind.
pub(crate) fn is_optional(kind: Kind) -> bool {
    !matches!(kind, Kind::GatewayClass | Kind::Gateway | Kind::HttpRoute)
}

/// The kind in the version that is read.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    resource_in(kind, kind.api_version())
}

/// The versions in which the kind is looked for, best first. They differ in nothing that is read.
pub(crate) fn resources(kind: Kind) -> Vec<ApiResource> {
    let older: &[&str] = match kind {
        // Before Gateway API 1.5 there was no other.
        Kind::ReferenceGrant => &["gateway.networking.k8s.io/v1beta1"],
        // Before Kubernetes 1.37, where a feature gate allows it.
        Kind::ClusterTrustBundle => &["certificates.k8s.io/v1beta1", "certificates.k8s.io/v1alpha1"],
        _ => &[],
    };
    let older = older.iter().map(|version| resource_in(kind, version));
    std::iter::once(resource(kind)).chain(older).collect()
}

fn resource_in(kind: Kind, api_version: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.as_str()), plural(kind))
}

/// The name of the definition of a kind.
pub(super) fn definition_name(kind: Kind) -> String {
    let (group, _) = kind.api_version().split_once('/').unwrap_or_default();
    format!("{}.{group}", plural(kind))
}

fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::GatewayClass => "gatewayclasses",
        Kind::Gateway => "gateways",
        Kind::HttpRoute => "httproutes",
        Kind::GrpcRoute => "grpcroutes",
        Kind::TlsRoute => "tlsroutes",
        Kind::TcpRoute => "tcproutes",
        Kind::UdpRoute => "udproutes",
        Kind::ListenerSet => "listenersets",
        Kind::BackendTlsPolicy => "backendtlspolicies",
        Kind::ReferenceGrant => "referencegrants",
        Kind::Namespace => "namespaces",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices",
        Kind::Secret => "secrets",
        Kind::ConfigMap => "configmaps",
        Kind::GatewayParameters => "gatewayparameters",
        Kind::Backend => "backends",
        Kind::RateLimitPolicy => "ratelimitpolicies",
        Kind::AuthPolicy => "authpolicies",
        Kind::XBackend => "xbackends",
        Kind::ClusterTrustBundle => "clustertrustbundles",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_followed_or_held() {
        let held = [Kind::Secret, Kind::ConfigMap];
        assert!(Kind::ALL.iter().all(|kind| FOLLOWED.contains(kind) != held.contains(kind)));
    }
}
