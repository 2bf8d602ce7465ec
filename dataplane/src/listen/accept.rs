//! One listening socket on one worker: takes connections, finds out what they speak, and hands them to the proxy loop
//! or, where bytes are handed on as they come, to `crate::stream`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use portcullis_ir as ir;
use portcullis_ir::Host;
use portcullis_router::Bind;
use rustls::server::Accepted;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::StartHandshake;

use super::client_auth;
use super::hello::{Alert, read_hello, refuse};
use super::proxy_protocol::read_header;
use super::{DRAIN_GRACE, DrainSignal, Facts, Place, Spoken, Stream};
use crate::conn::{ConnInfo, TlsInfo};
use crate::observe::{Handshake, RefusedConnection};
use crate::program::Program;
use crate::shared::Shared;
use crate::stream::Protocol;
use crate::worker::Worker;

/// How long to leave the socket alone when the process has no file descriptors left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

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

/// A connection of which all is known that has to be known before it is served.
struct Opened {
    stream: Stream,
    info: ConnInfo,
    next: Next,
}

enum Next {
    Http,
    /// Its bytes are handed on as they come.
    Stream(Protocol, Arc<ir::Listener>),
}

enum Refused {
    Connection(RefusedConnection),
    Handshake(Handshake),
    /// No rule has it: told apart, for it was never a handshake of ours.
    NoRoute(Protocol, Box<ConnInfo>),
    /// Not worth counting: the client left, or its socket broke.
    Gone,
}

impl Connection {
    async fn run(self, tcp: TcpStream, mut drain: DrainSignal) {
        let shared = &self.worker.shared;
        let deadline = Instant::now() + shared.settings.limits.header_deadline;
        // A box of its own, which ends with it: a connection does not carry the state of its handshake as long as it lives.
        let mut opening = Box::pin(tokio::time::timeout_at(deadline, self.open(tcp)));
        let opened = tokio::select! {
            opened = &mut opening => opened,
            () = drain.changed() => match tokio::time::timeout(DRAIN_GRACE, &mut opening).await {
                Ok(opened) => opened,
                Err(_) => return,
            },
        };
        drop(opening);
        match opened {
            Ok(Ok(Opened { stream, info, next })) => {
                let worker = Arc::clone(&self.worker);
                match next {
                    Next::Http => {
                        // The first head must be complete by the deadline that the handshake began with.
                        stream.control().set_read_deadline(Some(deadline));
                        crate::http::serve(stream, Arc::new(info), worker, drain).await;
                    }
                    Next::Stream(protocol, listener) => {
                        // Boxed apart: a connection carries only the state of what is done with it.
                        Box::pin(crate::stream::serve(stream, info, protocol, &listener, worker, drain)).await;
                    }
                }
            }
            Ok(Err(Refused::Connection(why))) => shared.metrics.refused_connection(why),
            Ok(Err(Refused::Handshake(outcome))) => shared.metrics.handshake(outcome),
            Ok(Err(Refused::NoRoute(protocol, info))) => {
                crate::stream::no_route(*info, protocol, &self.worker);
            }
            Ok(Err(Refused::Gone)) => {}
            Err(_) => {
                let program = shared.program.load();
                let tls = program.binds.get(&Place::tcp(self.bind)).is_some_and(|facts| facts.spoken.is_tls());
                if tls {
                    shared.metrics.handshake(Handshake::Timeout);
                } else {
                    shared.metrics.refused_connection(RefusedConnection::Timeout);
                }
            }
        }
    }

    /// Everything before the first byte that is not ours to read. The caller bounds the time.
    async fn open(&self, mut tcp: TcpStream) -> Result<Opened, Refused> {
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
        match facts.spoken {
            Spoken::Tls { https } => self.open_tls(tcp, ahead, info, https).await,
            Spoken::Tcp | Spoken::Udp => {
                let program = self.worker.shared.program.load();
                let listener = program.streams.listener(ir::Transport::Tcp, self.bind);
                let listener = listener.ok_or(Refused::Connection(RefusedConnection::NoListener))?;
                let next = Next::Stream(Protocol::Tcp, Arc::clone(listener));
                Ok(Opened { stream: Stream::plain(tcp, ahead, &info), info, next })
            }
            Spoken::Http => {
                let mut stream = Stream::plain(tcp, ahead, &info);
                if !stream.detect_preface().await.map_err(gone)? {
                    return Err(Refused::Gone);
                }
                Ok(Opened { stream, info, next: Next::Http })
            }
        }
    }

