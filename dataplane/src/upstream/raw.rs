//! A connection of bytes to a backend: no protocol above TCP or TLS, and nobody's but one client's.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout_at;

use super::backend::{BackendProgram, Transport};
use super::connect::{handshake, tcp};
use super::error::ConnectError;
use super::stream::OpenGuard;
use super::wire::Wire;

/// What is carried to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carry {
    /// Bytes, inside TLS if the backend asks for it.
    Bytes,
    /// The client's own TLS, which the backend ends: what it asks of ours is of no account.
    Tls,
}

#[derive(Debug)]
pub(crate) struct Raw {
    wire: Wire,
    _open: OpenGuard,
}

impl Raw {
    pub(super) fn new(wire: Wire, open: OpenGuard) -> Self {
        Self { wire, _open: open }
    }

    /// Closing ends the connection with a reset from here on: the backend cannot take its end for the end of what the
    /// client had to say.
    pub(crate) fn reset_on_close(&self) {
        // Fails only on a socket that is gone already.
        let _ = SockRef::from(&self.wire).set_linger(Some(Duration::ZERO));
    }
}

pub(super) async fn dial(
    backend: &BackendProgram,
    address: SocketAddr,
    carry: Carry,
    deadline: Instant,
) -> Result<Wire, ConnectError> {
    timeout_at(deadline.into(), dial_unbounded(backend, address, carry)).await.unwrap_or(Err(ConnectError::Timeout))
}

async fn dial_unbounded(backend: &BackendProgram, address: SocketAddr, carry: Carry) -> Result<Wire, ConnectError> {
    match (carry, &backend.transport) {
        (_, Transport::Denied(_)) | (Carry::Bytes, Transport::Broken(_)) => Err(ConnectError::Misconfigured),
        (Carry::Tls, _) | (Carry::Bytes, Transport::Plain) => Ok(Wire::Plain(tcp(address).await?)),
        (Carry::Bytes, Transport::Tls(policy)) => handshake(policy, &policy.raw, tcp(address).await?).await,
    }
}

impl AsyncRead for Raw {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_read(cx, buf)
    }
}

impl AsyncWrite for Raw {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().wire).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}
