//! Listeners: a port, what is spoken there, and for which hosts.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::{Auth, CertificateKey, ExternalAuth, HostPattern, Limits, ListenerKey};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    pub key: ListenerKey,
    /// Addresses to bind; empty means the data plane's default (every address of the pod).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    pub port: u16,
    pub hostname: HostPattern,
    pub protocol: ListenerProtocol,
    /// Take PROXY protocol version 2 before anything else, from trusted peers (a setting of the data plane).
    pub proxy_protocol: bool,
    /// In force for every rule on the listener that has none of its own, and for its connections if it hands those on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Arc<Limits>>,
    /// In force for every rule on the listener that has none of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Arc<Auth>>,
    /// Asked about every request in this order, before a rule is looked for: what they set of a request can decide which
    /// rule takes it (Gateway API `Listener.filters`, GEP-5224).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<ExternalAuth>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ListenerProtocol {
    /// HTTP/1.1 and HTTP/2 with prior knowledge.
    Http,
    /// The same over TLS; HTTP/2 by ALPN.
    Https(TlsTermination),
    /// TLS that is handed on unopened, by the name that the client asks for (SNI).
    TlsPassthrough,
    /// TLS that ends here; what it carries is handed on as it comes.
    TlsTerminate(TlsTermination),
    Tcp,
    Udp,
}

impl ListenerProtocol {
    /// How TLS ends here, if it does.
    pub fn termination(&self) -> Option<&TlsTermination> {
        match self {
            Self::Https(termination) | Self::TlsTerminate(termination) => Some(termination),
            Self::Http | Self::TlsPassthrough | Self::Tcp | Self::Udp => None,
        }
    }

    /// Whether connections begin with a TLS handshake.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Https(_) | Self::TlsPassthrough | Self::TlsTerminate(_))
    }
}

/// How TLS ends at a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsTermination {
    /// In the order written. The first whose names cover the SNI is served, else the first. Empty if no certificate
    /// that was named can be used: then handshakes for the listener's hosts are refused. Leaving the listener out
    /// instead would hand its hosts to a broader listener of the port.
    pub certificates: Vec<CertificateKey>,
    /// None: clients are not asked for a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_validation: Option<ClientValidation>,
}

/// How a client's certificate is judged (Gateway API `FrontendTLSValidation`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientValidation {
    /// Trusted roots as DER. Empty if none that was named can be used: then nobody is let in, whatever the mode.
    #[serde(serialize_with = "crate::serialize::certificates")]
    pub roots: Vec<Box<[u8]>>,
    pub mode: ClientValidationMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientValidationMode {
    /// A handshake without a valid certificate fails (`AllowValidOnly`).
    Require,
    /// A certificate is asked for, and a handshake without a valid one succeeds all the same (`AllowInsecureFallback`).
    Request,
}
