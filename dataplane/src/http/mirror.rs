//! Copies of requests for other backends, whose answers are thrown away. A mirror never slows the request that it
//! copies: what it does not take at once, it does not get.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use portcullis_ir::Fraction;
use tokio::sync::mpsc;

use super::conn::Conn;
use super::head::{Body, Facts, copy};
use super::outgoing::framed_copy;
use crate::program::{CompiledTarget, Program, RuleState};
use crate::upstream::{BackendProgram, Want};
use crate::worker::Worker;

/// Body pieces that may wait for a mirror's backend.
const QUEUE: usize = 16;
/// Mirrors under way in the process; more are not begun.
const MAX_IN_FLIGHT: usize = 1024;
const LIFETIME: Duration = Duration::from_secs(60);
/// Rules whose shares a worker keeps count of.
const MAX_COUNTED: usize = 4096;

static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How far each mirror of this worker is from its next copy, by rule and position. Exact over any run of requests,
    /// unlike a random choice.
    static DUE: RefCell<HashMap<(usize, usize), u64, foldhash::fast::RandomState>> = RefCell::default();
}

/// The backends that get a copy of this request.
pub(super) fn due<'p>(program: &'p Program, state: &RuleState, target: usize) -> Vec<&'p Arc<BackendProgram>> {
    let (of_rule, of_target) = state.mirrors_of(target);
    let of_target = of_target.iter().enumerate().map(|(at, mirror)| (own_key(target, at), mirror));
    let mut due = Vec::new();
    let all = of_rule.iter().enumerate().chain(of_target);
    for (position, (mirror, share)) in all {
        if let CompiledTarget::Backend(slot) = mirror
            && let Some(backend) = program.backend(*slot)
            && backend.broken().is_none()
            && is_due(Arc::as_ptr(&state.metrics) as usize, position, *share)
        {
            due.push(backend);
        }
    }
    due
}

/// Positions of a backend's own mirrors lie apart from the rule's.
fn own_key(target: usize, at: usize) -> usize {
    (target + 1) * 1024 + at
}

fn is_due(rule: usize, position: usize, share: Fraction) -> bool {
    let Fraction { numerator, denominator } = share;
    if numerator >= denominator {
        return true;
    }
    DUE.with_borrow_mut(|due| {
        if due.len() >= MAX_COUNTED {
            // Shares begin anew; rules come and go, and the table must not keep them.
            due.clear();
        }
        let count = due.entry((rule, position)).or_default();
        *count += u64::from(numerator);
        let is_due = *count >= u64::from(denominator);
        if is_due {
            *count -= u64::from(denominator);
        }
        is_due
    })
}

/// Where the pieces of a request's body are copied to.
#[derive(Default)]
pub(super) struct Feeds(Vec<mpsc::Sender<Piece>>);

enum Piece {
    Chunk(Bytes),
    End,
}

impl Feeds {
    pub(super) fn push(&mut self, chunk: &Bytes) {
        // One that has not kept up gets nothing more, and abandons its copy when the channel ends without an end.
        self.0.retain(|feed| feed.try_send(Piece::Chunk(chunk.clone())).is_ok());
    }

    pub(super) fn finish(&mut self) {
        for feed in self.0.drain(..) {
            let _ = feed.try_send(Piece::End);
        }
    }
}

/// Begins the copies. `head` is as the backend gets it, filters applied.
pub(super) fn start(conn: &Conn, mirrors: &[&Arc<BackendProgram>], head: &Parts, facts: &Facts, want: Want) -> Feeds {
    let mut feeds = Feeds::default();
    for backend in mirrors {
        let metrics = &conn.worker.shared.metrics;
        let Some(guard) = InFlight::begin() else {
            metrics.mirrors_dropped.increment();
            continue;
        };
        let (feed, pieces) = mpsc::channel(QUEUE);
        let body = facts.body;
        if !matches!(body, Body::None | Body::Length(0)) {
            feeds.0.push(feed);
        }
        let copy = Copy { backend: Arc::clone(backend), head: MirrorHead::new(head, facts), want, body, pieces };
        let worker = Arc::clone(&conn.worker);
        tokio::spawn(async move {
            let sent = tokio::time::timeout(LIFETIME, copy.run(&worker)).await;
            let metrics = &worker.shared.metrics;
            if matches!(sent, Ok(Some(()))) {
                metrics.mirrors_sent.increment()
            } else {
                metrics.mirrors_failed.increment()
            }
            drop(guard);
        });
    }
    feeds
}

/// Both forms of the head, because which one is needed shows only when the connection stands.
struct MirrorHead {
    head: Parts,
    facts: Facts,
}

impl MirrorHead {
    fn new(head: &Parts, facts: &Facts) -> Self {
        let mut copy = copy(head);
        // Nobody listens for a 100, and a mirror changes no protocol.
        copy.headers.remove(http::header::EXPECT);
        Self { head: copy, facts: Facts { upgrade: None, ..facts.clone() } }
    }
}

struct Copy {
    backend: Arc<BackendProgram>,
    head: MirrorHead,
    want: Want,
    body: Body,
    pieces: mpsc::Receiver<Piece>,
}

impl Copy {
    /// None: it was not sent as a whole, or not answered.
    async fn run(mut self, worker: &Worker) -> Option<()> {
        let endpoint = worker.upstreams.pick(&self.backend, None)?;
        let deadline = Instant::now() + LIFETIME;
        let mut up = worker.upstreams.connect(&self.backend, &endpoint, self.want, deadline).await.ok()?;
        let end = matches!(self.body, Body::None | Body::Length(0));
        let head = framed_copy(&self.head.head, &self.head.facts, end, up.is_http2());
        up.write_head(Box::new(head), end).await.ok()?;
        let mut open = !end;
        while open {
            match self.pieces.recv().await? {
                Piece::Chunk(chunk) => {
                    up.write_body(chunk).await.ok()?;
                    up.flush().await;
                }
                Piece::End => {
                    up.finish(None).await.ok()?;
                    open = false;
                }
            }
        }
        while up.read_head().await.ok()?.status.is_informational() {}
        while up.read_body().await.ok()?.is_some() {}
        up.release(true);
        Some(())
    }
}

struct InFlight;

impl InFlight {
    fn begin() -> Option<Self> {
        let guard = Self;
        (IN_FLIGHT.fetch_add(1, Ordering::Relaxed) < MAX_IN_FLIGHT).then_some(guard)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_over_any_run_of_requests() {
        let share = Fraction { numerator: 3, denominator: 10 };
        let copied = (0..1000).filter(|_| is_due(1, 0, share)).count();
        assert_eq!(copied, 300);
        let run: Vec<bool> = (0..10).map(|_| is_due(2, 0, share)).collect();
        assert_eq!(run.iter().filter(|due| **due).count(), 3);
        assert!((0..10).all(|_| is_due(3, 0, Fraction::ALL)));
        assert!(!(0..10).any(|_| is_due(4, 0, Fraction { numerator: 0, denominator: 100 })));
    }
}
