//! The answer of a policy to a request that it turns away.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::observe::Flags;

/// HTTP and gRPC alike: a gRPC client is told by a head alone, with the status that `grpc` gives.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Status of the gRPC answer: 7 permission denied, 8 resource exhausted, 14 unavailable, 16 unauthenticated.
    pub(crate) grpc: u8,
    pub(crate) flags: Flags,
    /// For people; holds nothing of a credential.
    pub(crate) message: Cow<'static, str>,
    /// `Retry-After`, `WWW-Authenticate`, `Location` and the like.
    pub(crate) headers: HeaderMap,
    /// None: the body that all answers of ours have.
    pub(crate) body: Option<Bytes>,
    /// The rule that refuses, for the log; none if the policy has none.
    pub(crate) by: Option<Box<str>>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, grpc: u8, flags: Flags, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, grpc, flags, message: message.into(), headers: HeaderMap::new(), body: None, by: None }
    }
}
