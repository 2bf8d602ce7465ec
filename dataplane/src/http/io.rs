//! The client's byte stream, shared between the HTTP/1 session that parses it and the loop that drives it.
//!
//! The session owns one handle and reads through it; the loop owns another and
//! * writes behind: bytes are taken at once and sent when the socket has room, so reading never waits for writing
//!   (a client that does not read its answer can still send its body, and the other way round);
//! * notices a client that leaves, without taking a pipelined request for noise;
//! * bounds the bytes of a request head (the stream's control counts them).

use std::any::type_name;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::listen::{Stream, StreamControl};

/// Bytes read ahead at once: a typical request head.
const AHEAD: usize = 4096;
/// Body chunks of at least this size are given to the socket directly instead of being copied behind others.
const DIRECT: usize = 8 * 1024;
/// As a plain writer (after an upgrade) it makes its caller wait above this.
const HIGH: usize = 64 * 1024;

/// A handle on the stream. Only one task touches a connection, so its lock is never contended.
#[derive(Clone)]
pub(super) struct Io {
    state: Arc<Mutex<State>>,
    control: Arc<StreamControl>,
}

struct State {
    stream: Stream,
    /// Taken from the loop, not yet taken by the stream.
    out: BytesMut,
    /// The stream may hold bytes of its own that it has not sent.
    unflushed: bool,
    /// Read before the session asked for it.
    ahead: BytesMut,
    /// The client sends nothing more.
    ended: bool,
}

impl Io {
    pub(super) fn new(stream: Stream) -> Self {
        let control = stream.control();
        let state = State { stream, out: BytesMut::new(), unflushed: false, ahead: BytesMut::new(), ended: false };
        Self { state: Arc::new(Mutex::new(state)), control }
    }

    /// See [`Stream::reset_on_close`].
    pub(super) fn reset_on_close(&self) {
        self.lock().stream.reset_on_close();
    }

    /// From now on at most about `bytes` are read until [`Io::end_head`].
    pub(super) fn begin_head(&self, bytes: usize) {
        self.control.set_head_budget(Some(bytes as u64));
    }

    /// Ends the bound; says whether it was hit.
    pub(super) fn end_head(&self) -> bool {
        let exceeded = self.control.head_exceeded();
        self.control.set_head_budget(None);
        exceeded
    }

    /// The first bytes of a request; none when the client closed instead.
    pub(super) fn poll_first(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<BytesMut>>> {
        let mut state = self.lock();
        state.drain(cx)?;
        if state.ahead.is_empty() {
            ready!(state.read_ahead(cx))?;
        }
        let first = std::mem::take(&mut state.ahead);
        Poll::Ready(Ok((!first.is_empty()).then_some(first)))
    }

    /// Ready when the client has left. A next request that it has sent already is kept for later.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.ended {
            return Poll::Ready(());
        }
        if !state.ahead.is_empty() {
            return Poll::Pending;
        }
        match state.read_ahead(cx) {
            Poll::Ready(Ok(())) if !state.ended => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Encodes into the write-behind buffer.
    pub(super) fn write(&self, encode: impl FnOnce(&mut BytesMut)) {
        encode(&mut self.lock().out);
    }

    /// Takes body bytes; large ones reach the socket without a copy as far as it has room.
    pub(super) fn write_chunk(&self, cx: &mut Context<'_>, mut chunk: Bytes) -> io::Result<()> {
        let mut state = self.lock();
        if chunk.len() >= DIRECT {
            while state.take_out(cx)?.is_ready() && !chunk.is_empty() {
                match state.stream.poll_write_now(cx, &chunk) {
                    Poll::Ready(sent) => {
                        let sent = sent?;
                        if sent == 0 {
                            return Err(io::ErrorKind::WriteZero.into());
                        }
                        chunk.advance(sent);
                        state.unflushed = true;
                    }
                    Poll::Pending => break,
                }
            }
        }
        state.out.extend_from_slice(&chunk);
        Ok(())
    }

    /// Bytes read from and sent to the client so far.
    pub(super) fn traffic(&self) -> (u64, u64) {
        (self.control.bytes_in(), self.control.bytes_out())
    }

    /// Bytes taken and not yet sent.
    pub(super) fn pending(&self) -> usize {
        self.lock().out.len()
    }

    /// Ready when everything taken has been sent.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }

    /// Ends our direction after everything taken has been sent.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        ready!(state.poll_flush(cx))?;
        Pin::new(&mut state.stream).poll_shutdown(cx)
    }

    /// Reads and drops, for a client that must be able to read our last answer before it learns of the close.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let mut space = [MaybeUninit::uninit(); AHEAD];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut state.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves bytes and counters, never half an update that matters to a connection about to end.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sends as much as the socket takes; never waits.
    fn drain(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.out.is_empty() && !self.unflushed {
            return Ok(());
        }
        match self.poll_flush(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.take_out(cx)?);
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands the write-behind buffer to the stream.
    fn take_out(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while !self.out.is_empty() {
            match self.stream.poll_write_now(cx, &self.out) {
                Poll::Ready(sent) => {
                    let sent = sent?;
                    if sent == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    self.unflushed = true;
                    if sent == self.out.len() {
                        // Keeps the allocation for the next response.
                        self.out.clear();
                    } else {
                        self.out.advance(sent);
                    }
                }
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Reads once into `ahead`; nothing there afterwards means that the client has ended.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); AHEAD];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let filled = buffer.filled();
        if filled.is_empty() {
            self.ended = true;
        } else {
            // Room for a typical head, because the session parses in place.
            self.ahead.reserve(AHEAD);
            self.ahead.extend_from_slice(filled);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        state.drain(cx)?;
        let before = buffer.filled().len();
        if state.ahead.is_empty() {
            ready!(Pin::new(&mut state.stream).poll_read(cx, buffer))?;
            if buffer.filled().len() == before && buffer.remaining() > 0 {
                state.ended = true;
            }
        } else {
            let taken = state.ahead.len().min(buffer.remaining());
            buffer.put_slice(&state.ahead.split_to(taken));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.out.len() >= HIGH {
            state.drain(cx)?;
            if state.out.len() >= HIGH {
                return Poll::Pending;
            }
        }
        state.out.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Io::poll_shutdown(&self, cx)
    }
}

/// Closing is the loop's business: a session that thinks its connection unfit for reuse must not cut off what is still
/// to be sent.
#[async_trait]
impl Shutdown for Io {
    async fn shutdown(&mut self) {}
}

impl UniqueID for Io {
    fn id(&self) -> UniqueIDType {
        0
    }
}

// What the session would like to know about the connection is known to us by `ConnInfo`; asking costs allocations.
impl Ssl for Io {}
impl Peek for Io {}

impl GetTimingDigest for Io {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Io {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Io {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(type_name::<Self>())
    }
}