    fn facts(&self) -> Result<Facts, Refused> {
        let program = self.worker.shared.program.load();
        program.binds.get(&Place::tcp(self.bind)).cloned().ok_or(Refused::Connection(RefusedConnection::NoListener))
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

    /// Finds the listener by the server name. `https`: the port has a listener of that kind.
    async fn open_tls(
        &self,
        mut tcp: TcpStream,
        ahead: Vec<u8>,
        mut info: ConnInfo,
        https: bool,
    ) -> Result<Opened, Refused> {
        let (hello, read) = read_hello(&mut tcp, ahead).await.map_err(|error| {
            tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
            Refused::Handshake(Handshake::Failed)
        })?;
        let mut scratch = String::new();
        let client_hello = hello.client_hello();
        let sni = client_hello.server_name().and_then(|name| Host::normalise(name, &mut scratch).ok());
        let sni = sni.map(str::to_owned);
        // The program of this moment: a rotated certificate is served to the next handshake.
        let program = self.worker.shared.program.load_full();
        let Some(listener) = program.router.listener_for_sni(self.bind, sni.as_deref()).cloned() else {
            if https {
                refuse(&mut tcp, Alert::UnrecognizedName).await;
            } else {
                // Whoever would have answered is not us: an alert in its name would be a lie.
                reset_on_close(&tcp);
            }
            return Err(Refused::Handshake(Handshake::UnknownName));
        };
        let protocol = match &listener.protocol {
            ir::ListenerProtocol::TlsPassthrough => Some(Protocol::TlsPassthrough),
            ir::ListenerProtocol::TlsTerminate(_) => Some(Protocol::TlsTerminate),
            // The router calls only these listeners of TLS.
            ir::ListenerProtocol::Https(_)
            | ir::ListenerProtocol::Http
            | ir::ListenerProtocol::Tcp
            | ir::ListenerProtocol::Udp => None,
        };
        if let Some(protocol) = protocol
            && program.streams.find(&listener.key, sni.as_deref()).is_none()
        {
            reset_on_close(&tcp);
            info.tls = Some(TlsInfo { sni, version: "", http2: false, listener: Arc::clone(&listener), client: None });
            return Err(Refused::NoRoute(protocol, Box::new(info)));
        }
        let stream = if protocol == Some(Protocol::TlsPassthrough) {
            info.tls = Some(TlsInfo { sni, version: "", http2: false, listener: Arc::clone(&listener), client: None });
            Stream::plain(tcp, read, &info)
        } else {
            self.handshake(tcp, hello, &program, &listener, sni, &mut info).await?
        };
        let next = protocol.map_or(Next::Http, |protocol| Next::Stream(protocol, listener));
        Ok(Opened { stream, info, next })
    }

    async fn handshake(
        &self,
        mut tcp: TcpStream,
        hello: Accepted,
        program: &Program,
        listener: &Arc<ir::Listener>,
        sni: Option<String>,
        info: &mut ConnInfo,
    ) -> Result<Stream, Refused> {
        let shared = &self.worker.shared;
        let Ok(config) = program.tls.config(&listener.key) else {
            refuse(&mut tcp, Alert::InternalError).await;
            return Err(Refused::Handshake(Handshake::NoCertificate));
        };
        let config = Arc::clone(config);
        let clients = program.tls.clients(&listener.key).cloned();
        let tls = StartHandshake::from_parts(hello, tcp).into_stream(config).await.map_err(|error| {
            tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
            Refused::Handshake(client_auth::outcome(&error))
        })?;
        let session = tls.get_ref().1;
        let client = clients.map(|clients| clients.judge(session)).transpose();
        let client = client.map_err(|_| Refused::Handshake(Handshake::ClientCertificate))?;
        shared.metrics.handshake(Handshake::Finished);
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let http2 = session.alpn_protocol() == Some(b"h2");
        info.tls = Some(TlsInfo { sni, version, http2, listener: Arc::clone(listener), client });
        Ok(Stream::tls(tls, info))
    }
}

/// Closing ends the connection with a reset from here on.
fn reset_on_close(tcp: &TcpStream) {
    // Fails only on a socket that is gone already.
    let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::size_of_future;

    /// A connection holds all of it as long as it lives.
    #[test]
    fn a_connection_does_not_carry_the_state_of_its_opening() {
        let opening = size_of_future(|(connection, tcp): (&'static Connection, _)| connection.open(tcp));
        let held = size_of_future(|(connection, tcp, drain): (Connection, _, _)| connection.run(tcp, drain));
        assert!(held <= 2048 && held < opening, "{held}, and {opening} for its opening");
    }
}
