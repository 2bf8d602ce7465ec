//! Builders.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_ir as ir;
use portcullis_ir::Resource;

pub(super) fn gateway() -> ir::GatewayKey {
    ir::GatewayKey::new("ns", "gw")
}

pub(super) fn listener_key(name: &str) -> ir::ListenerKey {
    ir::ListenerKey::new(gateway(), name)
}

fn listener(name: &str, port: u16, host: &str, protocol: ir::ListenerProtocol) -> ir::Listener {
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

pub(super) fn http(name: &str, port: u16) -> Resource {
    Resource::Listener(Arc::new(listener(name, port, "", ir::ListenerProtocol::Http)))
}

pub(super) fn behind_proxy(name: &str, port: u16) -> Resource {
    let listener = ir::Listener { proxy_protocol: true, ..listener(name, port, "", ir::ListenerProtocol::Http) };
    Resource::Listener(Arc::new(listener))
}

pub(super) fn https(name: &str, port: u16, host: &str, certificates: &[&str]) -> Resource {
    let certificates = certificates.iter().map(|&name| ir::CertificateKey::new("ns", name)).collect();
    let protocol = ir::ListenerProtocol::Https(ir::TlsTermination { certificates, client_validation: None });
    Resource::Listener(Arc::new(listener(name, port, host, protocol)))
}

/// The same, asking clients for certificates of these roots.
pub(super) fn https_asking(
    name: &str,
    port: u16,
    host: &str,
    certificate: &str,
    mode: ir::ClientValidationMode,
    roots: &[&[u8]],
) -> Resource {
    let client_validation = ir::ClientValidation { roots: roots.iter().map(|&root| root.into()).collect(), mode };
    let protocol = ir::ListenerProtocol::Https(ir::TlsTermination {
        certificates: vec![ir::CertificateKey::new("ns", certificate)],
        client_validation: Some(client_validation),
    });
    Resource::Listener(Arc::new(listener(name, port, host, protocol)))
}

/// Answers 302 to `http://{to}/…`: shows which rule took a request, without a backend.
pub(super) fn redirect(name: &str, listeners: &[&str], to: &str) -> Resource {
    let action = ir::Action::Redirect(Box::new(ir::Redirect {
        scheme: Some("http".into()),
        hostname: Some(ir::Host::parse(to).unwrap()),
        port: None,
        path: None,
        status: 302,
    }));
    route(name, listeners, action)
}

pub(super) fn forward(name: &str, listeners: &[&str], backend: &str) -> Resource {
    let target = ir::Target::Backend(ir::BackendKey::service("ns", backend, 80));
    route(name, listeners, ir::Action::Forward(vec![ir::WeightedBackend { target, weight: 1, filters: Vec::new() }]))
}

fn route(name: &str, listeners: &[&str], action: ir::Action) -> Resource {
    let hostname = ir::RouteHostname { effective: ir::HostPattern::Any, written: ir::HostPattern::Any };
    let attachments =
        listeners.iter().map(|&listener| ir::Attachment::new(listener_key(listener), vec![hostname.clone()])).collect();
    Resource::Route(Arc::new(ir::Route {
        key: ir::RouteKey::http("ns", name, 0),
        rule_name: None,
        created: 0,
        attachments,
        matches: vec![ir::Match::default()],
        filters: Vec::new(),
        action,
        timeouts: ir::Timeouts::default(),
        retry: None,
        persistence: None,
    }))
}

pub(super) fn backend(name: &str, address: SocketAddr) -> [Resource; 2] {
    let key = ir::BackendKey::service("ns", name, 80);
    let backend = ir::Backend {
        key: key.clone(),
        protocol: ir::Protocol::Http,
        tls: None,
        source: ir::Source::Endpoints,
        connect_timeout: Duration::from_secs(5),
        broken: None,
    };
    let endpoints = ir::Endpoints { key, endpoints: vec![ir::Endpoint { address, ready: true }] };
    [Resource::Backend(Arc::new(backend)), Resource::Endpoints(Arc::new(endpoints))]
}

/// A fresh self-signed certificate, and its DER.
pub(super) fn certificate(name: &str, names: &[&str]) -> (Resource, Vec<u8>) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let pair = rcgen::generate_simple_self_signed(names).unwrap();
    let der = pair.cert.der().to_vec();
    let certificate = ir::Certificate {
        key: ir::CertificateKey::new("ns", name),
        chain: vec![der.clone().into()],
        private_key: ir::Secret::new(pair.signing_key.serialize_der()),
    };
    (Resource::Certificate(Arc::new(certificate)), der)
}
