//! `Backend` objects of our own group: host names or addresses as a backend.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portcullis_crds as crds;
use portcullis_ir::{Backend, BackendKey, BackendTls, Endpoint, Endpoints, Host, Protocol, Source};

use crate::backend::CONNECT_TIMEOUT;
use crate::condition::{ConditionType, Reason, Verdict};
use crate::parents::list;
use crate::tls_policy::InvalidCaRef;
use crate::trust::{self, MAX_CA_REFS, MAX_NAMES, Roots};
use crate::world::Reader;
use crate::x_backend_plan::InvalidXBackend;
use crate::{NamespacedName, duration};

const MAX_ENDPOINTS: usize = 16;
/// Bounds of `connectTimeout`.
const CONNECT_TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// What a Backend object comes to, for routes and for its own status.
#[derive(Debug, PartialEq)]
pub(crate) struct BackendPlan {
    pub(crate) usable: Result<UsableBackend, InvalidBackend>,
    /// References of an XBackend to CA certificates that cannot be used. The others still count.
    pub(crate) unresolved: Vec<InvalidCaRef>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct UsableBackend {
    /// Under the first endpoint's port.
    pub(crate) key: BackendKey,
    /// The port of each endpoint.
    pub(crate) ports: Vec<u16>,
    pub(crate) backend: Backend,
    /// For addresses; names are resolved by the data plane.
    pub(crate) endpoints: Option<Endpoints>,
    /// Whether requests can be sent, and not bytes alone.
    pub(crate) speaks_http: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidBackend {
    #[error("spec.endpoints is empty; give at least one")]
    NoEndpoints,
    #[error("spec.endpoints has more than {MAX_ENDPOINTS} entries; make two Backends of it")]
    TooManyEndpoints,
    #[error("spec.endpoints[{0}] must give exactly one of hostname and ip; remove or add one")]
    Endpoint(usize),
    #[error("spec.endpoints mixes hostname and ip; make two Backends of it")]
    Mixed,
    #[error("spec.endpoints[{at}].hostname {value:?} is no host name; correct it, or use ip for an address")]
    Hostname { at: usize, value: String },
    #[error("spec.endpoints[{at}].ip {value:?} is no address; correct it, or use hostname for a name")]
    Address { at: usize, value: String },
    #[error("spec.endpoints[{at}].port {value} is no port; give 1 to 65535")]
    Port { at: usize, value: i32 },
    #[error("spec.connectTimeout {0:?} is not a duration from 1ms to 1m; write it like 500ms or 5s")]
    ConnectTimeout(String),
    #[error("spec.tls.hostname {0:?} is no host name; give the name that the certificate carries")]
    TlsHostname(String),
    #[error("spec.tls must give exactly one of caCertificateRefs and wellKnownCACertificates; add or remove one")]
    Trust,
    #[error(
        "spec.tls.subjectAltNames[{0}] does not give the field of its type alone, or not in its form; give a host name as hostname for Hostname, a URI with its scheme as uri for URI"
    )]
    SubjectAltName(usize),
    #[error("spec.tls names more than {MAX_CA_REFS} ConfigMaps or {MAX_NAMES} subjectAltNames; remove some")]
    TooMuchTls,
    #[error("ConfigMap {name} with CA certificates {problem}")]
    CaCertificate { name: NamespacedName, problem: String },
    #[error(transparent)]
    X(InvalidXBackend),
}

impl InvalidBackend {
    fn condition(&self) -> (ConditionType, Reason) {
        match self {
            Self::CaCertificate { .. } => (ConditionType::ResolvedRefs, Reason::InvalidCaCertificateRef),
            Self::X(error) => error.condition(),
            _ => (ConditionType::Accepted, Reason::Invalid),
        }
    }
}

impl BackendPlan {
    pub(crate) fn usable(&self) -> Result<&UsableBackend, String> {
        self.usable.as_ref().map_err(ToString::to_string)
    }

    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = vec![
            Verdict::yes(ConditionType::Accepted, Reason::Accepted, "routes can use the backend"),
            Verdict::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs, "all references are resolved"),
        ];
        if let Err(error) = &self.usable {
            let (kind, reason) = error.condition();
            for verdict in verdicts.iter_mut().filter(|verdict| verdict.kind == kind) {
                *verdict = Verdict::no(kind, reason, error.to_string());
            }
        }
        if let Some(first) = self.unresolved.first() {
            let message = list(self.unresolved.iter().map(|one| format!("spec.tls.{one}")));
            verdicts[1] = Verdict::no(ConditionType::ResolvedRefs, first.reason(), message);
        }
        verdicts
    }
}

