//! A client's session with an endpoint: a socket of its own, and a task that takes the answers back.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use portcullis_ir as ir;
use portcullis_ir::Transport;
use portcullis_router::Bind;
use socket2::{SockAddr, SockRef};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use super::table::Stamp;
use super::{BATCH, BUFFER};
use crate::observe::{Dropped, StreamMetrics};
use crate::program::Program;
use crate::stream::session::{End, Session};
use crate::upstream::EndpointRef;

/// The socket, whose it is, and where it leads.
pub(super) type Opened = (UdpSocket, ir::BackendKey, EndpointRef);

pub(super) struct Live {
    session: Session,
    backend: ir::BackendKey,
    endpoint: EndpointRef,
    talk: Arc<Talk>,
    answers: AbortHandle,
    /// The configuration under which the session is known to be in order.
    seen: Stamp,
    bytes_in: u64,
}

/// What the session shares with the task of its answers; both run on one worker.
struct Talk {
    upstream: UdpSocket,
    client: SockAddr,
    metrics: Arc<StreamMetrics>,
    begun: Instant,
    /// When the last datagram passed, in milliseconds since it began.
    last: AtomicU64,
    bytes_out: AtomicU64,
    answered: AtomicBool,
    /// The endpoint is not there.
    refused: AtomicBool,
}

/// What became of a client's datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way, or the network would not have it.
    Done,
    /// The endpoint says that nobody is there; the datagram was not sent.
    Refused,
}

/// A socket to an endpoint.
pub(super) fn connected(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let any = match endpoint {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(endpoint)?;
    UdpSocket::from_std(socket)
}

impl Live {
    pub(super) fn begin(
        mut session: Session,
        (upstream, backend, endpoint): Opened,
        metrics: Arc<StreamMetrics>,
        seen: Stamp,
        listener: &Arc<UdpSocket>,
        client: SocketAddr,
        now: Instant,
    ) -> Self {
        let talk = Arc::new(Talk {
            upstream,
            client: client.into(),
            metrics,
            begun: now,
            last: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        });
        session.end = End::Complete;
        let answers = tokio::spawn(answer(Arc::clone(&talk), Arc::downgrade(listener))).abort_handle();
        Self { session, backend, endpoint, talk, answers, seen, bytes_in: 0 }
    }

    /// Whether the session may go on: its endpoint is there, and the rule of its listener still names its backend.
    /// Looked into once per configuration.
    pub(super) fn is_current(&mut self, program: &Program, bind: Bind) -> bool {
        if self.endpoint.is_retired() || self.talk.refused.load(Ordering::Relaxed) {
            return false;
        }
        let now = Stamp::of(program);
        if self.seen == now {
            return true;
        }
        // Without a listener the port is about to close, and its drain ends the session.
        let Some(listener) = program.streams.listener(Transport::Udp, bind) else { return true };
        let same = program.streams.find(&listener.key, None).is_some_and(|rule| {
            self.session.rule().is_some_and(|own| own.route.key == rule.route.key)
                && rule.payload.names(program, &self.backend)
        });
        if same {
            self.seen = now;
        }
        same
    }

    pub(super) fn send(&mut self, datagram: &[u8], now: Instant) -> Sent {
        self.talk.touch(now);
        // Not by tokio's notion of readiness, which a new socket has to wait for: there is nothing to wait for here.
        match SockRef::from(&self.talk.upstream).send(datagram) {
            Ok(length) => {
                self.bytes_in += length as u64;
                self.talk.metrics.numbers().datagrams_in.increment();
                self.session.carried(self.bytes_in, self.talk.bytes_out.load(Ordering::Relaxed));
                if self.talk.answered.load(Ordering::Relaxed) {
                    self.endpoint.connected();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.talk.refused.store(true, Ordering::Relaxed);
                return Sent::Refused;
            }
            Err(_) => self.talk.metrics.dropped(Dropped::SendFailed),
        }
        Sent::Done
    }

    pub(super) fn is_over(&mut self, now: Instant, idle: Duration) -> bool {
        self.session.carried(self.bytes_in, self.talk.bytes_out.load(Ordering::Relaxed));
        let last = self.talk.begun + Duration::from_millis(self.talk.last.load(Ordering::Relaxed));
        self.talk.refused.load(Ordering::Relaxed)
            || self.endpoint.is_retired()
            || now.saturating_duration_since(last) >= idle
    }

    /// Ends the session before its time.
    pub(super) fn cut(mut self) {
        self.session.end = End::Drained;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.answers.abort();
        self.session.carried(self.bytes_in, self.talk.bytes_out.load(Ordering::Relaxed));
        if self.talk.refused.load(Ordering::Relaxed) {
            self.session.end = End::Reset;
            self.endpoint.connect_failed();
        }
    }
}

impl Talk {
    fn touch(&self, now: Instant) {
        let since = now.saturating_duration_since(self.begun).as_millis();
        self.last.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Hands one datagram back to the client.
    fn hand_back(&self, listener: &UdpSocket, datagram: &[u8]) {
        match SockRef::from(listener).send_to(datagram, &self.client) {
            Ok(length) => {
                self.bytes_out.fetch_add(length as u64, Ordering::Relaxed);
                self.metrics.numbers().datagrams_out.increment();
            }
            Err(_) => self.metrics.dropped(Dropped::SendFailed),
        }
    }
}

/// Does not keep the listener's socket open: the port is free as soon as its acceptor says so.
async fn answer(talk: Arc<Talk>, listener: Weak<UdpSocket>) {
    while talk.upstream.readable().await.is_ok() {
        let Some(listener) = listener.upgrade() else { return };
        let now = Instant::now();
        let refused = BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..BATCH {
                match talk.upstream.try_recv(buffer) {
                    Ok(length) => {
                        talk.touch(now);
                        talk.answered.store(true, Ordering::Relaxed);
                        talk.hand_back(&listener, &buffer[..length]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return true,
                    // Another piece of news about a datagram that was sent; the next one may fare better.
                    Err(_) => {}
                }
            }
            false
        });
        if refused {
            talk.refused.store(true, Ordering::Relaxed);
            return;
        }
    }
}
