//! One object of any kind that is read, and how it is told from what it is not.

use std::sync::Arc;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::experimental::grpcroutes::GrpcRoute;
use gateway_api::experimental::httproutes::HttpRoute;
use gateway_api::experimental::tcproutes::TcpRoute;
use gateway_api::experimental::udproutes::UdpRoute;
use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::listenersets::ListenerSet;
use gateway_api::referencegrants::ReferenceGrant;
use gateway_api::tlsroutes::TlsRoute;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use portcullis_crds::{AuthPolicy, Backend, GatewayParameters, RateLimitPolicy};
use serde_json::Value;

use crate::{ClusterTrustBundle, Kind, NamespacedName, ObjectRef, XBackend, lenient};

/// Any object that [`Inputs`] holds.
#[derive(Clone, Debug)]
pub enum Object {
    GatewayClass(Arc<GatewayClass>),
    Gateway(Arc<Gateway>),
    HttpRoute(Arc<HttpRoute>),
    GrpcRoute(Arc<GrpcRoute>),
    TlsRoute(Arc<TlsRoute>),
    TcpRoute(Arc<TcpRoute>),
    UdpRoute(Arc<UdpRoute>),
    ListenerSet(Arc<ListenerSet>),
    BackendTlsPolicy(Arc<BackendTlsPolicy>),
    ReferenceGrant(Arc<ReferenceGrant>),
    Namespace(Arc<Namespace>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
    GatewayParameters(Arc<GatewayParameters>),
    Backend(Arc<Backend>),
    RateLimitPolicy(Arc<RateLimitPolicy>),
    AuthPolicy(Arc<AuthPolicy>),
    XBackend(Arc<XBackend>),
    ClusterTrustBundle(Arc<ClusterTrustBundle>),
}

/// Why a value is no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObject {
    #[error("kind {kind:?} of {api_version:?} is not read; leave it out")]
    Kind { api_version: String, kind: String },
    #[error("metadata.name is missing; give one")]
    Name,
    /// An object that can be named: [`crate::Inputs::insert_invalid`] takes it.
    #[error("{reference} does not parse: {why}; correct the field")]
    Malformed { reference: ObjectRef, why: String },
}

