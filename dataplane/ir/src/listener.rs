//! Listeners: a port, what is spoken there, and for which hosts.

use std::net::IpAddr;

use serde::Serialize;

use crate::{CertificateKey, HostPattern, ListenerKey};

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
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ListenerProtocol {
    /// HTTP/1.1 and HTTP/2 with prior knowledge.
    Http,
    /// The same over TLS; HTTP/2 by ALPN.
    Https(TlsTermination),
}

/// How TLS ends at a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsTermination {
    /// In the order written. The first whose names cover the SNI is served, else the first. Empty if no certificate
    /// that was named can be used: then handshakes for the listener's hosts are refused. Leaving the listener out
    /// instead would hand its hosts to a broader listener of the port.
    pub certificates: Vec<CertificateKey>,
}
