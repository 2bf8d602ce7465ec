//! BackendTLSPolicies: what is spoken to the ports of a Service, and how its certificate is judged.
//!
//! A policy that governs a port and cannot be honoured breaks that port. Nothing ever goes there in plain text instead:
//! "Connections using an invalid CACertificateRef MUST fail" (`BackendTLSPolicyValidation.caCertificateRefs`).

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use gateway_api::backendtlspolicies::{
    BackendTlsPolicy, BackendTlsPolicySpec, BackendTlsPolicyTargetRefs, BackendTlsPolicyValidation,
    BackendTlsPolicyValidationCaCertificateRefs, BackendTlsPolicyValidationSubjectAltNames as SubjectAltName,
    BackendTlsPolicyValidationSubjectAltNamesType as SubjectAltNameType,
};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use portcullis_ir::{BackendKey, BackendTls, Failure, Host, Transport};

use crate::condition::Reason;
use crate::lenient;
use crate::object::name_of;
use crate::trust::{self, MAX_CA_REFS, MAX_NAMES, Roots};
use crate::trust_bundle::{self, InvalidBundle};
use crate::world::Reader;
use crate::{Kind, NamespacedName, ObjectRef};

/// What a policy asks for, whoever else targets the same.
#[derive(Debug, PartialEq)]
pub(crate) struct PolicyPlan {
    pub(crate) tls: Result<BackendTls, InvalidPolicy>,
    /// References to CA certificates that cannot be used. The others still count.
    pub(crate) unresolved: Vec<InvalidCaRef>,
}

/// Why a policy cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPolicy {
    #[error("the policy does not parse: {0}; correct the field")]
    Unreadable(String),
    #[error("validation.hostname {0:?} is no host name; give the name that the certificate carries")]
    Hostname(String),
    #[error(
        "validation.subjectAltNames[{0}] does not give the field of its type in its form; give a host name as hostname for Hostname, a URI with its scheme as uri for URI"
    )]
    SubjectAltName(usize),
    #[error("validation.subjectAltNames has more than {MAX_NAMES} entries; remove some")]
    ManyNames,
    #[error("validation.caCertificateRefs has more than {MAX_CA_REFS} entries; join ConfigMaps")]
    ManyCaRefs,
    #[error(
        "validation must give exactly one of caCertificateRefs and wellKnownCACertificates; add the missing one or remove one"
    )]
    Trust,
    #[error(
        "validation.wellKnownCACertificates {0:?} is not known; use System, or name ConfigMaps in caCertificateRefs"
    )]
    WellKnown(String),
    #[error("options {0:?} is not known; remove it")]
    Option(String),
    #[error("none of validation.caCertificateRefs can be used: {0}")]
    NoValidCa(InvalidCaRef),
}

/// Why a reference to CA certificates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCaRef {
    #[error(
        "validation.caCertificateRefs[{at}]: {kind} of group {group:?} is not supported; use a ConfigMap, or a ClusterTrustBundle of certificates.k8s.io"
    )]
    Kind { at: usize, group: String, kind: String },
    #[error("validation.caCertificateRefs[{at}]: ConfigMap {name} {problem}")]
    ConfigMap { at: usize, name: NamespacedName, problem: String },
    #[error("validation.caCertificateRefs[{at}]: {error}")]
    Bundle { at: usize, error: InvalidBundle },
}

impl InvalidPolicy {
    /// The reason that it gives `Accepted`.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::NoValidCa(_) => Reason::NoValidCaCertificate,
            _ => Reason::Invalid,
        }
    }
}

impl InvalidCaRef {
    /// The reason that it gives `ResolvedRefs`.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Kind { .. } => Reason::InvalidKind,
            Self::ConfigMap { .. } => Reason::InvalidCaCertificateRef,
            Self::Bundle { error, .. } => error.reason(Reason::InvalidKind),
        }
    }
}

