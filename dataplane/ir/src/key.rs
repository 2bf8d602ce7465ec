//! Keys. Each kind of key is a type of its own, so that a listener can never be looked up by a backend's name.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::{ConsumerSetKey, CredentialKey, IssuerKey, StoreKey};

/// Names a Gateway.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// Names a ListenerSet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerSetKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// Names one listener of a Gateway. Unique across Gateways, so that one data plane may serve several.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerKey {
    pub gateway: GatewayKey,
    /// The ListenerSet that adds the listener to the Gateway; none for the Gateway's own.
    pub set: Option<ListenerSetKey>,
    pub name: Arc<str>,
}

impl ListenerKey {
    /// As `==`, which looks into the names; of a key and its copy this sees it without.
    #[inline]
    pub fn is(&self, other: &Self) -> bool {
        let shared = Arc::ptr_eq(&self.name, &other.name)
            && Arc::ptr_eq(&self.gateway.name, &other.gateway.name)
            && Arc::ptr_eq(&self.gateway.namespace, &other.gateway.namespace)
            && self.set.is_none()
            && other.set.is_none();
        shared || self == other
    }
}

/// Names that are mostly copies of one another: of those it is seen at once that they are equal.
pub trait Shared: Ord {
    /// It is a copy of the other. False says nothing.
    fn shares(&self, other: &Self) -> bool;

    /// As `cmp`, which looks into the names.
    #[inline]
    fn order(&self, other: &Self) -> Ordering {
        if self.shares(other) { Ordering::Equal } else { self.cmp(other) }
    }
}

impl Shared for GatewayKey {
    #[inline]
    fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.name, &other.name) && Arc::ptr_eq(&self.namespace, &other.namespace)
    }
}

impl Shared for RouteKey {
    #[inline]
    fn shares(&self, other: &Self) -> bool {
        let names = Arc::ptr_eq(&self.name, &other.name) && Arc::ptr_eq(&self.namespace, &other.namespace);
        names && self.rule == other.rule && self.kind == other.kind
    }
}

impl Shared for BackendKey {
    #[inline]
    fn shares(&self, other: &Self) -> bool {
        let names = Arc::ptr_eq(&self.name, &other.name) && Arc::ptr_eq(&self.namespace, &other.namespace);
        names && self.port == other.port && self.kind == other.kind && self.transport == other.transport
    }
}

/// The kind of object that a [`RouteKey`] points back to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RouteKind {
    HttpRoute,
    GrpcRoute,
    TlsRoute,
    TcpRoute,
    UdpRoute,
}

/// Names one rule of a route object. `rule` is its position in `spec.rules`, from 0.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    pub kind: RouteKind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub rule: u16,
}

/// The kind of object that a [`BackendKey`] points back to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BackendKind {
    /// A core `Service`; its addresses come from EndpointSlices.
    Service,
    /// A `Backend` of our own group: host names or addresses.
    Backend,
    /// An `XBackend` of the Gateway API's experimental group: an external host.
    XBackend,
}

/// Names one port of what a user calls a backend.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    pub kind: BackendKind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub port: u16,
    pub transport: Transport,
}

/// What carries the bytes of a port; ports of one number under different transports are different ports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Transport {
    #[default]
    Tcp,
    Udp,
}

/// Names a TLS certificate with its private key (a Secret).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// Names any resource; what a delta removes and what a refusal points at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKey {
    Listener(ListenerKey),
    Route(RouteKey),
    StreamRoute(RouteKey),
    Backend(BackendKey),
    Endpoints(BackendKey),
    Certificate(CertificateKey),
    Store(StoreKey),
    Credential(CredentialKey),
    Issuer(IssuerKey),
}

impl GatewayKey {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl ListenerSetKey {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl ListenerKey {
    /// One of the Gateway's own listeners.
    pub fn new(gateway: GatewayKey, name: impl Into<Arc<str>>) -> Self {
        Self { gateway, set: None, name: name.into() }
    }

