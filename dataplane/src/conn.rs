//! Facts about one downstream connection, found out once when it is accepted.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_ir as ir;
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
    /// The one that the connection was opened to, as it was then.
    pub(crate) listener: Arc<ir::Listener>,
    /// None: the listener does not ask clients for a certificate.
    pub(crate) client: Option<ClientIdentity>,
}

/// What a client has shown to a listener that asks for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientIdentity {
    /// Its own certificate as DER, valid or not; none if it has shown none. It holds the key in any case.
    pub(crate) leaf: Option<Arc<[u8]>>,
    /// The certificate has a chain to the listener's roots. Always so where one is required.
    pub(crate) valid: bool,
}

/// Bytes of a future that is never made.
#[cfg(test)]
pub(crate) fn size_of_future<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
    size_of::<F>()
}
