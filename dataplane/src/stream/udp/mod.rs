//! One UDP socket of a listener on one worker. The kernel gives all datagrams of a client to the same socket
//! (SO_REUSEPORT hashes both addresses), so that a session has one owner.
//!
//! ```text
//! socket ─► datagram ─► Table: session of the client ─► its own socket, connected to the endpoint ─► backend
//!    ◄───────────────────── session's task ◄──────────────────────────────────────┘
//! ```
//! Datagrams are never queued here: what a socket does not take at once is dropped and counted, as a network would.

mod live;
mod table;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use portcullis_ir::Transport;
use portcullis_router::{Bind, StreamRule};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::session::{Protocol, Session};
use crate::listen::DrainSignal;
use crate::observe::{Dropped, Outcome};
use crate::policy::{Newcomer, admit_session};
use crate::program::{Program, StreamState};
use crate::worker::Worker;
use live::{Live, Sent};
use table::{Flow, Silent, Stamp, Table};

/// No datagram is larger.
const MAX_DATAGRAM: usize = 64 * 1024;
/// Datagrams taken at once before others have their turn.
const BATCH: usize = 64;
/// While its listener goes away a session that is silent for this long has said what it had to say.
const DRAIN_SILENCE: Duration = Duration::from_secs(2);

thread_local! {
    /// One for all sockets of a worker: it is never held over an await.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_DATAGRAM].into_boxed_slice());
}

pub(crate) struct UdpAcceptor {
    pub(crate) bind: Bind,
    pub(crate) socket: UdpSocket,
    pub(crate) drain: DrainSignal,
    /// Dropped when the socket is closed; so the manager knows.
    pub(crate) listening: mpsc::Sender<Infallible>,
    /// Sessions of the listener, all its sockets together.
    pub(crate) sessions: Arc<AtomicUsize>,
    pub(crate) worker: Arc<Worker>,
}

impl UdpAcceptor {
    /// Runs until the bind is closed and its sessions have ended.
    pub(crate) async fn run(self) {
        let Self { bind, socket, mut drain, listening, sessions, worker } = self;
        let mut aborted = drain.clone();
        let limits = &worker.shared.settings.streams;
        let mut server = Server {
            bind,
            socket: Arc::new(socket),
            table: Table::new(sessions, limits.max_udp_sessions),
            worker: Arc::clone(&worker),
            draining: false,
        };
        let mut idle = limits.udp_idle_timeout;
        let mut sweep = tokio::time::interval((idle / 4).clamp(Duration::from_millis(10), Duration::from_secs(1)));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let socket = Arc::clone(&server.socket);
        // A socket that closed before the listener's others would move their clients: all stay until the last session.
        while !(server.draining && server.table.is_last()) {
            tokio::select! {
                readable = socket.readable() => match readable {
                    Ok(()) => server.receive(),
                    // The runtime ends.
                    Err(_) => break,
                },
                _ = sweep.tick(), if server.draining || !server.table.is_empty() => server.table.sweep(Instant::now(), idle),
                () = drain.changed(), if !server.draining => {
                    server.draining = true;
                    idle = idle.min(DRAIN_SILENCE);
                }
                () = aborted.aborted() => break,
            }
        }
        // Sessions first, then the socket that they answer by, then whoever waits for the port.
        server.table.clear();
        drop((server, socket));
        drop(listening);
    }
}

struct Server {
    bind: Bind,
    socket: Arc<UdpSocket>,
    table: Table,
    worker: Arc<Worker>,
    /// No new sessions.
    draining: bool,
}

impl Server {
    /// Takes what waits, up to a batch.
    fn receive(&mut self) {
        let now = Instant::now();
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..BATCH {
                match self.socket.try_recv_from(buffer) {
                    Ok((length, client)) => self.forward(&buffer[..length], client, now),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                    // What became of an answer that was sent; it is none of the next datagram's.
                    Err(_) => {}
                }
            }
        });
    }

    fn forward(&mut self, datagram: &[u8], client: SocketAddr, now: Instant) {
        let shared = Arc::clone(&self.worker.shared);
        let program = shared.program.load();
        let taken = match self.table.find(&client) {
            // An endpoint that is not there any more, or never was: this datagram begins anew.
            Some(Flow::Live(live)) => live.is_current(&program, self.bind) && live.send(datagram, now) == Sent::Done,
            Some(Flow::Silent(silent)) => {
                let current = silent.is_current(&program, now);
                if current {
                    silent.drop_one();
                }
                current
            }
            None => false,
        };
        if !taken {
            self.table.remove(&client);
            self.begin(&program, datagram, client, now);
        }
    }

    /// The first datagram of a client, as far as is remembered.
    fn begin(&mut self, program: &Program, datagram: &[u8], client: SocketAddr, now: Instant) {
        let listener = program.streams.listener(Transport::Udp, self.bind);
        let Some(rule) = listener.and_then(|listener| program.streams.find(&listener.key, None)) else {
            return self.worker.shared.metrics.streams.unmatched.dropped(Dropped::NoRoute);
        };
        if self.draining {
            return rule.payload.metrics.dropped(Dropped::Draining);
        }
        if let Some(limits) = listener.and_then(|listener| program.stream_limits(rule, &listener.key)) {
            let newcomer = Newcomer { client: client.ip(), server_name: "", protocol: "udp", now };
            if !admit_session(limits, newcomer) {
                return rule.payload.metrics.dropped(Dropped::Limited);
            }
        }
        let Some(place) = self.table.place() else { return rule.payload.metrics.dropped(Dropped::Full) };
        let mut session = Session::begin(Arc::clone(&self.worker), Protocol::Udp, client, None);
        session.belongs_to(rule);
        let flow = match self.open(program, rule, &mut session, client) {
            Ok((upstream, backend, endpoint)) => {
                session.decide(Outcome::Ok);
                let metrics = Arc::clone(&rule.payload.metrics);
                let opened = (upstream, backend, endpoint);
                let mut live = Live::begin(session, opened, metrics, Stamp::of(program), &self.socket, client, now);
                // A refusal here is the last datagram's of another socket: this one is new.
                let _ = live.send(datagram, now);
                Flow::Live(Box::new(live))
            }
            Err(outcome) => {
                session.decide(outcome);
                let silent = Silent::new(program, Arc::clone(&rule.payload.metrics), outcome.dropped(), now);
                silent.drop_one();
                Flow::Silent(silent)
            }
        };
        self.table.insert(client, flow, place);
    }

    fn open(
        &self,
        program: &Program,
        rule: &Arc<StreamRule<StreamState>>,
        session: &mut Session,
        client: SocketAddr,
    ) -> Result<live::Opened, Outcome> {
        let backend = rule.payload.pick(program, self.worker.id).ok_or(Outcome::Invalid)?;
        session.backend = Some(backend.backend.key.clone());
        let endpoint = self.worker.upstreams.pick(backend, None).ok_or(Outcome::NoEndpoints)?;
        session.endpoint = Some(endpoint.address());
        session.attempts = 1;
        let upstream = live::connected(endpoint.address()).map_err(|error| {
            tracing::debug!(%client, endpoint = %endpoint.address(), %error, "no UDP socket to the endpoint");
            Outcome::ConnectFailed
        })?;
        Ok((upstream, backend.backend.key.clone(), endpoint))
    }
}