    /// One that a ListenerSet adds.
    pub fn of_set(gateway: GatewayKey, set: ListenerSetKey, name: impl Into<Arc<str>>) -> Self {
        Self { gateway, set: Some(set), name: name.into() }
    }
}

impl RouteKind {
    pub const ALL: [Self; 5] = [Self::HttpRoute, Self::GrpcRoute, Self::TlsRoute, Self::TcpRoute, Self::UdpRoute];

    /// The kind as its objects write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
        }
    }

    /// What carries its traffic, from clients and to backends.
    pub const fn transport(self) -> Transport {
        match self {
            Self::HttpRoute | Self::GrpcRoute | Self::TlsRoute | Self::TcpRoute => Transport::Tcp,
            Self::UdpRoute => Transport::Udp,
        }
    }

    /// Whether its rules are asked for each request, and not once for a connection or a session.
    pub const fn is_http(self) -> bool {
        matches!(self, Self::HttpRoute | Self::GrpcRoute)
    }
}

impl BackendKind {
    /// The kind as its objects write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Backend => "Backend",
            Self::XBackend => "XBackend",
        }
    }
}

impl Transport {
    /// As Services and EndpointSlices write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

impl RouteKey {
    pub fn new(kind: RouteKind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>, rule: u16) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into(), rule }
    }

    pub fn http(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>, rule: u16) -> Self {
        Self { kind: RouteKind::HttpRoute, namespace: namespace.into(), name: name.into(), rule }
    }
}

impl BackendKey {
    /// A TCP port of a Service.
    pub fn service(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>, port: u16) -> Self {
        Self::new(BackendKind::Service, namespace, name, port, Transport::Tcp)
    }

    /// A TCP port of a Backend.
    pub fn backend(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>, port: u16) -> Self {
        Self::new(BackendKind::Backend, namespace, name, port, Transport::Tcp)
    }

    pub fn new(
        kind: BackendKind,
        namespace: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
        port: u16,
        transport: Transport,
    ) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into(), port, transport }
    }
}

impl CertificateKey {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl ResourceKey {
    /// Whether the resource belongs to the live lane (never versioned, never waits).
    pub fn is_live(&self) -> bool {
        match self {
            Self::Listener(_) | Self::Route(_) | Self::StreamRoute(_) | Self::Backend(_) => false,
            Self::Endpoints(_) | Self::Certificate(_) | Self::Store(_) | Self::Credential(_) | Self::Issuer(_) => true,
        }
    }
}

impl fmt::Display for GatewayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ListenerSetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// `namespace/gateway/listener`; one of a ListenerSet is `namespace/gateway/[namespace/set]/listener`.
impl fmt::Display for ListenerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.set {
            None => write!(f, "{}/{}", self.gateway, self.name),
            Some(set) => write!(f, "{}/[{set}]/{}", self.gateway, self.name),
        }
    }
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.kind, self.namespace, self.name, self.rule)
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = if self.transport == Transport::Udp { "/udp" } else { "" };
        write!(f, "{}/{}/{}:{}{transport}", self.kind, self.namespace, self.name, self.port)
    }
}

impl fmt::Display for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(key) => write!(f, "listener {key}"),
            Self::Route(key) | Self::StreamRoute(key) => write!(f, "route {key}"),
            Self::Backend(key) => write!(f, "backend {key}"),
            Self::Endpoints(key) => write!(f, "endpoints {key}"),
            Self::Certificate(key) => write!(f, "certificate {key}"),
            Self::Store(key) => write!(f, "store {key}"),
            Self::Credential(key) => write!(f, "credential {key}"),
            Self::Issuer(key) => write!(f, "issuer {key}"),
        }
    }
}

/// Debug and Serialize print what Display prints: keys are read by people.
macro_rules! printed_as_displayed {
    ($($key:ty),+) => {$(
        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $key {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

printed_as_displayed!(
    GatewayKey,
    ListenerSetKey,
    ListenerKey,
    RouteKey,
    BackendKey,
    CertificateKey,
    StoreKey,
    CredentialKey,
    ConsumerSetKey,
    IssuerKey,
    ResourceKey
);
