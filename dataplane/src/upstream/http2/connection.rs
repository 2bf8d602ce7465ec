//! One HTTP/2 connection to a backend, shared by streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use socket2::SockRef;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::upstream::ConnectError;
use crate::upstream::endpoints::Endpoint;
use crate::upstream::stream::{HEAD_BUDGET, OpenGuard};
use crate::upstream::wire::Wire;

/// Streams at once on one connection, should the backend allow as many.
pub(super) const MAX_STREAMS: usize = 100;
/// What a backend may send ahead on one stream, and on all streams of a connection: the memory that a slow client can
/// make us hold.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Request bytes that a connection buffers for the network.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a backend may leave sent bytes without an acknowledgement. New streams would go the way of the old ones
/// until it is noticed; an HTTP/1 connection ends with its exchange, so it needs no such bound.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// Rare: servers take more than one ping in five minutes for abuse and close (gRPC's default), and a peer that is gone
/// is noticed by TCP long before.
const PING_INTERVAL: Duration = Duration::from_secs(360);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Connection {
    send: SendRequest<Bytes>,
    endpoint: Arc<Endpoint>,
    active: AtomicUsize,
    /// Streams begun so far, to tell idle from used between two sweeps.
    begun: AtomicU32,
    begun_at_sweep: AtomicU32,
    idle_ticks: AtomicU32,
    closed: Arc<AtomicBool>,
}

/// One stream's place on a connection.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) connection: Arc<Connection>,
    pub(super) send: SendRequest<Bytes>,
    /// Whether the connection served a stream before this one.
    pub(super) reused: bool,
}

/// Told once a connection is known to speak HTTP/2 and to have said how many streams it takes; dropped if it never is.
pub(super) type Settled = oneshot::Receiver<()>;

/// Shakes hands and starts the task that moves the connection. Bounded by the caller's deadline.
pub(super) async fn establish(
    wire: Wire,
    endpoint: Arc<Endpoint>,
    open: OpenGuard,
) -> Result<(Arc<Connection>, Settled), ConnectError> {
    // A wish: a connection without it still works.
    let _ = SockRef::from(&wire).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(HEAD_BUDGET).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .initial_max_send_streams(MAX_STREAMS)
        .enable_push(false);
    let (send, connection) = builder.handshake(wire).await.map_err(|_| ConnectError::Protocol)?;
    let closed = Arc::new(AtomicBool::new(false));
    let (settled, told) = oneshot::channel();
    tokio::spawn(drive(connection, Arc::clone(&closed), settled, open));
    let connection = Arc::new(Connection {
        send,
        endpoint,
        active: AtomicUsize::new(0),
        begun: AtomicU32::new(0),
        begun_at_sweep: AtomicU32::new(0),
        idle_ticks: AtomicU32::new(0),
        closed,
    });
    Ok((connection, told))
}

impl Connection {
    /// A place for one more stream; none if the connection is full, closed or going away.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Slot> {
        if !self.is_usable() {
            return None;
        }
        let limit = MAX_STREAMS.min(self.send.current_max_send_streams());
        if self.active.load(Ordering::Relaxed) >= limit {
            return None;
        }
        let mut send = self.send.clone();
        // A fresh handle is never pending; an error says that the backend sent GOAWAY or left.
        if let Poll::Ready(Err(_)) = send.poll_ready(&mut Context::from_waker(Waker::noop())) {
            self.close();
            return None;
        }
        self.active.fetch_add(1, Ordering::Relaxed);
        let reused = self.begun.fetch_add(1, Ordering::Relaxed) > 0;
        Some(Slot { connection: Arc::clone(self), send, reused })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// No new streams; those that run go on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    /// A second has passed. Whether the connection stays.
    pub(super) fn sweep(&self, idle_ticks: u32) -> bool {
        if !self.is_usable() || self.endpoint.is_retired() {
            return false;
        }
        let begun = self.begun.load(Ordering::Relaxed);
        let idle = self.active.load(Ordering::Relaxed) == 0 && begun == self.begun_at_sweep.load(Ordering::Relaxed);
        self.begun_at_sweep.store(begun, Ordering::Relaxed);
        let ticks = if idle { self.idle_ticks.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        self.idle_ticks.store(ticks, Ordering::Relaxed);
        ticks <= idle_ticks
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connection.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Moves the connection until it ends or no longer answers pings. It ends by itself when the last handle is gone.
async fn drive(
    mut connection: client::Connection<Wire, Bytes>,
    closed: Arc<AtomicBool>,
    settled: oneshot::Sender<()>,
    _open: OpenGuard,
) {
    match connection.ping_pong() {
        Some(pings) => tokio::select! {
            _ = connection => {}
            () = until_silent(pings, settled) => {}
        },
        None => {
            let _ = connection.await;
        }
    }
    closed.store(true, Ordering::Relaxed);
}

/// Returns when a ping stays without an answer. The first one goes at once: SETTINGS are the first thing that a server
/// sends, so they have come when its answer has.
async fn until_silent(mut pings: PingPong, settled: oneshot::Sender<()>) {
    let mut settled = Some(settled);
    while let Ok(Ok(_)) = timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await {
        if let Some(settled) = settled.take() {
            // Nobody waits if the request that made the connection was cancelled.
            let _ = settled.send(());
        }
        sleep(PING_INTERVAL).await;
    }
}
