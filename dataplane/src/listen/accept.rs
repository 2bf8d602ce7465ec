//! One listening socket on one worker: takes connections, finds out what they speak, and hands them to the proxy loop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use portcullis_ir::Host;
use portcullis_router::Bind;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::StartHandshake;

use super::hello::{Alert, read_hello, refuse};
use super::proxy_protocol::read_header;
use super::{DrainSignal, Facts, Stream};
use crate::conn::{ConnInfo, TlsInfo};
use crate::observe::{Handshake, RefusedConnection};
use crate::shared::Shared;
use crate::worker::Worker;

/// How long to leave the socket alone when the process has no file descriptors left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection that drain finds before its first request may still take to begin one.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

pub(crate) struct Acceptor {
    pub(crate) bind: Bind,
    pub(crate) listener: TcpListener,
    pub(crate) drain: DrainSignal,
    /// Dropped when the socket is closed; so the manager knows.
    pub(crate) listening: mpsc::Sender<Infallible>,
    pub(crate) worker: Arc<Worker>,
}

impl Acceptor {
    /// Runs until the bind is closed and its connections have ended.
    pub(crate) async fn run(mut self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((tcp, peer)) => self.admit(&mut connections, tcp, peer),
                    // The client left between the handshake and us, or there is no descriptor to be had: neither is a
                    // reason to stop accepting.
                    Err(error) if is_exhausted(&error) => {
                        tracing::warn!(%error, "cannot accept connections; raise the limit of open files");
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                    Err(_) => {}
                },
                Some(_) = connections.join_next() => {}
                () = self.drain.changed() => break,
            }
        }
        // The kernel has completed these connections already; closing the socket would reset them.
        while let Some(Ok((tcp, peer))) = self.listener.accept().now_or_never() {
            self.admit(&mut connections, tcp, peer);
        }
        let Self { listener, listening, mut drain, worker, bind: _ } = self;
        drop((listener, listening));
        loop {
            tokio::select! {
                finished = connections.join_next() => if finished.is_none() { return },
                () = drain.aborted() => break,
            }
        }
        worker.shared.metrics.connections_aborted.add(connections.len() as u64);
        connections.shutdown().await;
    }

    fn admit(&self, connections: &mut JoinSet<()>, tcp: TcpStream, peer: SocketAddr) {
        let Some(slot) = Slot::take(&self.worker.shared) else {
            self.worker.shared.metrics.refused_connection(RefusedConnection::Limit);
            return;
        };
        let connection = Connection { bind: self.bind, peer, worker: Arc::clone(&self.worker) };
        let drain = self.drain.clone();
        connections.spawn(async move {
            connection.run(tcp, drain).await;
            drop(slot);
        });
    }
}

/// One of the connections that `HttpLimits::max_connections` allows.
struct Slot(Arc<Shared>);

impl Slot {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let before = shared.connections.fetch_add(1, Ordering::Relaxed);
        if before >= shared.settings.limits.max_connections {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        shared.metrics.connections.increment();
        shared.metrics.connections_open.add(1);
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.connections_open.add(-1);
    }
}

struct Connection {
    bind: Bind,
    peer: SocketAddr,
    worker: Arc<Worker>,
}

enum Refused {
    Connection(RefusedConnection),
    Handshake(Handshake),
    /// Not worth counting: the client left, or its socket broke.
    Gone,
}

impl Connection {
    async fn run(self, tcp: TcpStream, mut drain: DrainSignal) {
        let shared = &self.worker.shared;
        let deadline = Instant::now() + shared.settings.limits.header_deadline;
        let opening = tokio::time::timeout_at(deadline, self.open(tcp));
        tokio::pin!(opening);
        let opened = tokio::select! {
            opened = &mut opening => opened,
            () = drain.changed() => match tokio::time::timeout(DRAIN_GRACE, opening).await {
                Ok(opened) => opened,
                Err(_) => return,
            },
        };
        match opened {
            Ok(Ok((stream, info))) => {
                // The first head must be complete by the deadline that the handshake began with.
                stream.control().set_read_deadline(Some(deadline));
                let worker = Arc::clone(&self.worker);
                crate::http::serve(stream, Arc::new(info), worker, drain).await;
            }
            Ok(Err(Refused::Connection(why))) => shared.metrics.refused_connection(why),
            Ok(Err(Refused::Handshake(outcome))) => shared.metrics.handshake(outcome),
            Ok(Err(Refused::Gone)) => {}
            Err(_) => {
                let tls = shared.program.load().binds.get(&self.bind).is_some_and(|facts| facts.tls);
                if tls {
                    shared.metrics.handshake(Handshake::Timeout);
                } else {
                    shared.metrics.refused_connection(RefusedConnection::Timeout);
                }
            }
        }
    }

