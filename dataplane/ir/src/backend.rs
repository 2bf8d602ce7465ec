//! Backends: what a user names as the far side of a rule.

use std::time::Duration;

use serde::Serialize;

use crate::{BackendKey, CertificateKey, Failure, Host};

/// One port of a Service or of a Backend. Its addresses are live ([`crate::Endpoints`]) or names to resolve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backend {
    pub key: BackendKey,
    /// Of no account where bytes or datagrams are handed on as they come.
    pub protocol: Protocol,
    /// None: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Box<BackendTls>>,
    pub source: Source,
    /// Some: what is asked of this backend cannot be honoured (its BackendTLSPolicy, say), so nothing is sent to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Failure>,
    /// How long a connect may take, TLS handshake included.
    pub connect_timeout: Duration,
}

/// What is spoken on a connection to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// HTTP/1.1; with TLS, HTTP/2 too if the backend takes it by ALPN.
    Http,
    /// HTTP/2 with prior knowledge (`appProtocol: kubernetes.io/h2c`); with TLS, HTTP/2 alone by ALPN.
    Http2,
}

/// How a backend is authenticated. There is no setting that skips verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendTls {
    /// SNI, and the name that the certificate must carry unless `subject_alt_names` is given.
    pub hostname: Host,
    /// DNS names or URIs of which the certificate must carry one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<Box<str>>,
    /// Trusted roots as DER; empty means the system's.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "crate::serialize::certificates")]
    pub roots: Vec<Box<[u8]>>,
    /// The certificate that we present, if asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<CertificateKey>,
}

/// Where a backend's addresses come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The live lane carries them under the backend's key.
    Endpoints,
    /// Names that the data plane resolves, honouring their TTL. At most 16.
    Names(Vec<(Host, u16)>),
}

/// The far side of one backendRef or mirror: a backend, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    Backend(BackendKey),
    /// Broken means denied: its share of requests gets this answer.
    Invalid(Failure),
}
