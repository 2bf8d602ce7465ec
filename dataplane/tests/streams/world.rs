//! Builders.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_dataplane::Settings;
use portcullis_ir as ir;
use portcullis_ir::{Resource, ResourceKey, RouteKind, Transport};

/// Connections that a test leaves open do not hold up its end.
pub(super) fn settings() -> Settings {
    Settings { drain_deadline: Duration::from_millis(500), ..super::plane::settings() }
}

pub(super) fn listener_key(name: &str) -> ir::ListenerKey {
    ir::ListenerKey::new(ir::GatewayKey::new("ns", "gw"), name)
}

pub(super) fn listener(name: &str, port: u16, host: &str, protocol: ir::ListenerProtocol) -> ir::Listener {
    ir::Listener {
        key: listener_key(name),
        addresses: Vec::new(),
        port,
        hostname: ir::HostPattern::parse(host).unwrap(),
        protocol,
        proxy_protocol: false,
        limits: None,
        auth: None,
        external: Vec::new(),
    }
}

pub(super) fn open(name: &str, port: u16, host: &str, protocol: ir::ListenerProtocol) -> Resource {
    Resource::Listener(Arc::new(listener(name, port, host, protocol)))
}

pub(super) fn tcp(name: &str, port: u16) -> Resource {
    open(name, port, "", ir::ListenerProtocol::Tcp)
}

pub(super) fn udp(name: &str, port: u16) -> Resource {
    open(name, port, "", ir::ListenerProtocol::Udp)
}

pub(super) fn passthrough(name: &str, port: u16, host: &str) -> Resource {
    open(name, port, host, ir::ListenerProtocol::TlsPassthrough)
}

pub(super) fn terminate(name: &str, port: u16, host: &str, certificate: &str) -> Resource {
    open(name, port, host, ir::ListenerProtocol::TlsTerminate(termination(certificate)))
}

pub(super) fn https(name: &str, port: u16, host: &str, certificate: &str) -> Resource {
    open(name, port, host, ir::ListenerProtocol::Https(termination(certificate)))
}

fn termination(certificate: &str) -> ir::TlsTermination {
    ir::TlsTermination { certificates: vec![ir::CertificateKey::new("ns", certificate)], client_validation: None }
}

pub(super) fn removed(listener: &str) -> ResourceKey {
    ResourceKey::Listener(listener_key(listener))
}

pub(super) fn backend_key(name: &str, transport: Transport) -> ir::BackendKey {
    ir::BackendKey::new(ir::BackendKind::Service, "ns", name, 80, transport)
}

fn route(kind: RouteKind, name: &str, listener: &str, host: &str, backends: &[(&str, u32)]) -> Resource {
    let host = ir::HostPattern::parse(host).unwrap();
    let hostname = ir::RouteHostname { effective: host.clone(), written: host };
    let transport = if kind == RouteKind::UdpRoute { Transport::Udp } else { Transport::Tcp };
    let target = |name: &str| match name {
        "" => ir::Target::Invalid(ir::Failure::InvalidBackend),
        name => ir::Target::Backend(backend_key(name, transport)),
    };
    let backends = backends.iter().map(|&(name, weight)| ir::StreamBackend { target: target(name), weight }).collect();
    Resource::StreamRoute(Arc::new(ir::StreamRoute {
        key: ir::RouteKey::new(kind, "ns", name, 0),
        rule_name: None,
        created: 0,
        attachments: vec![ir::Attachment::new(listener_key(listener), vec![hostname])],
        backends,
    }))
}

/// Backends by name and weight; the empty name is an invalid one.
pub(super) fn tcp_route(name: &str, listener: &str, backends: &[(&str, u32)]) -> Resource {
    route(RouteKind::TcpRoute, name, listener, "", backends)
}

pub(super) fn udp_route(name: &str, listener: &str, backends: &[(&str, u32)]) -> Resource {
    route(RouteKind::UdpRoute, name, listener, "", backends)
}

pub(super) fn tls_route(name: &str, listener: &str, host: &str, backend: &str) -> Resource {
    route(RouteKind::TlsRoute, name, listener, host, &[(backend, 1)])
}

fn service(key: &ir::BackendKey, tls: Option<ir::BackendTls>) -> ir::Backend {
    ir::Backend {
        key: key.clone(),
        protocol: ir::Protocol::Http,
        tls: tls.map(Box::new),
        source: ir::Source::Endpoints,
        connect_timeout: Duration::from_secs(5),
        broken: None,
    }
}

pub(super) fn endpoints(key: ir::BackendKey, addresses: &[SocketAddr]) -> Resource {
    let mut endpoints: Vec<_> = addresses.iter().map(|&address| ir::Endpoint { address, ready: true }).collect();
    endpoints.sort();
    Resource::Endpoints(Arc::new(ir::Endpoints { key, endpoints }))
}

fn pair(backend: ir::Backend, addresses: &[SocketAddr]) -> [Resource; 2] {
    let endpoints = endpoints(backend.key.clone(), addresses);
    [Resource::Backend(Arc::new(backend)), endpoints]
}

pub(super) fn backend(name: &str, addresses: &[SocketAddr]) -> [Resource; 2] {
    pair(service(&backend_key(name, Transport::Tcp), None), addresses)
}

pub(super) fn udp_backend(name: &str, addresses: &[SocketAddr]) -> [Resource; 2] {
    pair(service(&backend_key(name, Transport::Udp), None), addresses)
}

/// One that is spoken to by TLS, and must carry the name under this root.
pub(super) fn tls_backend(name: &str, hostname: &str, root: &[u8], addresses: &[SocketAddr]) -> [Resource; 2] {
    let tls = ir::BackendTls {
        hostname: ir::Host::parse(hostname).unwrap(),
        subject_alt_names: Vec::new(),
        roots: vec![root.into()],
        client_certificate: None,
    };
    pair(service(&backend_key(name, Transport::Tcp), Some(tls)), addresses)
}

/// One that nothing may be sent to.
pub(super) fn broken_backend(name: &str, addresses: &[SocketAddr]) -> [Resource; 2] {
    let broken = Some(ir::Failure::InvalidBackendTls);
    pair(ir::Backend { broken, ..service(&backend_key(name, Transport::Tcp), None) }, addresses)
}

/// Answers 302 to `http://{to}/…`.
pub(super) fn redirect(name: &str, listener: &str, to: &str) -> Resource {
    let any = ir::RouteHostname { effective: ir::HostPattern::Any, written: ir::HostPattern::Any };
    Resource::Route(Arc::new(ir::Route {
        key: ir::RouteKey::http("ns", name, 0),
        rule_name: None,
        created: 0,
        attachments: vec![ir::Attachment::new(listener_key(listener), vec![any])],
        matches: vec![ir::Match::default()],
        filters: Vec::new(),
        action: ir::Action::Redirect(Box::new(ir::Redirect {
            scheme: Some("http".into()),
            hostname: Some(ir::Host::parse(to).unwrap()),
            port: None,
            path: None,
            status: 302,
        })),
        timeouts: ir::Timeouts::default(),
        retry: None,
        persistence: None,
    }))
}