pub(crate) fn compile(reader: &Reader<'_, '_>, name: &NamespacedName) -> PolicyPlan {
    let Some(policy) = reader.tls_policy(name) else {
        let gone = InvalidPolicy::Unreadable("it is gone".to_owned());
        return PolicyPlan { tls: Err(gone), unresolved: Vec::new() };
    };
    let BackendTlsPolicySpec { options, target_refs: _, validation } = &policy.spec;
    let options = options.as_ref();
    if let Some(why) = options.and_then(|options| options.get(lenient::UNREADABLE)) {
        return PolicyPlan { tls: Err(InvalidPolicy::Unreadable(why.clone())), unresolved: Vec::new() };
    }
    let mut unresolved = Vec::new();
    let mut tls = translate(reader, name, validation, &mut unresolved);
    if let Some(option) = options.and_then(|options| options.keys().next()) {
        tls = Err(InvalidPolicy::Option(option.clone()));
    }
    PolicyPlan { tls, unresolved }
}

/// What a `validation` asks for, of a policy or of an XBackend of the name.
pub(crate) fn translate(
    reader: &Reader<'_, '_>,
    policy: &NamespacedName,
    validation: &BackendTlsPolicyValidation,
    unresolved: &mut Vec<InvalidCaRef>,
) -> Result<BackendTls, InvalidPolicy> {
    let BackendTlsPolicyValidation { ca_certificate_refs, hostname, subject_alt_names, well_known_ca_certificates } =
        validation;
    // References are resolved even if the policy cannot be honoured: their condition is independent of it.
    let references = ca_certificate_refs.as_deref().unwrap_or_default();
    let roots = resolve(reader, policy, &references[..references.len().min(MAX_CA_REFS)], unresolved);
    if references.len() > MAX_CA_REFS {
        return Err(InvalidPolicy::ManyCaRefs);
    }
    match (references, well_known_ca_certificates.as_deref().filter(|name| !name.is_empty())) {
        ([], Some("System")) => {}
        ([], Some(other)) => return Err(InvalidPolicy::WellKnown(other.to_owned())),
        ([], None) | ([_, ..], Some(_)) => return Err(InvalidPolicy::Trust),
        ([_, ..], None) => {
            if let Some(first) = unresolved.first().filter(|_| unresolved.len() == references.len()) {
                return Err(InvalidPolicy::NoValidCa(first.clone()));
            }
        }
    }
    let names = subject_alt_names.as_deref().unwrap_or_default();
    if names.len() > MAX_NAMES {
        return Err(InvalidPolicy::ManyNames);
    }
    let names = names.iter().enumerate().map(|(at, SubjectAltName { hostname, r#type, uri })| {
        // The field of the other type is "ignored otherwise".
        let name = match r#type {
            SubjectAltNameType::Hostname => hostname.as_deref().and_then(trust::dns_name),
            SubjectAltNameType::Uri => uri.as_deref().and_then(trust::uri),
        };
        name.ok_or(InvalidPolicy::SubjectAltName(at))
    });
    // "IPs are not allowed" (`PreciseHostname`), and no SNI could carry one.
    let host = Host::parse(hostname).ok().filter(|host| host.as_str().parse::<IpAddr>().is_err());
    Ok(BackendTls {
        hostname: host.ok_or_else(|| InvalidPolicy::Hostname(hostname.clone()))?,
        subject_alt_names: names.collect::<Result<_, _>>()?,
        roots,
        client_certificate: None,
    })
}

