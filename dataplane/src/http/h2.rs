//! HTTP/2 connections: a task per stream, and bounds on what the connection as a whole may cost.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::task::AtomicWaker;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request};

use super::conn::Conn;
use super::downstream::{Downstream, H2, RawTarget};
use super::request::{self, Given};
use super::timer::Timer;
use crate::listen::Stream;
use crate::settings::HttpLimits;

/// Bytes of a body that a client may send ahead of the backend, per stream.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Streams that a client may reset before we have even begun with them ("rapid reset").
const PENDING_RESETS: usize = 20;
/// Streams that may fail by the client's fault before the connection is closed.
const MALFORMED_STREAMS: u32 = 32;
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// After GOAWAY and the last stream, how long a client may take to close.
const LAST_WORDS: Duration = Duration::from_secs(5);

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

pub(super) async fn run(stream: Stream, conn: Arc<Conn>) {
    let limits = conn.limits();
    let mut timer = Timer::default();
    let until = Instant::now() + limits.header_deadline;
    let handshake = {
        let mut handshake = pin!(builder(limits).handshake(stream));
        poll_fn(|cx| match handshake.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done.ok()),
            Poll::Pending => timer.poll(cx, Some(until)).map(|()| None),
        })
        .await
    };
    if let Some(connection) = handshake {
        accept_streams(connection, &conn, &mut timer).await;
    }
}

/// What the tasks of a connection's streams tell it.
#[derive(Default)]
struct Streams {
    open: AtomicU32,
    malformed: AtomicU32,
    changed: AtomicWaker,
}

async fn accept_streams(mut connection: Connection<Stream, Bytes>, conn: &Arc<Conn>, timer: &mut Timer) {
    let streams = Arc::new(Streams::default());
    let idle = conn.limits().idle_timeout;
    let mut drain = conn.drain.clone();
    let mut draining = pin!(drain.changed());
    let mut leaving = false;
    let mut idle_until = Some(Instant::now() + idle);
    loop {
        let event = poll_fn(|cx| {
            streams.changed.register(cx.waker());
            if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                return Poll::Ready(Event::Accepted(accepted));
            }
            if streams.malformed.load(Ordering::Relaxed) >= MALFORMED_STREAMS {
                return Poll::Ready(Event::Abuse);
            }
            if !leaving && draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Drain);
            }
            let open = streams.open.load(Ordering::Relaxed) > 0;
            match (open, idle_until) {
                (true, _) => idle_until = None,
                (false, None) => idle_until = Some(Instant::now() + if leaving { LAST_WORDS } else { idle }),
                (false, Some(_)) => {}
            }
            timer.poll(cx, idle_until).map(|()| Event::Idle)
        })
        .await;
        match event {
            Event::Accepted(Some(Ok(accepted))) => spawn(accepted, conn, &streams),
            // A broken connection, or its orderly end.
            Event::Accepted(_) => return,
            Event::Abuse => {
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                streams.malformed.store(0, Ordering::Relaxed);
                let until = Instant::now() + LAST_WORDS;
                poll_fn(|cx| match connection.poll_closed(cx) {
                    Poll::Ready(_) => Poll::Ready(()),
                    Poll::Pending => timer.poll(cx, Some(until)),
                })
                .await;
                return;
            }
            Event::Drain => {
                leaving = true;
                idle_until = None;
                connection.graceful_shutdown();
            }
            Event::Idle if leaving => return,
            Event::Idle => {
                leaving = true;
                idle_until = None;
                connection.graceful_shutdown();
            }
        }
    }
}

/// One at a time, taken apart at once.
#[allow(clippy::large_enum_variant)]
enum Event {
    Accepted(Option<Result<Accepted, h2::Error>>),
    /// Too many malformed streams.
    Abuse,
    Drain,
    Idle,
}

fn spawn((request, respond): Accepted, conn: &Arc<Conn>, streams: &Arc<Streams>) {
    let guard = OpenStream::new(streams);
    let conn = Arc::clone(conn);
    let (head, body) = request.into_parts();
    let started = Instant::now();
    tokio::spawn(async move {
        let target = if head.uri.path_and_query().is_some() { RawTarget::Origin } else { RawTarget::Other };
        let mut down = Downstream::H2(H2::new(body, respond, head.method == Method::HEAD));
        let given = Given { head: Box::new(head), target, too_large: false, started };
        let mut timer = Timer::default();
        request::serve(&conn, &mut down, given, &mut timer).await;
        if down.was_malformed() {
            guard.0.malformed.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// Counts a stream as open while its task lives.
struct OpenStream(Arc<Streams>);

impl OpenStream {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(streams))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.wake();
    }
}

fn builder(limits: &HttpLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.max_h2_streams)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(MALFORMED_STREAMS as usize))
        .max_send_buffer_size(MAX_SEND_BUFFER);
    builder
}
