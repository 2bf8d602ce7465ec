//! What an answer of a service means.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow(Edits),
    Deny(Denial),
}

/// What a yes changes of the request, and of the answer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Taken away first.
    pub remove: Vec<HeaderName>,
    /// Put in place of what is there; each name once.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Put into the answer that the client gets.
    pub response: Vec<(HeaderName, HeaderValue)>,
}

/// The answer that the client gets instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The service answered, and what it said is neither yes nor no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    #[error("the service's answer does not parse")]
    Malformed,
    #[error("the service answered by status {0}")]
    Status(u16),
    #[error("the service answered by gRPC status {0}")]
    Grpc(u32),
    #[error("the service says that it failed")]
    Failed,
}
