//! What a service is asked about.

use std::net::SocketAddr;

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;

/// A client's request, as it stands before any filter.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub head: &'a Parts,
    /// As the client said it; empty if it said none.
    pub host: &'a str,
    pub https: bool,
    /// After trusted hops.
    pub client: SocketAddr,
    /// The subject of the certificate that the client presented and the listener verified.
    pub principal: Option<&'a str>,
    /// None: nothing of a body is sent along.
    pub body: Option<&'a RequestBody>,
}

/// The beginning of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestBody {
    pub bytes: Bytes,
    /// There is nothing after it.
    pub whole: bool,
}

/// A request to the service.
#[derive(Debug)]
pub struct Asking {
    pub head: Parts,
    pub body: Bytes,
}

/// What requests to services carry at most of one header: several values are joined, and a service has its bounds too.
pub(crate) fn joined(headers: &HeaderMap, name: &http::HeaderName) -> Vec<u8> {
    let separator: &[u8] = if *name == http::header::COOKIE { b"; " } else { b", " };
    let mut joined = Vec::new();
    for (at, value) in headers.get_all(name).iter().enumerate() {
        if at > 0 {
            joined.extend_from_slice(separator);
        }
        joined.extend_from_slice(value.as_bytes());
    }
    joined
}
