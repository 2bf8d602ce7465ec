//! The connection under an HTTP/1 session: writes behind, so that one task can write a request and read its response
//! at once although a session cannot be split.
//!
//! Bytes written are held here (at most [`HELD`]) and leave when the response is awaited, so a head and a first piece
//! of body leave in one write. Nothing about writing ever waits below that bound, and a write that fails is not
//! reported: a backend that answers early and closes (413, say) still has its answer read, and the read tells
//! everything else.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::gate::Gate;
use super::wire::Wire;

/// Bytes held at most; above, writing waits for the network.
const HELD: usize = 256 * 1024;
/// Writes of at least this many bytes go to the network directly when nothing is held, and flushes of as many are
/// real: copying or waiting would gain nothing.
const EAGER: usize = 16 * 1024;
/// What the buffer may keep while a connection is idle.
const KEPT_CAPACITY: usize = 4 * 1024;
/// Bytes read at most until a response's head is complete (what comes behind it in the same read included).
pub(super) const HEAD_BUDGET: usize = 128 * 1024;

#[derive(Debug)]
pub(crate) struct Stream {
    /// Private to the one task that owns the session: the lock is there because pingora lends sessions' streams
    /// shared only. Never contended, never held over an await.
    state: Mutex<State>,
    gate: Arc<Gate>,
    _open: OpenGuard,
}

#[derive(Debug)]
struct State {
    wire: Wire,
    /// Held bytes from `taken` on. Kept as one buffer so that reuse costs no allocation.
    held: Vec<u8>,
    taken: usize,
    /// TLS may hold bytes that it has taken.
    unflushed: bool,
    failed: Option<io::ErrorKind>,
    /// Fail writes instead of hiding that they failed: after an upgrade nobody may be reading.
    strict: bool,
    /// Bytes of this exchange that the network took.
    sent: u64,
    /// Bytes of this exchange that came back.
    received: u64,
    /// How many more may come before a response's head is complete.
    head_budget: usize,
    over_budget: bool,
}

/// Counts a connection as open on its worker.
#[derive(Debug)]
pub(super) struct OpenGuard(Arc<AtomicUsize>);

/// What became of an exchange, for naming an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) over_budget: bool,
}

impl Stream {
    pub(super) fn new(wire: Wire, open: OpenGuard) -> Self {
        let state = State {
            wire,
            held: Vec::new(),
            taken: 0,
            unflushed: false,
            failed: None,
            strict: false,
            sent: 0,
            received: 0,
            head_budget: HEAD_BUDGET,
            over_budget: false,
        };
        Self { state: Mutex::new(state), gate: Arc::default(), _open: open }
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// A new exchange begins.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        (state.sent, state.received, state.head_budget) = (0, 0, HEAD_BUDGET);
    }

    /// The final head is complete: what comes now is a body.
    pub(super) fn head_complete(&self) {
        self.lock().head_budget = usize::MAX;
    }

    pub(super) fn progress(&self) -> Progress {
        let state = self.lock();
        Progress { sent: state.sent, received: state.received, over_budget: state.over_budget }
    }

    /// From now on writes report their failures and a flush waits.
    pub(super) fn make_strict(&mut self) {
        self.state_mut().strict = true;
    }

    /// Whether all that was written has left and nothing failed: what reuse asks for.
    pub(super) fn is_settled(&self) -> bool {
        let mut state = self.lock();
        if state.held.capacity() > KEPT_CAPACITY && state.held.is_empty() {
            state.held = Vec::new();
        }
        state.held.is_empty() && !state.unflushed && state.failed.is_none()
    }

    /// Whether an idle connection may be used: the far side has neither closed it nor sent anything. Costs no system
    /// call while the reactor has seen nothing, and takes in what TLS sends beside data (session tickets).
    pub(super) fn is_alive(&self) -> bool {
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        let mut state = self.lock();
        Pin::new(&mut state.wire).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf).is_pending()
    }

    /// Moves held bytes on as far as the network takes them; pending while some are left.
    pub(super) fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().drain(cx, &self.gate)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state half changed when it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&mut self) -> &mut State {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&mut self) -> (&mut State, &Gate) {
        (self.state.get_mut().unwrap_or_else(PoisonError::into_inner), &self.gate)
    }
}

impl State {
    fn pending(&self) -> usize {
        self.held.len() - self.taken
    }

