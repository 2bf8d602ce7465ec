//! An `XBackend` as what a `Backend` of ours would be: an external host with its port, protocol and TLS. What that
//! cannot hold is refused by the name of its field, never left out.

use std::net::IpAddr;

use portcullis_ir::{Backend, BackendKey, BackendKind, BackendTls, Host, Protocol, Source, Transport};

use crate::NamespacedName;
use crate::backend::CONNECT_TIMEOUT;
use crate::backend_object::{BackendPlan, InvalidBackend, UsableBackend};
use crate::condition::{ConditionType, Reason};
use crate::tls_policy::{self, InvalidCaRef, InvalidPolicy};
use crate::world::Reader;
use crate::x_backend::{XBackendSpec, XBackendTls};

/// Names of a cluster's own Services, which no external host has.
const CLUSTER_DOMAIN: &str = ".cluster.local";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidXBackend {
    #[error("spec.type {0:?} is not served; use ExternalHostname, or a Service instead of an EndpointSelector")]
    Type(String),
    #[error("spec.port must give a number from 1 to 65535; correct it")]
    Port,
    #[error("spec.externalHostname is missing; give the host to connect to")]
    NoHostname,
    #[error(
        "spec.externalHostname.hostname {0:?} is no name of an external host; use a Service inside the cluster, a Backend of portcullis.dev for an address"
    )]
    Hostname(String),
    #[error("spec.sessionPersistence cannot be had with an external host; remove it")]
    SessionPersistence,
    #[error("spec.protocol {0:?} is not served; use HTTP, HTTP11, HTTP2, H2C, GRPC, TCP or WSS")]
    Protocol(String),
    #[error("spec.protocol {0} needs TLS; set spec.tls.mode to ServerOnly, or use another protocol")]
    NeedsTls(&'static str),
    #[error("spec.protocol H2C is without TLS; use HTTP2, or set spec.tls.mode to None")]
    H2cWithTls,
    #[error("spec.protocol HTTP11 is not served with TLS, by which both sides agree on a version; use HTTP")]
    Http11WithTls,
    #[error(
        "spec.tls.mode ClientAndServer is not served; use ServerOnly, and tls.backend of the Gateway for the certificate"
    )]
    ClientCertificate,
    #[error("spec.tls.mode {0:?} is not known; use None or ServerOnly")]
    Mode(String),
    #[error("spec.tls.validation is missing; say whose certificates are trusted")]
    NoValidation,
    #[error("spec.tls.validation is given with mode None; use ServerOnly, or remove it")]
    NotValidated,
    #[error("spec.tls: {0}")]
    Validation(InvalidPolicy),
}

impl InvalidXBackend {
    pub(crate) fn condition(&self) -> (ConditionType, Reason) {
        let reason = match self {
            Self::Type(_) | Self::Protocol(_) | Self::ClientCertificate | Self::Mode(_) | Self::Http11WithTls => {
                Reason::UnsupportedValue
            }
            Self::Validation(error) => error.reason(),
            _ => Reason::Invalid,
        };
        (ConditionType::Accepted, reason)
    }
}

pub(crate) fn compile(reader: &Reader<'_, '_>, name: &NamespacedName) -> BackendPlan {
    let mut unresolved = Vec::new();
    let usable = match reader.x_backend(name) {
        Some(object) => usable(reader, name, &object.spec, &mut unresolved),
        None => Err(InvalidXBackend::NoHostname),
    };
    BackendPlan { usable: usable.map_err(InvalidBackend::X), unresolved }
}

