//! Whether a request is sent again. One function decides, and nothing a library suggests is asked.
//!
//! Sending twice what was acted on once is worse than an error, so:
//! * what provably was not acted on may be sent again, whatever it is: no connection, or a connection that ended with
//!   nothing of the request on it, or a stream that the backend says it never began with;
//! * what *may* have been acted on only if the method is idempotent, it had no body, and it went over a connection that
//!   had been idle, where a close that crosses the request on the way is by far the likeliest reason.

use http::Method;

use super::head::Body;
use crate::upstream::{UpstreamError, UpstreamErrorKind};

/// Tries in all, the first included.
pub(super) const MAX_TRIES: u32 = 3;

/// A try that failed before any byte of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed<'a> {
    /// Counted from 1.
    pub(super) tries: u32,
    pub(super) method: &'a Method,
    pub(super) body: Body,
    /// Something of the request's body was taken from the client already, and is gone.
    pub(super) body_begun: bool,
    /// The connection had served another request before.
    pub(super) reused: bool,
}

pub(super) fn may_resend(failed: &Failed<'_>, error: &UpstreamError) -> bool {
    if failed.tries >= MAX_TRIES || failed.body_begun {
        return false;
    }
    if error.provably_unsent() {
        return true;
    }
    failed.reused
        && error.before_response()
        && error.kind() == UpstreamErrorKind::Reset
        && failed.method.is_idempotent()
        && matches!(failed.body, Body::None | Body::Length(0))
}

/// Whether a copy of the head is worth keeping for the case that it must be sent again.
pub(super) fn is_conceivable(reused: bool, http2: bool) -> bool {
    reused || http2
}
