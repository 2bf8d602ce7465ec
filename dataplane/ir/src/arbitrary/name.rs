//! Keys, hosts, paths and values: pools small enough to collide.

use std::sync::Arc;

use http::{HeaderName, Method};
use proptest::prop_oneof;
use proptest::sample::select;
use proptest::strategy::{Just, Strategy};

use crate::{
    BackendKey, BackendKind, CertificateKey, GatewayKey, Host, HostPattern, ListenerKey, ListenerSetKey, RouteKey,
    RouteKind, Transport,
};

const HOSTS: [&str; 6] = ["example.com", "a.example.com", "b.a.example.com", "b.example.com", "other.test", "[::1]"];
const ELEMENTS: [&str; 5] = ["a", "ab", "b", "api", "%2F"];

pub fn listener_key() -> impl Strategy<Value = ListenerKey> {
    let set = prop_oneof![3 => Just(None), 1 => namespace().prop_map(|namespace| Some(ListenerSetKey::new(namespace, "set")))];
    (namespace(), select(vec!["edge", "inner"]), set, select(vec!["http", "https", "third"])).prop_map(
        |(namespace, gateway, set, name)| ListenerKey {
            gateway: GatewayKey::new(namespace, gateway),
            set,
            name: name.into(),
        },
    )
}

pub fn route_key() -> impl Strategy<Value = RouteKey> {
    (select(vec![RouteKind::HttpRoute, RouteKind::HttpRoute, RouteKind::GrpcRoute]), namespace(), 0..12_u8, 0..3_u16)
        .prop_map(|(kind, namespace, name, rule)| RouteKey::new(kind, namespace, format!("route-{name}"), rule))
}

pub fn stream_route_key() -> impl Strategy<Value = RouteKey> {
    (select(vec![RouteKind::TlsRoute, RouteKind::TcpRoute, RouteKind::UdpRoute]), namespace(), 0..12_u8, 0..3_u16)
        .prop_map(|(kind, namespace, name, rule)| RouteKey::new(kind, namespace, format!("route-{name}"), rule))
}

pub fn backend_key() -> impl Strategy<Value = BackendKey> {
    let transport = prop_oneof![4 => Just(Transport::Tcp), 1 => Just(Transport::Udp)];
    (
        select(vec![BackendKind::Service, BackendKind::Backend, BackendKind::XBackend]),
        namespace(),
        0..6_u8,
        super::port(),
        transport,
    )
        .prop_map(|(kind, namespace, name, port, transport)| {
            BackendKey::new(kind, namespace, format!("backend-{name}"), port, transport)
        })
}

pub fn certificate_key() -> impl Strategy<Value = CertificateKey> {
    (namespace(), 0..4_u8).prop_map(|(namespace, name)| CertificateKey::new(namespace, format!("tls-{name}")))
}

/// In normal form; names, and an address.
pub fn host() -> impl Strategy<Value = Host> {
    select(HOSTS.to_vec()).prop_map(parsed)
}

pub fn host_pattern() -> impl Strategy<Value = HostPattern> {
    prop_oneof![
        1 => Just(HostPattern::Any),
        // An address has no subdomains.
        2 => select(HOSTS[..5].to_vec()).prop_map(|suffix| HostPattern::Wildcard(parsed(suffix))),
        3 => host().prop_map(HostPattern::Exact),
    ]
}

/// Up to four elements, with and without a slash at the end; in [`crate::PathView::matched`] form.
pub fn path() -> impl Strategy<Value = String> {
    (proptest::collection::vec(select(ELEMENTS.to_vec()), 0..4), proptest::bool::ANY).prop_map(|(elements, slash)| {
        let path = elements.iter().fold(String::new(), |path, element| format!("{path}/{element}"));
        if slash || path.is_empty() { format!("{path}/") } else { path }
    })
}

pub fn method() -> impl Strategy<Value = Method> {
    select(vec![Method::GET, Method::POST, Method::DELETE])
}

pub fn header_name() -> impl Strategy<Value = HeaderName> {
    select(["accept", "x-one", "x-two", "x-three"].map(HeaderName::from_static).to_vec())
}

pub fn query_name() -> impl Strategy<Value = &'static str> {
    select(vec!["q", "page", "ü"])
}

/// Of a header or a query parameter.
pub fn value() -> impl Strategy<Value = &'static str> {
    select(vec!["", "1", "one", "two,three", "ü"])
}

fn namespace() -> impl Strategy<Value = Arc<str>> {
    select(vec!["default", "team"]).prop_map(Arc::from)
}

fn parsed(host: &str) -> Host {
    // The pool holds hosts only.
    Host::parse(host).unwrap_or_else(|error| unreachable!("{host}: {error}"))
}