    fn hold(&mut self, bytes: &[u8], gate: &Gate) {
        self.held.extend_from_slice(bytes);
        gate.set(self.pending());
    }

    fn fail(&mut self, kind: io::ErrorKind, gate: &Gate) {
        self.failed = Some(kind);
        self.unflushed = false;
        self.forget_held(gate);
    }

    fn forget_held(&mut self, gate: &Gate) {
        self.held.clear();
        self.taken = 0;
        gate.set(0);
    }

    fn drain(&mut self, cx: &mut Context<'_>, gate: &Gate) -> Poll<()> {
        while self.taken < self.held.len() {
            let bytes = self.held.get(self.taken..).unwrap_or_default();
            match Pin::new(&mut self.wire).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => self.fail(io::ErrorKind::WriteZero, gate),
                Poll::Ready(Ok(count)) => {
                    self.taken += count;
                    self.sent += count as u64;
                    self.unflushed = self.wire.holds_writes();
                }
                Poll::Ready(Err(error)) => self.fail(error.kind(), gate),
                Poll::Pending => {
                    gate.set(self.pending());
                    return Poll::Pending;
                }
            }
        }
        if self.taken > 0 {
            self.forget_held(gate);
        }
        if self.unflushed {
            match ready!(Pin::new(&mut self.wire).poll_flush(cx)) {
                Ok(()) => self.unflushed = false,
                Err(error) => self.fail(error.kind(), gate),
            }
        }
        Poll::Ready(())
    }

    fn write_result(&self) -> io::Result<()> {
        match self.failed {
            Some(kind) if self.strict => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (state, gate) = self.parts();
        if state.pending() > 0 || state.unflushed {
            // Whether it all left or not, reading goes on; the rest leaves when the socket takes it.
            let _ = state.drain(cx, gate);
        }
        if state.head_budget == 0 {
            state.over_budget = true;
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut state.wire).poll_read(cx, buf))?;
        let count = buf.filled().len() - before;
        state.received += count as u64;
        if state.head_budget != usize::MAX {
            state.head_budget = state.head_budget.saturating_sub(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (state, gate) = self.parts();
        state.write_result()?;
        if state.failed.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        if state.pending() == 0 && buf.len() >= EAGER {
            match Pin::new(&mut state.wire).poll_write(cx, buf) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    state.sent += count as u64;
                    state.unflushed = state.wire.holds_writes();
                    return Poll::Ready(Ok(count));
                }
                Poll::Ready(Ok(_)) => state.fail(io::ErrorKind::WriteZero, gate),
                Poll::Ready(Err(error)) => state.fail(error.kind(), gate),
                Poll::Pending => {}
            }
        } else if state.pending() >= HELD {
            let _ = state.drain(cx, gate);
        }
        state.write_result()?;
        if state.failed.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        let room = HELD.saturating_sub(state.pending());
        if room == 0 {
            return Poll::Pending;
        }
        let count = room.min(buf.len());
        state.hold(buf.get(..count).unwrap_or(buf), gate);
        Poll::Ready(Ok(count))
    }

    /// Never waits, and for little moves nothing: it leaves with what follows, at the next read.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (state, gate) = self.parts();
        if state.strict {
            ready!(state.drain(cx, gate));
        } else if state.pending() >= EAGER {
            let _ = state.drain(cx, gate);
        }
        Poll::Ready(state.write_result())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (state, gate) = self.parts();
        ready!(state.drain(cx, gate));
        state.write_result()?;
        Pin::new(&mut state.wire).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Stream {
    /// One try: `close_notify` if TLS can send it now. A connection that is given up is not worth waiting for.
    async fn shutdown(&mut self) {
        let state = self.state_mut();
        let _ = Pin::new(&mut state.wire).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }
}

impl UniqueID for Stream {
    fn id(&self) -> UniqueIDType {
        self.lock().wire.as_raw_fd()
    }
}

// Nothing asks an upstream session for these: verification and timing are ours.
impl Ssl for Stream {}

impl Peek for Stream {}

impl GetTimingDigest for Stream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Stream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Stream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl OpenGuard {
    /// None above `limit`.
    pub(super) fn new(open: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        // Counted first, so that two that ask at once cannot both take the last place.
        let guard = Self(Arc::clone(open));
        (open.fetch_add(1, Ordering::Relaxed) < limit).then_some(guard)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
