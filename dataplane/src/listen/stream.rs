//! A client's connection as pingora's sessions see it (`IO`), over plain TCP or TLS.
//!
//! * Writes are gathered: a head and its body leave in one write. `poll_read` sends what is gathered, too, because a
//!   session does not flush a sized body before it is complete, and a trickled body must move on.
//! * The read deadline is absolute and set from outside ([`StreamControl`]): trickled bytes do not extend it.
//! * Bytes that were read ahead (TLS or HTTP/2 detection) are given out first.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::deadline::DeadlineTimer;
use super::hello::{PREFACE, Preface, preface};
use crate::conn::ConnInfo;

mod control;

pub(crate) use control::StreamControl;

/// Gathered bytes that are sent without waiting for a flush.
const WRITE_BUFFER: usize = 64 * 1024;
/// Writes from this size on go to the socket together with what is gathered, without being copied.
const DIRECT: usize = 8 * 1024;
/// A larger write buffer is given back when it is empty, so that idle connections stay small.
const KEPT_BUFFER: usize = 8 * 1024;
/// Read at once while looking for the HTTP/2 preface.
const READ_AHEAD: usize = 4096;

pub(crate) struct Stream {
    io: Io,
    fd: RawFd,
    ahead: Ahead,
    gathered: Vec<u8>,
    /// Bytes of `gathered` that the socket has taken.
    sent: usize,
    /// TLS only: records may wait inside the session.
    unflushed: bool,
    timer: DeadlineTimer,
    control: Arc<StreamControl>,
    h2_preface: bool,
    tls: Option<Arc<SslDigest>>,
    http2: bool,
    socket: Arc<SocketDigest>,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Bytes read before the stream was handed over.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    given: usize,
}

impl Stream {
    /// Closing ends the connection with a reset from here on: the peer cannot take its end for the end of a message.
    pub(crate) fn reset_on_close(&self) {
        let tcp = match &self.io {
            Io::Plain(tcp) => tcp,
            Io::Tls(tls) => tls.get_ref().0,
        };
        // Fails only on a socket that is gone already.
        let _ = socket2::SockRef::from(tcp).set_linger(Some(std::time::Duration::ZERO));
    }

    /// `ahead` is what was read beyond a PROXY header.
    pub(crate) fn plain(tcp: TcpStream, ahead: Vec<u8>, info: &ConnInfo) -> Self {
        let fd = tcp.as_raw_fd();
        Self::new(Io::Plain(tcp), fd, ahead, info)
    }

    pub(crate) fn tls(tls: TlsStream<TcpStream>, info: &ConnInfo) -> Self {
        let (tcp, session) = tls.get_ref();
        let fd = tcp.as_raw_fd();
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("");
        let version = info.tls.as_ref().map_or("", |tls| tls.version);
        let digest = SslDigest::new(cipher, version, None, None, Vec::new());
        let mut stream = Self::new(Io::Tls(Box::new(tls)), fd, Vec::new(), info);
        stream.tls = Some(Arc::new(digest));
        stream
    }

    fn new(io: Io, fd: RawFd, ahead: Vec<u8>, info: &ConnInfo) -> Self {
        let socket = SocketDigest::from_raw_fd(fd);
        // Both cells are new, so that setting them cannot fail.
        let _ = socket.peer_addr.set(Some(info.client.into()));
        let _ = socket.local_addr.set(Some(info.local.into()));
        Self {
            io,
            fd,
            ahead: Ahead { bytes: ahead, given: 0 },
            gathered: Vec::new(),
            sent: 0,
            unflushed: false,
            timer: DeadlineTimer::default(),
            control: Arc::new(StreamControl::default()),
            h2_preface: false,
            tls: None,
            http2: info.tls.as_ref().is_some_and(|tls| tls.http2),
            socket: Arc::new(socket),
        }
    }

    /// What http keeps while a session owns the stream.
    pub(crate) fn control(&self) -> Arc<StreamControl> {
        Arc::clone(&self.control)
    }

    /// Whether a plain-text client began with the HTTP/2 preface. Known after [`Stream::detect_preface`].
    pub(crate) fn is_h2_preface(&self) -> bool {
        self.h2_preface
    }

    /// Reads ahead until the first bytes are, or are not, the HTTP/2 preface; answers at the first byte that differs.
    /// Bounded by the read deadline. False if the client left without a byte.
    pub(crate) async fn detect_preface(&mut self) -> io::Result<bool> {
        loop {
            match preface(self.ahead.rest()) {
                Preface::Undecided => {}
                verdict => {
                    self.h2_preface = verdict == Preface::Http2;
                    return Ok(true);
                }
            }
            if std::future::poll_fn(|context| self.poll_read_ahead(context)).await? == 0 {
                return Ok(!self.ahead.rest().is_empty());
            }
        }
    }

