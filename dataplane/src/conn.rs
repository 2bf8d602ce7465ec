//! Facts about one downstream connection, found out once when it is accepted.

use std::net::SocketAddr;

use portcullis_router::Bind;

/// What every request on the connection shares.
#[derive(Clone, Debug)]
pub(crate) struct ConnInfo {
    /// Where the listener manager bound the socket: the key by which the router finds listeners.
    pub(crate) bind: Bind,
    /// The client: the PROXY header's source if one was taken from a trusted peer, else the TCP peer.
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) tls: Option<TlsInfo>,
}

#[derive(Clone, Debug)]
pub(crate) struct TlsInfo {
    /// In normal form.
    pub(crate) sni: Option<String>,
    pub(crate) version: &'static str,
    pub(crate) http2: bool,
}
