//! One connection, from the byte that is not ours to read to its end.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use portcullis_ir as ir;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::time::Instant;

use super::pick;
use super::session::{End, Protocol, Session};
use crate::conn::ConnInfo;
use crate::listen::{DeadlineTimer, DrainSignal, Life, Stream};
use crate::observe::Outcome;
use crate::policy::{Newcomer, admit_connection};
use crate::upstream::{Carry, Raw};
use crate::worker::Worker;

/// Bytes on their way in one direction.
const BUFFER: usize = 16 * 1024;

/// Hands an accepted connection of a listener on to a backend, until both sides have ended.
pub(crate) async fn serve(
    stream: Stream,
    info: ConnInfo,
    protocol: Protocol,
    listener: &ir::Listener,
    worker: Arc<Worker>,
    drain: DrainSignal,
) {
    let mut client = Ending::new(stream);
    let sni = info.tls.and_then(|tls| tls.sni);
    let mut session = Session::begin(Arc::clone(&worker), protocol, info.client, sni.clone());
    // Rule and backend are those of one program, which is not held on to: the connection may last for days.
    let program = worker.shared.program.load_full();
    let Some(rule) = program.streams.find(&listener.key, sni.as_deref()) else {
        session.decide(Outcome::NoRoute);
        return;
    };
    session.belongs_to(rule);
    if let Some(limits) = program.stream_limits(rule, &listener.key) {
        let name = sni.as_deref().unwrap_or_default();
        let spoken = if protocol == Protocol::Tcp { "tcp" } else { "tls" };
        let (client, now) = (info.client.ip(), std::time::Instant::now());
        let newcomer = Newcomer { client, server_name: name, protocol: spoken, now };
        if !Box::pin(admit_connection(limits, newcomer)).await {
            session.decide(Outcome::Limited);
            return;
        }
    }
    let Some(backend) = rule.payload.pick(&program, worker.id).cloned() else {
        session.decide(Outcome::Invalid);
        return;
    };
    let life = program.lives.get(&listener.key).cloned();
    drop(program);
    session.backend = Some(backend.backend.key.clone());
    let carry = if protocol == Protocol::TlsPassthrough { Carry::Tls } else { Carry::Bytes };
    let (_endpoint, upstream) = match pick::connect(&worker, &backend, carry, &mut session).await {
        Ok(connected) => connected,
        Err(outcome) => {
            session.decide(outcome);
            return;
        }
    };
    drop(backend);
    session.decide(Outcome::Ok);
    let settings = &worker.shared.settings;
    let gone = gone(life, drain, settings.drain_deadline);
    let mut upstream = Ending::new(upstream);
    session.end = copy(&mut client, &mut upstream, &mut session, settings.streams.idle_timeout, gone).await;
    if session.end == End::Drained {
        worker.shared.metrics.connections_aborted.increment();
    }
}

/// Counts and logs a connection that no rule has. It has been reset.
pub(crate) fn no_route(info: ConnInfo, protocol: Protocol, worker: &Arc<Worker>) {
    let sni = info.tls.and_then(|tls| tls.sni);
    Session::begin(Arc::clone(worker), protocol, info.client, sni).decide(Outcome::NoRoute);
}

/// An end that is reset when it is dropped, unless it has come to its orderly end: nobody may take a connection that was
/// cut, refused or broken off for one whose other side had nothing more to say.
struct Ending<T: Resettable> {
    io: T,
    complete: bool,
}

trait Resettable {
    fn reset_on_close(&self);
}

impl<T: Resettable> Ending<T> {
    fn new(io: T) -> Self {
        Self { io, complete: false }
    }
}

impl<T: Resettable> Drop for Ending<T> {
    fn drop(&mut self) {
        if !self.complete {
            self.io.reset_on_close();
        }
    }
}

impl Resettable for Stream {
    fn reset_on_close(&self) {
        self.reset_on_close();
    }
}

impl Resettable for Raw {
    fn reset_on_close(&self) {
        self.reset_on_close();
    }
}

/// Copies both ways, each until its side ends, which the other side is told (half-close).
async fn copy(
    client: &mut Ending<Stream>,
    upstream: &mut Ending<Raw>,
    session: &mut Session,
    idle: Duration,
    gone: impl Future<Output = ()>,
) -> End {
    let control = client.io.control();
    let mut gone = pin!(gone);
    let mut timer = DeadlineTimer::default();
    let mut idle_until = Instant::now() + idle;
    let end = {
        let mut copying = pin!(copy_bidirectional_with_sizes(&mut client.io, &mut upstream.io, BUFFER, BUFFER));
        poll_fn(|cx| {
            let copied = copying.as_mut().poll(cx);
            if session.carried(control.bytes_in(), control.bytes_out()) {
                idle_until = Instant::now() + idle;
            }
            match copied {
                Poll::Ready(Ok(_)) => return Poll::Ready(End::Complete),
                Poll::Ready(Err(_)) => return Poll::Ready(End::Reset),
                Poll::Pending => {}
            }
            if gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Drained);
            }
            timer.poll(idle_until, cx).map(|()| End::IdleTimeout)
        })
        .await
    };
    client.complete = end == End::Complete;
    upstream.complete = client.complete;
    end
}

/// The listener is gone and the time of its connections is over. Where its port goes with it, the acceptor sees to that.
async fn gone(life: Option<Life>, drain: DrainSignal, deadline: Duration) {
    match life {
        Some(mut life) => life.ended().await,
        None => std::future::pending().await,
    }
    tokio::time::sleep(deadline).await;
    if drain.draining() {
        std::future::pending().await
    }
}