    fn poll_read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; READ_AHEAD];
        let mut buffer = ReadBuf::new(&mut chunk);
        ready!(self.poll_read_socket(context, &mut buffer))?;
        self.ahead.bytes.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_read_socket(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.control.check_head_budget()?;
        let before = buffer.filled().len();
        let polled = match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Io::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        };
        match polled {
            Poll::Ready(Ok(())) => {
                self.control.count_in(buffer.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if let Some(deadline) = self.control.read_deadline() {
                    ready!(self.timer.poll(deadline, context));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
        }
    }

    /// Sends what is gathered.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.gathered.len() {
            let sent = ready!(self.io.poll_write(context, &self.gathered[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
            self.control.count_out(sent);
        }
        self.forget_sent();
        Poll::Ready(Ok(()))
    }

    fn poll_flush_all(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        if self.unflushed
            && let Io::Tls(tls) = &mut self.io
        {
            ready!(Pin::new(tls).poll_flush(context))?;
        }
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn forget_sent(&mut self) {
        self.sent = 0;
        if self.gathered.capacity() > KEPT_BUFFER {
            self.gathered = Vec::new();
        } else {
            self.gathered.clear();
        }
    }

    /// Takes as much as fits into the write buffer.
    fn gather(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(WRITE_BUFFER.saturating_sub(self.gathered.len()));
        self.gathered.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// As `poll_write`, for a caller that has gathered already: nothing is copied that the socket takes at once.
    pub(crate) fn poll_write_now(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.unflushed = matches!(self.io, Io::Tls(_));
        self.poll_write_direct(context, bytes)
    }

    /// Writes what is gathered and `bytes` with one system call.
    fn poll_write_direct(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let waiting = self.gathered.len() - self.sent;
        let slices = [IoSlice::new(&self.gathered[self.sent..]), IoSlice::new(bytes)];
        let sent = ready!(self.io.poll_write_vectored(context, if waiting == 0 { &slices[1..] } else { &slices }))?;
        self.control.count_out(sent);
        if sent < waiting {
            self.sent += sent;
            return Poll::Ready(Ok(self.gather(bytes)));
        }
        self.forget_sent();
        match sent - waiting {
            0 => Poll::Ready(Ok(self.gather(bytes))),
            taken => Poll::Ready(Ok(taken)),
        }
    }
}

impl Io {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, slices),
        }
    }
}

impl Ahead {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.given..]
    }

    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.rest().len().min(buffer.remaining());
        buffer.put_slice(&self.bytes[self.given..self.given + count]);
        self.given += count;
        if self.given == self.bytes.len() {
            *self = Self::default();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() || self.unflushed {
            // A failed write comes back from the next write; what the client sent is still worth reading.
            let _ = self.poll_flush_all(context);
        }
        if !self.ahead.rest().is_empty() {
            self.ahead.give(buffer);
            return Poll::Ready(Ok(()));
        }
        self.poll_read_socket(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        if bytes.len() >= DIRECT
            && let Poll::Ready(result) = self.poll_write_direct(context, bytes)
        {
            match result {
                // Nothing fitted: what is gathered must go first.
                Ok(0) if !bytes.is_empty() => {}
                result => return Poll::Ready(result),
            }
        }
        if self.gathered.len() + bytes.len() > WRITE_BUFFER {
            match self.poll_send(context) {
                Poll::Ready(result) => result?,
                // Woken when the socket takes more.
                Poll::Pending if self.gathered.len() >= WRITE_BUFFER => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        Poll::Ready(Ok(self.gather(bytes)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush_all(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush_all(context))?;
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

#[async_trait]
impl Shutdown for Stream {
    async fn shutdown(&mut self) {
        // The connection ends either way.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

#[async_trait]
impl Peek for Stream {
    /// Never `Ok(false)`, which pingora takes for "HTTP/2". Bytes beyond what was read ahead are zero.
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if self.ahead.rest().len() < PREFACE.len() {
            self.detect_preface().await?;
        }
        let rest = self.ahead.rest();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        buffer[count..].fill(0);
        Ok(true)
    }
}

impl Ssl for Stream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.tls.as_ref().map(|_| if self.http2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl UniqueID for Stream {
    fn id(&self) -> UniqueIDType {
        self.fd
    }
}

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
        Some(Arc::clone(&self.socket))
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("fd", &self.fd).field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
