//! Names of objects, and of the kinds that are read.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use portcullis_ir::{GatewayKey, RouteKind, Shared};

/// Names a namespaced object of a kind that is known from where the name stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// The kinds that `translate` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    GatewayClass,
    Gateway,
    HttpRoute,
    GrpcRoute,
    TlsRoute,
    TcpRoute,
    UdpRoute,
    ListenerSet,
    BackendTlsPolicy,
    ReferenceGrant,
    Namespace,
    Service,
    EndpointSlice,
    Secret,
    ConfigMap,
    GatewayParameters,
    Backend,
    RateLimitPolicy,
    AuthPolicy,
    XBackend,
    ClusterTrustBundle,
}

/// Names any object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    pub kind: Kind,
    /// None for kinds that are in no namespace.
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
}

impl Shared for NamespacedName {
    #[inline]
    fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.name, &other.name) && Arc::ptr_eq(&self.namespace, &other.namespace)
    }
}

impl Shared for ObjectRef {
    #[inline]
    fn shares(&self, other: &Self) -> bool {
        let namespaces = match (&self.namespace, &other.namespace) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        namespaces && Arc::ptr_eq(&self.name, &other.name) && self.kind == other.kind
    }
}

impl NamespacedName {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl Kind {
    pub const ALL: [Self; 21] = [
        Self::GatewayClass,
        Self::Gateway,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::TlsRoute,
        Self::TcpRoute,
        Self::UdpRoute,
        Self::ListenerSet,
        Self::BackendTlsPolicy,
        Self::ReferenceGrant,
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::ConfigMap,
        Self::GatewayParameters,
        Self::Backend,
        Self::RateLimitPolicy,
        Self::AuthPolicy,
        Self::XBackend,
        Self::ClusterTrustBundle,
    ];

    /// The version that is read.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::GatewayClass
            | Self::Gateway
            | Self::HttpRoute
            | Self::GrpcRoute
            | Self::TlsRoute
            | Self::TcpRoute
            | Self::UdpRoute
            | Self::ListenerSet
            | Self::BackendTlsPolicy
            | Self::ReferenceGrant => "gateway.networking.k8s.io/v1",
            Self::Namespace | Self::Service | Self::Secret | Self::ConfigMap => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::GatewayParameters | Self::Backend | Self::RateLimitPolicy | Self::AuthPolicy => {
                "portcullis.dev/v1alpha1"
            }
            Self::XBackend => "gateway.networking.x-k8s.io/v1alpha1",
            Self::ClusterTrustBundle => "certificates.k8s.io/v1",
        }
    }

    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::GatewayClass | Self::Namespace | Self::ClusterTrustBundle)
    }

    /// The kind of route, if it is one.
    pub const fn route_kind(self) -> Option<RouteKind> {
        match self {
            Self::HttpRoute => Some(RouteKind::HttpRoute),
            Self::GrpcRoute => Some(RouteKind::GrpcRoute),
            Self::TlsRoute => Some(RouteKind::TlsRoute),
            Self::TcpRoute => Some(RouteKind::TcpRoute),
            Self::UdpRoute => Some(RouteKind::UdpRoute),
            _ => None,
        }
    }

    /// The kind as its objects write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
            Self::ListenerSet => "ListenerSet",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::GatewayParameters => "GatewayParameters",
            Self::Backend => "Backend",
            Self::RateLimitPolicy => "RateLimitPolicy",
            Self::AuthPolicy => "AuthPolicy",
            Self::XBackend => "XBackend",
            Self::ClusterTrustBundle => "ClusterTrustBundle",
        }
    }
}

impl From<RouteKind> for Kind {
    fn from(kind: RouteKind) -> Self {
        match kind {
            RouteKind::HttpRoute => Self::HttpRoute,
            RouteKind::GrpcRoute => Self::GrpcRoute,
            RouteKind::TlsRoute => Self::TlsRoute,
            RouteKind::TcpRoute => Self::TcpRoute,
            RouteKind::UdpRoute => Self::UdpRoute,
        }
    }
}

impl ObjectRef {
    pub fn namespaced(kind: Kind, name: &NamespacedName) -> Self {
        Self { kind, namespace: Some(Arc::clone(&name.namespace)), name: Arc::clone(&name.name) }
    }

    pub fn cluster(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: None, name: name.into() }
    }
}

impl From<&GatewayKey> for NamespacedName {
    fn from(key: &GatewayKey) -> Self {
        let GatewayKey { namespace, name } = key;
        Self { namespace: Arc::clone(namespace), name: Arc::clone(name) }
    }
}

impl From<&NamespacedName> for GatewayKey {
    fn from(name: &NamespacedName) -> Self {
        let NamespacedName { namespace, name } = name;
        Self { namespace: Arc::clone(namespace), name: Arc::clone(name) }
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for NamespacedName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

impl Serialize for ObjectRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
