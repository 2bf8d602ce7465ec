//! HTTP/1 connections: one request after another, each under its bounds.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use pingora_core::protocols::http::v1::server::HttpSession;

use super::conn::Conn;
use super::downstream::{Between, Downstream, H1};
use super::io::Io;
use super::local::{self, Failure, Wishes};
use super::log::Log;
use super::request::{self, After, Given};
use super::timer::Timer;
use super::upgrade;
use crate::listen::{DRAIN_GRACE, DrainSignal, Stream};
use crate::observe::flags;

/// How long, and how much, we read from a client that is still sending when we close: cutting it off at once could
/// destroy the answer on its way (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 64 * 1024 * 1024;

pub(super) async fn run(stream: Stream, conn: &Conn) {
    let limits = conn.limits();
    let io = Io::new(stream);
    let mut timer = Timer::default();
    let mut drain = conn.drain.clone();
    // One wait for the connection's whole life, polled only between requests.
    let mut draining = pin!(drain.changed());
    let mut watching = false;
    let mut between: Between = (Box::new(io.clone()), None);
    let mut served = 0;
    let mut idle_until = Instant::now() + limits.header_deadline;
    loop {
        let (stream, ahead) = between;
        let first = match ahead {
            Some(bytes) => bytes,
            None => match first_bytes(&io, &mut timer, idle_until, &conn.drain, &mut watching, draining.as_mut()).await
            {
                Some(bytes) => bytes,
                None => return close(&io, false, &mut timer).await,
            },
        };
        let started = Instant::now();
        // The first head must be there a set time after the connection was opened, later ones after their first byte.
        let until = if served == 0 { idle_until } else { started + limits.header_deadline };
        let Some((session, size)) = read_head(stream, first, &io, conn, &mut timer, started, until).await else {
            return close(&io, true, &mut timer).await;
        };
        served += 1;
        let (request, head, target) = H1::new(session, io.clone());
        let mut down = Downstream::H1(request);
        if served >= limits.max_requests_per_connection || conn.drain.draining() {
            down.close_after();
        }
        let given = Given { head, target, too_large: size > limits.max_header_bytes, started };
        let after = request::serve(conn, &mut down, given, &mut timer).await;
        let Downstream::H1(request) = down else { return };
        let at = match after {
            After::Tunnel(tunnel) => {
                let early = request.into_upgraded();
                return upgrade::run(*tunnel, &io, early, conn).await;
            }
            // What the client has is not the whole answer: an end without ceremony says so.
            After::Broken => return,
            After::Ended { at } => at,
        };
        let unread = !request.is_read();
        match request.into_next() {
            Some(next) => between = next,
            None => return close(&io, unread, &mut timer).await,
        }
        idle_until = at + limits.idle_timeout;
    }
}

/// The first bytes of a request; none if the client left or kept silent too long, which is sooner once the listener
/// drains.
async fn first_bytes(
    io: &Io,
    timer: &mut Timer,
    until: Instant,
    drain: &DrainSignal,
    watching: &mut bool,
    mut draining: Pin<&mut (impl Future<Output = ()> + Send)>,
) -> Option<BytesMut> {
    let mut until = until;
    let mut drained = false;
    poll_fn(|cx| {
        if let Poll::Ready(first) = io.poll_first(cx) {
            return Poll::Ready(first.ok().flatten());
        }
        // Polled once for good: it wakes this task, whose waker stays the same.
        let asked = std::mem::replace(watching, true);
        if !drained && (!asked || drain.draining()) && draining.as_mut().poll(cx).is_ready() {
            drained = true;
            until = until.min(Instant::now() + DRAIN_GRACE);
        }
        timer.poll(cx, Some(until)).map(|()| None)
    })
    .await
}

/// Reads and parses a head. What the parser refuses is answered, counted and logged like any other request.
async fn read_head(
    stream: pingora_core::protocols::Stream,
    first: BytesMut,
    io: &Io,
    conn: &Conn,
    timer: &mut Timer,
    started: Instant,
    until: Instant,
) -> Option<(Box<HttpSession>, usize)> {
    let limits = conn.limits();
    let mut session = Box::new(HttpSession::new(stream));
    session.set_read_timeout(None);
    session.set_pipelining_enabled(true);
    io.begin_head(limits.max_header_bytes.saturating_sub(first.len()));
    session.set_pipelined_prefix(first);
    let read = {
        let mut reading = pin!(session.read_request());
        poll_fn(|cx: &mut Context<'_>| match reading.as_mut().poll(cx) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => timer.poll(cx, Some(until)).map(|()| None),
        })
        .await
    };
    let too_large = io.end_head();
    let failure = match read {
        Some(Ok(Some(size))) => return Some((session, size)),
        _ if too_large => Failure::HEAD_TOO_LARGE,
        None => Failure::HEAD_TIMEOUT,
        Some(Ok(None)) => return None,
        Some(Err(error)) => match error.etype() {
            pingora_core::ErrorType::ConnectionClosed | pingora_core::ErrorType::ReadError => {
                return gone(conn, started);
            }
            // The parser's own bound on headers has no error kind of its own.
            _ if error.to_string().contains("too many headers") => Failure::HEAD_TOO_LARGE,
            _ => Failure::BAD_REQUEST,
        },
    };
    refuse(&mut Downstream::H1(H1::unread(session, io.clone())), failure, conn, started).await;
    None
}

/// A client that left in the middle of its head.
fn gone<T>(conn: &Conn, started: Instant) -> Option<T> {
    let mut log = Log::new(started, "HTTP/1.1");
    log.flags |= flags::DOWNSTREAM_GONE;
    log.finish(conn);
    None
}

async fn refuse(down: &mut Downstream, failure: Failure, conn: &Conn, started: Instant) {
    let mut log = Log::new(started, "HTTP/1.1");
    log.flags |= failure.flags;
    let sent = poll_fn(|cx| Poll::Ready(local::answer(down, cx, &failure, &Wishes::default(), None))).await;
    if let Ok((status, length)) = sent {
        log.status = status.as_u16();
        log.bytes_out = length;
    }
    log.finish(conn);
}

/// Sends what is left and closes; `unread` if the client may still be sending.
async fn close(io: &Io, unread: bool, timer: &mut Timer) {
    let until = Instant::now() + LINGER;
    let mut allowance = LINGER_BYTES;
    poll_fn(|cx| {
        if timer.poll(cx, Some(until)).is_ready() {
            return Poll::Ready(());
        }
        match io.poll_shutdown(cx) {
            Poll::Ready(Ok(())) if unread => {}
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
        loop {
            match io.poll_discard(cx) {
                Poll::Ready(Ok(read)) if read > 0 && allowance > read => allowance -= read,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}
