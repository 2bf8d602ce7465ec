//! A look at the beginning of a request's body, which its backend gets all the same.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use portcullis_external::RequestBody;

/// The client has left, or its body breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientGone;

/// Whoever reads from a client.
pub(crate) trait Peek: Send {
    /// The first `max` bytes of the body, or all of it if that is less.
    fn poll_peek(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<Result<RequestBody, ClientGone>>;
}

/// A client that is lent to policies.
pub(crate) trait Lent: fmt::Debug + Send + Sync {
    /// As [`Peek::poll_peek`].
    fn poll(&self, cx: &mut Context<'_>, max: usize) -> Poll<Result<RequestBody, ClientGone>>;
}

/// Lends a client to policies.
pub(crate) struct Tap<'a>(Mutex<&'a mut dyn Peek>);

impl<'a> Tap<'a> {
    pub(crate) fn new(client: &'a mut dyn Peek) -> Self {
        Self(Mutex::new(client))
    }
}

impl Lent for Tap<'_> {
    fn poll(&self, cx: &mut Context<'_>, max: usize) -> Poll<Result<RequestBody, ClientGone>> {
        // Nobody else asks: one request has one policy phase.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_peek(cx, max)
    }
}

impl fmt::Debug for Tap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}