/// The certificates of all references that can be used.
fn resolve(
    reader: &Reader<'_, '_>,
    policy: &NamespacedName,
    references: &[BackendTlsPolicyValidationCaCertificateRefs],
    unresolved: &mut Vec<InvalidCaRef>,
) -> Vec<Box<[u8]>> {
    let mut roots = Roots::default();
    for (at, BackendTlsPolicyValidationCaCertificateRefs { group, kind, name }) in references.iter().enumerate() {
        let added = match (&**group, &**kind) {
            ("", "ConfigMap") => {
                let name = NamespacedName::new(Arc::clone(&policy.namespace), name.as_str());
                roots.add(reader, &name).map_err(|problem| InvalidCaRef::ConfigMap { at, name, problem })
            }
            (trust_bundle::GROUP, "ClusterTrustBundle") => {
                roots.add_bundle(reader, name).map_err(|error| InvalidCaRef::Bundle { at, error })
            }
            _ => Err(InvalidCaRef::Kind { at, group: group.clone(), kind: kind.clone() }),
        };
        unresolved.extend(added.err());
    }
    roots.into_inner()
}

/// What the policies ask of one port of a Service; none if nothing.
pub(crate) fn on_port(
    reader: &Reader<'_, '_>,
    key: &BackendKey,
    service: &Service,
) -> Result<Option<BackendTls>, Failure> {
    let name = NamespacedName::new(Arc::clone(&key.namespace), Arc::clone(&key.name));
    let policies = reader.tls_policies(&name);
    let port = port_name(service, key.port, key.transport);
    let own = port.and_then(|port| governing(&policies, &name.name, Some(port)));
    let policy = match key.transport {
        Transport::Tcp => own.or_else(|| governing(&policies, &name.name, None)),
        // The policy of a whole Service means its TCP ports; no TLS is spoken over UDP.
        Transport::Udp if own.is_some() => return Err(Failure::InvalidBackendTls),
        Transport::Udp => None,
    };
    let Some(policy) = policy else { return Ok(None) };
    let plan = reader.tls_policy_plan(&name_of(&**policy));
    match plan.as_deref() {
        Some(PolicyPlan { tls: Ok(tls), unresolved: _ }) => Ok(Some(tls.clone())),
        _ => Err(Failure::InvalidBackendTls),
    }
}

/// Of the policies for one port of a Service (or for all of it), the one that counts: "The older policy by creation
/// timestamp takes precedence", then "the policy appearing first in alphabetical order by {namespace}/{name}".
pub(crate) fn governing<'p>(
    policies: &'p [Arc<BackendTlsPolicy>],
    service: &str,
    section: Option<&str>,
) -> Option<&'p Arc<BackendTlsPolicy>> {
    let targets = |target: &BackendTlsPolicyTargetRefs| {
        is_service(target) && target.name == service && section_of(target) == section
    };
    let candidates = policies.iter().filter(|policy| policy.spec.target_refs.iter().any(targets));
    candidates.max_by_key(|policy| {
        let created = policy.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        Reverse((created, name_of(&***policy)))
    })
}

pub(crate) fn is_service(target: &BackendTlsPolicyTargetRefs) -> bool {
    target.group.is_empty() && target.kind == Kind::Service.as_str()
}

/// The name of the port that is meant; none for the whole Service.
pub(crate) fn section_of(target: &BackendTlsPolicyTargetRefs) -> Option<&str> {
    target.section_name.as_deref().filter(|name| !name.is_empty())
}

/// Ports of one number under different transports are different ports.
fn port_name(service: &Service, port: u16, transport: Transport) -> Option<&str> {
    let protocol = match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    let ports = service.spec.as_ref()?.ports.as_deref()?;
    let same = |one: &&k8s_openapi::api::core::v1::ServicePort| {
        one.port == i32::from(port) && one.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    ports.iter().find(same)?.name.as_deref()
}

/// How a target is called in messages.
pub(crate) fn describe(policy: &NamespacedName, target: &BackendTlsPolicyTargetRefs) -> String {
    let service =
        ObjectRef::namespaced(Kind::Service, &NamespacedName::new(Arc::clone(&policy.namespace), target.name.as_str()));
    match section_of(target) {
        Some(port) => format!("port {port} of {service}"),
        None => service.to_string(),
    }
}