pub(crate) fn compile(reader: &Reader<'_, '_>, name: &NamespacedName) -> BackendPlan {
    let usable = match reader.backend(name) {
        Some(object) => usable(reader, name, &object.spec),
        None => Err(InvalidBackend::NoEndpoints),
    };
    BackendPlan { usable, unresolved: Vec::new() }
}

fn usable(
    reader: &Reader<'_, '_>,
    name: &NamespacedName,
    spec: &crds::BackendSpec,
) -> Result<UsableBackend, InvalidBackend> {
    let crds::BackendSpec { endpoints, protocol, tls, connect_timeout } = spec;
    if endpoints.len() > MAX_ENDPOINTS {
        return Err(InvalidBackend::TooManyEndpoints);
    }
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    let mut ports = Vec::new();
    for (at, crds::BackendEndpoint { hostname, ip, port }) in endpoints.iter().enumerate() {
        let number = u16::try_from(*port).ok().filter(|port| *port != 0);
        let number = number.ok_or(InvalidBackend::Port { at, value: *port })?;
        ports.push(number);
        match (hostname, ip) {
            (Some(raw), None) => {
                // An address would be looked up as a name, in vain.
                let host = Host::parse(raw).ok().filter(|_| raw.parse::<IpAddr>().is_err());
                let host = host.ok_or_else(|| InvalidBackend::Hostname { at, value: raw.clone() })?;
                names.push((host, number));
            }
            (None, Some(raw)) => {
                let address: IpAddr = raw.parse().map_err(|_| InvalidBackend::Address { at, value: raw.clone() })?;
                addresses.push(Endpoint { address: SocketAddr::new(address, number), ready: true });
            }
            _ => return Err(InvalidBackend::Endpoint(at)),
        }
    }
    let first = *ports.first().ok_or(InvalidBackend::NoEndpoints)?;
    if !names.is_empty() && !addresses.is_empty() {
        return Err(InvalidBackend::Mixed);
    }
    let key = BackendKey::backend(name.namespace.clone(), name.name.clone(), first);
    let backend = Backend {
        key: key.clone(),
        protocol: match protocol {
            crds::BackendProtocol::Http => Protocol::Http,
            crds::BackendProtocol::Http2 => Protocol::Http2,
        },
        tls: tls.as_ref().map(|tls| translate_tls(reader, name, tls)).transpose()?.map(Box::new),
        source: if names.is_empty() { Source::Endpoints } else { Source::Names(names) },
        connect_timeout: connect_timeout.as_deref().map_or(Ok(CONNECT_TIMEOUT), parse_timeout)?,
        broken: None,
    };
    addresses.sort_unstable();
    addresses.dedup();
    let endpoints = (!addresses.is_empty()).then(|| Endpoints { key: key.clone(), endpoints: addresses });
    Ok(UsableBackend { key, ports, backend, endpoints, speaks_http: true })
}

fn parse_timeout(raw: &str) -> Result<Duration, InvalidBackend> {
    duration::parse(raw)
        .filter(|timeout| CONNECT_TIMEOUTS.contains(timeout))
        .ok_or_else(|| InvalidBackend::ConnectTimeout(raw.into()))
}

fn translate_tls(
    reader: &Reader<'_, '_>,
    backend: &NamespacedName,
    tls: &crds::BackendTls,
) -> Result<BackendTls, InvalidBackend> {
    let crds::BackendTls { hostname, ca_certificate_refs, well_known_ca_certificates, subject_alt_names } = tls;
    if ca_certificate_refs.is_empty() == well_known_ca_certificates.is_none() {
        return Err(InvalidBackend::Trust);
    }
    if ca_certificate_refs.len() > MAX_CA_REFS || subject_alt_names.len() > MAX_NAMES {
        return Err(InvalidBackend::TooMuchTls);
    }
    let mut roots = Roots::default();
    for crds::CaCertificateRef { name } in ca_certificate_refs {
        let name = NamespacedName::new(backend.namespace.clone(), name.as_str());
        roots.add(reader, &name).map_err(|problem| InvalidBackend::CaCertificate { name, problem })?;
    }
    let names = subject_alt_names.iter().enumerate().map(|(at, crds::SubjectAltName { kind, hostname, uri })| {
        let name = match (kind, hostname, uri) {
            (crds::SubjectAltNameType::Hostname, Some(name), None) => trust::dns_name(name),
            (crds::SubjectAltNameType::Uri, None, Some(uri)) => trust::uri(uri),
            _ => None,
        };
        name.ok_or(InvalidBackend::SubjectAltName(at))
    });
    Ok(BackendTls {
        hostname: Host::parse(hostname).map_err(|_| InvalidBackend::TlsHostname(hostname.clone()))?,
        subject_alt_names: names.collect::<Result<_, _>>()?,
        roots: roots.into_inner(),
        client_certificate: None,
    })
}
