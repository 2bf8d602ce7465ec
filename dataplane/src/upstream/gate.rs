//! How much of a request is written but not yet taken by the network, and a way to wait until it is less.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// More than this pending, and the proxy loop reads no more of the request's body (pingora.md 9.3).
pub(crate) const WRITE_BEHIND_HIGH: usize = 64 * 1024;
/// At or below this it goes on.
const WRITE_BEHIND_LOW: usize = 32 * 1024;

#[derive(Debug, Default)]
pub(super) struct Gate {
    pending: AtomicUsize,
    waiting: AtomicWaker,
}

/// Resolves when little enough is pending. It drives nothing: the bytes leave while the response is awaited
/// ([`super::Upstream::read_head`] and its like, or [`super::Upstream::flush`]).
#[derive(Debug)]
pub(crate) struct Drained(pub(super) Arc<Gate>);

impl Gate {
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, pending: usize) {
        let before = self.pending.swap(pending, Ordering::Relaxed);
        if before > WRITE_BEHIND_LOW && pending <= WRITE_BEHIND_LOW {
            self.waiting.wake();
        }
    }
}

impl Future for Drained {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.waiting.register(cx.waker());
        if self.0.pending() <= WRITE_BEHIND_LOW { Poll::Ready(()) } else { Poll::Pending }
    }
}