fn usable(
    reader: &Reader<'_, '_>,
    name: &NamespacedName,
    spec: &XBackendSpec,
    unresolved: &mut Vec<InvalidCaRef>,
) -> Result<UsableBackend, InvalidXBackend> {
    let XBackendSpec { r#type, port, external_hostname, session_persistence, protocol, tls } = spec;
    if r#type != "ExternalHostname" {
        return Err(InvalidXBackend::Type(r#type.clone()));
    }
    if session_persistence.is_some() {
        return Err(InvalidXBackend::SessionPersistence);
    }
    let number = port.number.or(port.port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let number = number.ok_or(InvalidXBackend::Port)?;
    let written = &external_hostname.as_ref().ok_or(InvalidXBackend::NoHostname)?.hostname;
    let host = Host::parse(written).ok().filter(is_external);
    let host = host.ok_or_else(|| InvalidXBackend::Hostname(written.clone()))?;
    let tls = tls.as_ref().map(|tls| translate_tls(reader, name, tls, unresolved)).transpose()?.flatten();
    let (protocol, speaks_http) = translate_protocol(protocol.as_deref(), tls.is_some())?;
    let key = BackendKey::new(BackendKind::XBackend, name.namespace.clone(), name.name.clone(), number, Transport::Tcp);
    let backend = Backend {
        key: key.clone(),
        protocol,
        tls: tls.map(Box::new),
        source: Source::Names(vec![(host, number)]),
        connect_timeout: CONNECT_TIMEOUT,
        broken: None,
    };
    Ok(UsableBackend { key, ports: vec![number], backend, endpoints: None, speaks_http })
}

/// "IP addresses are not allowed in this field", nor names of the cluster's own domain.
fn is_external(host: &Host) -> bool {
    host.as_str().parse::<IpAddr>().is_err() && !host.as_str().ends_with(CLUSTER_DOMAIN)
}

/// What is spoken, and whether requests can be sent at all. Where nothing is said, the route determines it.
fn translate_protocol(written: Option<&str>, tls: bool) -> Result<(Protocol, bool), InvalidXBackend> {
    Ok(match (written, tls) {
        (None | Some("HTTP"), _) | (Some("HTTP11"), false) | (Some("WSS"), true) => (Protocol::Http, true),
        (Some("HTTP2"), true) | (Some("H2C"), false) | (Some("GRPC"), _) => (Protocol::Http2, true),
        (Some("TCP"), _) => (Protocol::Http, false),
        (Some("HTTP2"), false) => return Err(InvalidXBackend::NeedsTls("HTTP2")),
        (Some("WSS"), false) => return Err(InvalidXBackend::NeedsTls("WSS")),
        (Some("H2C"), true) => return Err(InvalidXBackend::H2cWithTls),
        (Some("HTTP11"), true) => return Err(InvalidXBackend::Http11WithTls),
        (Some(other), _) => return Err(InvalidXBackend::Protocol(other.to_owned())),
    })
}

fn translate_tls(
    reader: &Reader<'_, '_>,
    backend: &NamespacedName,
    tls: &XBackendTls,
    unresolved: &mut Vec<InvalidCaRef>,
) -> Result<Option<BackendTls>, InvalidXBackend> {
    let XBackendTls { mode, validation } = tls;
    match (&**mode, validation) {
        ("None", None) => Ok(None),
        ("None", Some(_)) => Err(InvalidXBackend::NotValidated),
        ("ServerOnly", None) => Err(InvalidXBackend::NoValidation),
        ("ServerOnly", Some(validation)) => tls_policy::translate(reader, backend, validation, unresolved)
            .map(Some)
            .map_err(InvalidXBackend::Validation),
        ("ClientAndServer", _) => Err(InvalidXBackend::ClientCertificate),
        (other, _) => Err(InvalidXBackend::Mode(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;
    use crate::world::World;
    use crate::{Inputs, Object};

    fn plan(spec: &Value) -> BackendPlan {
        let mut all = json!({ "type": "ExternalHostname", "port": { "number": 443 },
            "externalHostname": { "hostname": "api.example.com" } });
        let fields = all.as_object_mut().unwrap();
        fields.extend(spec.as_object().unwrap().clone());
        let mut inputs = Inputs::default();
        let object = json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackend",
            "metadata": { "namespace": "ns", "name": "b" }, "spec": all });
        inputs.insert(Object::parse(object).unwrap());
        let world = World::new(&inputs, crate::recent::Recent::default());
        compile(&Reader::new(&world), &NamespacedName::new("ns", "b"))
    }

    fn server_only() -> Value {
        json!({ "mode": "ServerOnly", "validation": { "hostname": "api.example.com", "wellKnownCACertificates": "System" } })
    }

    #[test]
    fn each_protocol_is_spoken_as_its_name_says_or_refused() {
        let (plain, tls) = (json!({ "mode": "None" }), server_only());
        for (protocol, tls, expected) in [
            ("HTTP", &plain, Ok((Protocol::Http, true))),
            ("HTTP", &tls, Ok((Protocol::Http, true))),
            ("HTTP11", &plain, Ok((Protocol::Http, true))),
            ("HTTP11", &tls, Err(Reason::UnsupportedValue)),
            ("HTTP2", &plain, Err(Reason::Invalid)),
            ("HTTP2", &tls, Ok((Protocol::Http2, true))),
            ("H2C", &plain, Ok((Protocol::Http2, true))),
            ("H2C", &tls, Err(Reason::Invalid)),
            ("GRPC", &plain, Ok((Protocol::Http2, true))),
            ("GRPC", &tls, Ok((Protocol::Http2, true))),
            ("WSS", &plain, Err(Reason::Invalid)),
            ("WSS", &tls, Ok((Protocol::Http, true))),
            ("TCP", &plain, Ok((Protocol::Http, false))),
            ("TCP", &tls, Ok((Protocol::Http, false))),
            ("MCP", &plain, Err(Reason::UnsupportedValue)),
        ] {
            let plan = plan(&json!({ "protocol": protocol, "tls": tls }));
            let found = match &plan.usable {
                Ok(usable) => Ok((usable.backend.protocol, usable.speaks_http)),
                Err(_) => Err(plan.verdicts()[0].reason),
            };
            assert_eq!(found, expected, "{protocol} {tls}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_the_name_of_its_field() {
        let validation = &server_only()["validation"];
        for (spec, field) in [
            (json!({ "type": "EndpointSelector" }), "spec.type"),
            (json!({ "port": {} }), "spec.port"),
            (json!({ "port": { "number": 70000 } }), "spec.port"),
            (json!({ "externalHostname": null }), "spec.externalHostname "),
            (json!({ "externalHostname": { "hostname": "192.0.2.1" } }), "spec.externalHostname.hostname"),
            (json!({ "externalHostname": { "hostname": "a.ns.svc.cluster.local" } }), "spec.externalHostname.hostname"),
            (json!({ "sessionPersistence": {} }), "spec.sessionPersistence"),
            (json!({ "tls": { "mode": "Sometimes" } }), "spec.tls.mode"),
            (
                json!({ "tls": { "mode": "ClientAndServer", "clientCertificateRef": { "name": "a" }, "validation": validation } }),
                "spec.tls.mode",
            ),
            (json!({ "tls": { "mode": "ServerOnly" } }), "spec.tls.validation"),
            (json!({ "tls": { "mode": "None", "validation": validation } }), "spec.tls.validation"),
            (
                json!({ "tls": { "mode": "ServerOnly", "validation": { "hostname": "a b", "wellKnownCACertificates": "System" } } }),
                "spec.tls: validation.hostname",
            ),
        ] {
            let plan = plan(&spec);
            let why = plan.usable().err().unwrap_or_default();
            assert!(why.starts_with(field), "{spec}: {why}");
            let accepted = &plan.verdicts()[0];
            assert!(accepted.kind == ConditionType::Accepted && accepted.message == why, "{accepted:?}");
        }
    }

    #[test]
    fn a_bundle_that_is_missing_is_told_twice_and_nothing_is_sent_unverified() {
        let validation = json!({ "hostname": "a.example", "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "gone" }] });
        let plan = plan(&json!({ "tls": { "mode": "ServerOnly", "validation": validation } }));
        assert!(plan.usable().is_err());
        let reasons: Vec<_> = plan.verdicts().iter().map(|one| one.reason).collect();
        assert_eq!(reasons, [Reason::NoValidCaCertificate, Reason::InvalidCaCertificateRef]);
    }
}
