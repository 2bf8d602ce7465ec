//! Strategies that generate any valid resource, for property tests and fuzz targets (feature `arbitrary`).
//!
//! Names, hosts and paths come from small pools, so that two generated snapshots overlap, routes meet on one host and
//! prefix, and a generated request has something to find. Everything generated keeps the invariants that the IR states.

mod auth;
mod filter;
mod limit;
mod name;
mod route;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::collection::vec;
use proptest::sample::select;
use proptest::strategy::{Just, Strategy};
use proptest::{bool, num, option, prop_oneof};

pub use auth::{auth, credential, issuer};
pub use filter::{filter, redirect, target};
pub use limit::{limits, store};
pub use name::{
    backend_key, certificate_key, header_name, host, host_pattern, listener_key, method, path, query_name, route_key,
    stream_route_key, value,
};
pub use route::{matched, route, stream_route};

use crate::{
    Backend, BackendTls, Certificate, ClientValidation, ClientValidationMode, Endpoint, Endpoints, Listener,
    ListenerProtocol, Protocol, Resource, Secret, Snapshot, Source, TlsTermination,
};

/// Both lanes, up to 40 resources.
pub fn snapshot() -> impl Strategy<Value = Snapshot> {
    vec(resource(), 0..40).prop_map(|resources| resources.into_iter().collect())
}

/// Routes more often than the rest.
pub fn resource() -> impl Strategy<Value = Resource> {
    prop_oneof![
        1 => listener().prop_map(|value| Resource::Listener(value.into())),
        3 => route().prop_map(|value| Resource::Route(value.into())),
        1 => stream_route().prop_map(|value| Resource::StreamRoute(value.into())),
        1 => backend().prop_map(|value| Resource::Backend(value.into())),
        1 => endpoints().prop_map(|value| Resource::Endpoints(value.into())),
        1 => certificate().prop_map(|value| Resource::Certificate(value.into())),
        1 => store().prop_map(|value| Resource::Store(value.into())),
        1 => credential().prop_map(|value| Resource::Credential(value.into())),
        1 => issuer().prop_map(|value| Resource::Issuer(value.into())),
    ]
}

pub fn listener() -> impl Strategy<Value = Listener> {
    let protocol = prop_oneof![
        Just(ListenerProtocol::Http),
        termination().prop_map(ListenerProtocol::Https),
        Just(ListenerProtocol::TlsPassthrough),
        termination().prop_map(ListenerProtocol::TlsTerminate),
        Just(ListenerProtocol::Tcp),
        Just(ListenerProtocol::Udp),
    ];
    let addresses = prop_oneof![4 => Just(Vec::new()), 1 => vec(address(), 1..3)];
    let auth = prop_oneof![3 => Just(None), 1 => auth().prop_map(Some)];
    let external = prop_oneof![3 => Just(Vec::new()), 1 => vec(auth::external(), 1..3)];
    (listener_key(), addresses, port(), host_pattern(), protocol, bool::ANY, limit::attached(), auth, external)
        .prop_map(|(key, addresses, port, hostname, protocol, proxy_protocol, limits, auth, external)| Listener {
            key,
            addresses,
            port,
            hostname,
            protocol,
            proxy_protocol,
            limits,
            auth,
            external,
        })
}

fn termination() -> impl Strategy<Value = TlsTermination> {
    let mode = select(vec![ClientValidationMode::Require, ClientValidationMode::Request]);
    let validation = (vec(der(), 0..3), mode).prop_map(|(roots, mode)| ClientValidation { roots, mode });
    (vec(certificate_key(), 1..4), option::of(validation))
        .prop_map(|(certificates, client_validation)| TlsTermination { certificates, client_validation })
}

pub fn backend() -> impl Strategy<Value = Backend> {
    let tls = (host(), vec(host(), 0..3), vec(der(), 0..3), option::of(certificate_key())).prop_map(
        |(hostname, names, roots, client_certificate)| BackendTls {
            hostname,
            subject_alt_names: names.into_iter().map(|name| name.as_str().into()).collect(),
            roots,
            client_certificate,
        },
    );
    let source = prop_oneof![Just(Source::Endpoints), vec((host(), port()), 1..4).prop_map(Source::Names)];
    let broken = prop_oneof![4 => Just(None), 1 => filter::failure().prop_map(Some)];
    (backend_key(), select(vec![Protocol::Http, Protocol::Http2]), option::of(tls), source, duration(), broken)
        .prop_map(|(key, protocol, tls, source, connect_timeout, broken)| Backend {
            key,
            protocol,
            tls: tls.map(Box::new),
            source,
            connect_timeout,
            broken,
        })
}

pub fn endpoints() -> impl Strategy<Value = Endpoints> {
    let endpoint = (address(), port(), bool::ANY)
        .prop_map(|(address, port, ready)| Endpoint { address: SocketAddr::new(address, port), ready });
    (backend_key(), vec(endpoint, 0..8)).prop_map(|(key, mut endpoints)| {
        endpoints.sort();
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        Endpoints { key, endpoints }
    })
}

/// Its bytes are no certificate: only a TLS library looks into them.
pub fn certificate() -> impl Strategy<Value = Certificate> {
    (certificate_key(), vec(der(), 1..4), der()).prop_map(|(key, chain, private_key)| Certificate {
        key,
        chain,
        private_key: Secret::new(private_key.into_vec()),
    })
}

/// A few ports often, any other seldom.
pub fn port() -> impl Strategy<Value = u16> {
    prop_oneof![4 => select(vec![80_u16, 443, 8080]), 1 => 1..=u16::MAX]
}

fn duration() -> impl Strategy<Value = Duration> {
    (1..86_400_000_u64).prop_map(Duration::from_millis)
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        num::u32::ANY.prop_map(|bits| IpAddr::V4(bits.into())),
        num::u128::ANY.prop_map(|bits| IpAddr::V6(bits.into()))
    ]
}

fn der() -> impl Strategy<Value = Box<[u8]>> {
    vec(num::u8::ANY, 1..32).prop_map(Vec::into_boxed_slice)
}
