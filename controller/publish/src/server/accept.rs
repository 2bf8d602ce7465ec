//! Connections: TCP, then TLS within a deadline, then a look at the client's certificate. Both stages are bounded, so
//! that strangers who open connections cost memory for a while and nothing else.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::identity::Subject;
use crate::stats::count;
use crate::{Pki, Stats};

const HANDSHAKE: Duration = Duration::from_secs(5);
const MAX_HANDSHAKES: usize = 256;
const MAX_CONNECTIONS: usize = 8192;
/// After an `accept` that failed: out of descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) certificate: Certificate,
}

#[derive(Debug)]
pub(super) enum Certificate {
    /// Not shown: good for a first certificate.
    None,
    /// Shown, but worthless, and why.
    Refused(String),
    Good(Subject),
}

#[derive(Debug)]
pub(super) struct Connection {
    tls: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    _place: OwnedSemaphorePermit,
}

/// Ends with its receiver.
pub(super) fn accept(
    listener: TcpListener,
    pki: Arc<Pki>,
    stats: Arc<Stats>,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = accept_all(&listener, &pki, &stats, &ready) => {}
            () = ready.closed() => {}
        }
    });
    ReceiverStream::new(connections)
}

async fn accept_all(
    listener: &TcpListener,
    pki: &Arc<Pki>,
    stats: &Arc<Stats>,
    ready: &mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Neither is ever closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok(turn) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection to the stream's port cannot be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (pki, stats, ready) = (Arc::clone(pki), Arc::clone(stats), ready.clone());
        tokio::spawn(async move {
            let shaken = timeout(HANDSHAKE, shake_hands(tcp, address, &pki)).await;
            drop(turn);
            match shaken {
                Ok(Ok((tls, peer))) => {
                    count(&stats.connections);
                    // Fails when the server has ended.
                    let _ = ready.send(Ok(Connection { tls, peer: Arc::new(peer), _place: place })).await;
                }
                Ok(Err(error)) => {
                    count(&stats.handshakes_failed);
                    tracing::info!(peer = %address, %error, "a TLS handshake failed");
                }
                Err(_) => {
                    count(&stats.handshakes_failed);
                    tracing::info!(peer = %address, "a TLS handshake took too long");
                }
            }
        });
    }
}

async fn shake_hands(tcp: TcpStream, address: SocketAddr, pki: &Pki) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    tcp.set_nodelay(true)?;
    let config = pki.server_config(SystemTime::now()).map_err(io::Error::other)?;
    let tls = TlsAcceptor::from(config).accept(tcp).await?;
    let certificate = match tls.get_ref().1.peer_certificates() {
        None | Some([]) => Certificate::None,
        Some(chain) => match pki.judge(chain, SystemTime::now()) {
            Ok(subject) => Certificate::Good(subject),
            Err(why) => Certificate::Refused(why),
        },
    };
    Ok((tls, Peer { address, certificate }))
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