    /// Everything before the first HTTP byte. The caller bounds the time.
    async fn open(&self, mut tcp: TcpStream) -> Result<(Stream, ConnInfo), Refused> {
        let gone = |_: io::Error| Refused::Gone;
        tcp.set_nodelay(true).map_err(gone)?;
        let facts = self.facts()?;
        let mut info =
            ConnInfo { bind: self.bind, client: self.peer, local: tcp.local_addr().map_err(gone)?, tls: None };
        let mut ahead = Vec::new();
        if facts.proxy_protocol {
            let source;
            (source, ahead) = self.proxy_source(&mut tcp).await?;
            info.client = source.unwrap_or(self.peer);
        }
        let stream = if facts.tls {
            self.handshake(tcp, ahead, &mut info).await?
        } else {
            let mut stream = Stream::plain(tcp, ahead, &info);
            if !stream.detect_preface().await.map_err(gone)? {
                return Err(Refused::Gone);
            }
            stream
        };
        Ok((stream, info))
    }

    fn facts(&self) -> Result<Facts, Refused> {
        let program = self.worker.shared.program.load();
        program.binds.get(&self.bind).cloned().ok_or(Refused::Connection(RefusedConnection::NoListener))
    }

    /// The client behind a trusted load balancer, and what was read beyond the header.
    async fn proxy_source(&self, tcp: &mut TcpStream) -> Result<(Option<SocketAddr>, Vec<u8>), Refused> {
        let peer = self.peer.ip().to_canonical();
        if !self.worker.shared.settings.trusted_proxies.iter().any(|net| net.contains(&peer)) {
            tracing::debug!(%peer, "PROXY header from a peer that is not trusted; add it to the trusted proxies");
            return Err(Refused::Connection(RefusedConnection::ProxyProtocol));
        }
        match read_header(tcp).await {
            Ok((header, rest)) => Ok((header.source, rest)),
            Err(error) => {
                tracing::debug!(%peer, %error, "connection refused");
                Err(Refused::Connection(RefusedConnection::ProxyProtocol))
            }
        }
    }

    async fn handshake(&self, mut tcp: TcpStream, ahead: Vec<u8>, info: &mut ConnInfo) -> Result<Stream, Refused> {
        let shared = &self.worker.shared;
        let hello = read_hello(&mut tcp, ahead).await.map_err(|error| {
            tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
            Refused::Handshake(Handshake::Failed)
        })?;
        let mut scratch = String::new();
        let client_hello = hello.client_hello();
        let sni = client_hello.server_name().and_then(|name| Host::normalise(name, &mut scratch).ok());
        let sni = sni.map(str::to_owned);
        // The program of this moment: a rotated certificate is served to the next handshake.
        let program = shared.program.load_full();
        let Some(listener) = program.router.listener_for_sni(self.bind, sni.as_deref()) else {
            refuse(&mut tcp, Alert::UnrecognizedName).await;
            return Err(Refused::Handshake(Handshake::UnknownName));
        };
        let Ok(config) = program.tls.config(&listener.key) else {
            refuse(&mut tcp, Alert::InternalError).await;
            return Err(Refused::Handshake(Handshake::NoCertificate));
        };
        let config = Arc::clone(config);
        drop(program);
        let tls = StartHandshake::from_parts(hello, tcp).into_stream(config).await.map_err(|error| {
            tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
            Refused::Handshake(Handshake::Failed)
        })?;
        shared.metrics.handshake(Handshake::Finished);
        let session = tls.get_ref().1;
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        info.tls = Some(TlsInfo { sni, version, http2: session.alpn_protocol() == Some(b"h2") });
        Ok(Stream::tls(tls, info))
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