impl Object {
    /// An object from JSON or from YAML read into JSON.
    ///
    /// # Errors
    /// [`InvalidObject`]; a value that names itself keeps its name, so that it can be noted as invalid.
    pub fn parse(mut value: Value) -> Result<Self, InvalidObject> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text(&value["apiVersion"]), text(&value["kind"]));
        let known = Kind::ALL.into_iter().find(|known| (known.api_version(), known.as_str()) == (&api_version, &kind));
        let kind = known.ok_or(InvalidObject::Kind { api_version, kind })?;
        let metadata = &value["metadata"];
        let name = metadata["name"].as_str().filter(|name| !name.is_empty()).ok_or(InvalidObject::Name)?;
        let reference = if kind.is_namespaced() {
            let namespace = metadata["namespace"].as_str().unwrap_or("default");
            ObjectRef::namespaced(kind, &NamespacedName::new(namespace, name))
        } else {
            ObjectRef::cluster(kind, name)
        };
        lenient::mark(kind, &mut value);
        // Kept only where a second look may be needed.
        let kept = lenient::leaves_remains(kind).then(|| value.clone());
        let parsed = Self::typed(kind, value).map_err(|error| error.to_string());
        parsed.or_else(|why| {
            let remains = kept.and_then(|value| Self::remains(kind, &value, &why));
            // The message could repeat a value; those of Secrets are nobody's business.
            let why = if kind == Kind::Secret { "a field has the wrong type".to_owned() } else { why };
            remains.ok_or(InvalidObject::Malformed { reference, why })
        })
    }

    /// What is left of an object that cannot be used, where forgetting it would open what it closes. None: forget it.
    pub fn remains(kind: Kind, value: &Value, why: &str) -> Option<Self> {
        lenient::remains(kind, value, why).and_then(|value| Self::typed(kind, value).ok())
    }

    /// An object of a known kind whose schema has been checked, as [`Self::parse`] reads it.
    ///
    /// # Errors
    /// What no schema sees.
    pub fn of_kind(kind: Kind, mut value: Value) -> Result<Self, serde_json::Error> {
        lenient::mark(kind, &mut value);
        Self::typed(kind, value)
    }

    fn typed(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
        match kind {
            Kind::GatewayClass => serde_json::from_value(value).map(Self::GatewayClass),
            Kind::Gateway => serde_json::from_value(value).map(Self::Gateway),
            Kind::HttpRoute => serde_json::from_value(value).map(Self::HttpRoute),
            Kind::GrpcRoute => serde_json::from_value(value).map(Self::GrpcRoute),
            Kind::TlsRoute => serde_json::from_value(value).map(Self::TlsRoute),
            Kind::TcpRoute => serde_json::from_value(value).map(Self::TcpRoute),
            Kind::UdpRoute => serde_json::from_value(value).map(Self::UdpRoute),
            Kind::ListenerSet => serde_json::from_value(value).map(Self::ListenerSet),
            Kind::BackendTlsPolicy => serde_json::from_value(value).map(Self::BackendTlsPolicy),
            Kind::ReferenceGrant => serde_json::from_value(value).map(Self::ReferenceGrant),
            Kind::Namespace => serde_json::from_value(value).map(Self::Namespace),
            Kind::Service => serde_json::from_value(value).map(Self::Service),
            Kind::EndpointSlice => serde_json::from_value(value).map(Self::EndpointSlice),
            Kind::Secret => serde_json::from_value(value).map(Self::Secret),
            Kind::ConfigMap => serde_json::from_value(value).map(Self::ConfigMap),
            Kind::GatewayParameters => serde_json::from_value(value).map(Self::GatewayParameters),
            Kind::Backend => serde_json::from_value(value).map(Self::Backend),
            Kind::RateLimitPolicy => serde_json::from_value(value).map(Self::RateLimitPolicy),
            Kind::AuthPolicy => serde_json::from_value(value).map(Self::AuthPolicy),
            Kind::XBackend => serde_json::from_value(value).map(Self::XBackend),
            Kind::ClusterTrustBundle => serde_json::from_value(value).map(Self::ClusterTrustBundle),
        }
    }

    /// The object's own name; a namespaced object without a namespace is in `default`.
    pub fn reference(&self) -> ObjectRef {
        match self {
            Self::GatewayClass(object) => ObjectRef::cluster(Kind::GatewayClass, own_name(&**object)),
            Self::Namespace(object) => ObjectRef::cluster(Kind::Namespace, own_name(&**object)),
            Self::ClusterTrustBundle(object) => ObjectRef::cluster(Kind::ClusterTrustBundle, own_name(&**object)),
            Self::Gateway(object) => ObjectRef::namespaced(Kind::Gateway, &name_of(&**object)),
            Self::HttpRoute(object) => ObjectRef::namespaced(Kind::HttpRoute, &name_of(&**object)),
            Self::GrpcRoute(object) => ObjectRef::namespaced(Kind::GrpcRoute, &name_of(&**object)),
            Self::TlsRoute(object) => ObjectRef::namespaced(Kind::TlsRoute, &name_of(&**object)),
            Self::TcpRoute(object) => ObjectRef::namespaced(Kind::TcpRoute, &name_of(&**object)),
            Self::UdpRoute(object) => ObjectRef::namespaced(Kind::UdpRoute, &name_of(&**object)),
            Self::ListenerSet(object) => ObjectRef::namespaced(Kind::ListenerSet, &name_of(&**object)),
            Self::BackendTlsPolicy(object) => ObjectRef::namespaced(Kind::BackendTlsPolicy, &name_of(&**object)),
            Self::ReferenceGrant(object) => ObjectRef::namespaced(Kind::ReferenceGrant, &name_of(&**object)),
            Self::Service(object) => ObjectRef::namespaced(Kind::Service, &name_of(&**object)),
            Self::EndpointSlice(object) => ObjectRef::namespaced(Kind::EndpointSlice, &name_of(&**object)),
            Self::Secret(object) => ObjectRef::namespaced(Kind::Secret, &name_of(&**object)),
            Self::ConfigMap(object) => ObjectRef::namespaced(Kind::ConfigMap, &name_of(&**object)),
            Self::GatewayParameters(object) => ObjectRef::namespaced(Kind::GatewayParameters, &name_of(&**object)),
            Self::Backend(object) => ObjectRef::namespaced(Kind::Backend, &name_of(&**object)),
            Self::RateLimitPolicy(object) => ObjectRef::namespaced(Kind::RateLimitPolicy, &name_of(&**object)),
            Self::AuthPolicy(object) => ObjectRef::namespaced(Kind::AuthPolicy, &name_of(&**object)),
            Self::XBackend(object) => ObjectRef::namespaced(Kind::XBackend, &name_of(&**object)),
        }
    }
}

pub(crate) fn own_name(object: &impl Resource) -> Arc<str> {
    object.meta().name.as_deref().unwrap_or_default().into()
}

pub(crate) fn name_of(object: &impl Resource) -> NamespacedName {
    NamespacedName::new(object.meta().namespace.as_deref().unwrap_or("default"), own_name(object))
}
