//! Whether a request is sent again. Everything about it is decided here, and nothing a library suggests is asked.
//!
//! Sending twice what was acted on once is worse than an error, so without a retry policy of the rule:
//! * what provably was not acted on may be sent again, whatever it is: no connection, or a connection that ended with
//!   nothing of the request on it, or a stream that the backend says it never began with;
//! * what *may* have been acted on only if the method is idempotent, it had no body, and it went over a connection that
//!   had been idle, where a close that crosses the request on the way is by far the likeliest reason.
//!
//! A policy ([`Retrying`]) says how often, and adds to that: an answer with one of its statuses, a gRPC call that the
//! backend did not begin with, and a try that took longer than `backendRequest`. A reset after the request was sent
//! stays an answer: it may have been acted on ("SHOULD NOT retry", Gateway API `HTTPRouteRetry`).

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use pingora_http::ResponseHeader;
use portcullis_ir::Retry;

use super::grpc;
use super::head::Body;
use crate::observe::{Outcomes, RetryCause};
use crate::upstream::{BackendProgram, RetryToken, Upstream, UpstreamError, UpstreamErrorKind};

/// Tries in all, the first included, without a policy.
pub(super) const MAX_TRIES: u32 = 3;
/// The pause before the second try, if the policy does not say.
const PAUSE: Duration = Duration::from_millis(25);
/// A pause doubles with each try, up to this many times the first one; half of it more is left to chance.
const MAX_GROWTH: u32 = 10;
/// What an upstream connection takes at once, whatever is allowed to be kept.
const MAX_REPLAY: usize = 128 * 1024;
/// What is read of an answer that is thrown away, to keep its connection.
const DISCARD_BYTES: usize = 64 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// A try that failed before any byte of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed<'a> {
    /// Counted from 1.
    pub(super) tries: u32,
    pub(super) method: &'a Method,
    pub(super) body: Body,
    /// Something of the request's body was taken from the client already, and is gone.
    pub(super) body_begun: bool,
    /// The connection had served another request before.
    pub(super) reused: bool,
}

pub(super) fn may_resend(failed: &Failed<'_>, error: &UpstreamError) -> bool {
    failed.tries < MAX_TRIES && !failed.body_begun && was_unprocessed(failed, error)
}

/// The backend did not act on the request, by all that can be known.
pub(super) fn was_unprocessed(failed: &Failed<'_>, error: &UpstreamError) -> bool {
    error.provably_unsent()
        || failed.reused
            && error.before_response()
            && error.kind() == UpstreamErrorKind::Reset
            && failed.method.is_idempotent()
            && matches!(failed.body, Body::None | Body::Length(0))
}

/// Whether a copy of the head is worth keeping for the case that it must be sent again.
pub(super) fn is_conceivable(reused: bool, http2: bool) -> bool {
    reused || http2
}

/// One request under its rule's retry policy.
#[derive(Debug)]
pub(super) struct Retrying<'p> {
    policy: &'p Retry,
    backend: &'p BackendProgram,
    outcomes: &'p Outcomes,
    grpc: bool,
    /// The client sends its body only once it is asked to: nothing of it is sent twice.
    expects: bool,
    /// When the request is given up, whatever its policy says.
    until: Option<Instant>,
    /// Tries that were reserved beyond the first.
    made: u32,
    pause: Duration,
    replay: Replay,
    token: Option<RetryToken>,
}

/// What the client sent of its body, as long as it is short enough to be kept.
#[derive(Debug)]
struct Replay {
    bytes: Vec<u8>,
    limit: usize,
    lost: bool,
    /// The body has ended, with trailers perhaps.
    end: Option<Option<HeaderMap>>,
}

/// What a request brings to [`Retrying`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) grpc: bool,
    pub(super) expects: bool,
    pub(super) until: Option<Instant>,
    pub(super) max_replay: usize,
}

impl<'p> Retrying<'p> {
    pub(super) fn new(policy: &'p Retry, backend: &'p BackendProgram, outcomes: &'p Outcomes, kind: Kind) -> Self {
        let Kind { grpc, expects, until, max_replay } = kind;
        let limit = max_replay.min(MAX_REPLAY);
        let replay = Replay { bytes: Vec::new(), limit, lost: false, end: None };
        Self { policy, backend, outcomes, grpc, expects, until, made: 0, pause: Duration::ZERO, replay, token: None }
    }

    /// Whether the policy allows one more try, whatever becomes of this one.
    pub(super) fn is_conceivable(&self) -> bool {
        self.made < self.policy.attempts
    }

    /// Takes the next try, if one may be made; [`Retrying::pause`] is how long it waits.
    pub(super) fn reserve(&mut self, cause: RetryCause) -> bool {
        if !self.is_conceivable() || self.replay.lost || (self.expects && self.replay.is_begun()) {
            return false;
        }
        // An endpoint that cannot be reached says nothing about the next one.
        let at_once = self.made == 0 && cause == RetryCause::Connect;
        let pause = if at_once { Duration::ZERO } else { self.next_pause(rand::random()) };
        // An answer at hand is better than a timeout later.
        let now = Instant::now();
        if self.until.is_some_and(|until| until.saturating_duration_since(now) <= pause) {
            return false;
        }
        if self.token.is_none() {
            self.token = self.backend.retry();
            if self.token.is_none() {
                self.outcomes.retries_refused.increment();
                return false;
            }
        }
        self.made += 1;
        self.pause = pause;
        self.outcomes.retry(cause);
        true
    }

    /// Whether this answer is none, by the policy, and another try was reserved instead. `done`: no body follows.
    pub(super) fn discards(&mut self, head: &ResponseHeader, done: bool) -> bool {
        let cause = if self.policy.codes.binary_search(&head.status.as_u16()).is_ok() {
            RetryCause::Status
        } else if self.grpc && done && grpc::status(&head.headers) == Some(grpc::UNAVAILABLE) {
            // Without a byte of an answer: the call was refused.
            RetryCause::Unprocessed
        } else {
            return false;
        };
        self.reserve(cause)
    }

    /// Before the try that was reserved last.
    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    pub(super) fn note_chunk(&mut self, chunk: &Bytes) {
        self.replay.push(chunk);
    }

    pub(super) fn note_end(&mut self, trailers: Option<&HeaderMap>) {
        self.replay.end = Some(trailers.cloned());
    }

    /// Whether [`Retrying::resend`] has something to send.
    pub(super) fn has_body(&self) -> bool {
        self.replay.is_begun()
    }

    /// Sends what was taken from the client before, behind a head that is written.
    pub(super) async fn resend(&self, up: &mut Upstream) -> Result<(), UpstreamError> {
        let Replay { bytes, limit: _, lost: _, end } = &self.replay;
        if !bytes.is_empty() {
            up.write_body(Bytes::copy_from_slice(bytes)).await?;
        }
        match end {
            Some(trailers) => up.finish(trailers.clone()).await,
            None => Ok(()),
        }
    }

    /// `chance` is any number.
    fn next_pause(&self, chance: u32) -> Duration {
        let first = self.policy.backoff.unwrap_or(PAUSE);
        let growth = 1_u32.checked_shl(self.made).map_or(MAX_GROWTH, |growth| growth.min(MAX_GROWTH));
        let pause = first.saturating_mul(growth);
        pause.saturating_add((pause / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX)))
    }
}

impl Replay {
    fn push(&mut self, chunk: &[u8]) {
        if self.lost {
            return;
        }
        if self.bytes.len() + chunk.len() > self.limit {
            (self.lost, self.bytes) = (true, Vec::new());
        } else {
            self.bytes.extend_from_slice(chunk);
        }
    }

    fn is_begun(&self) -> bool {
        self.lost || !self.bytes.is_empty() || self.end.is_some()
    }
}

/// Reads an answer that is thrown away to its end, on the side, if that is near: its connection can be kept then. What
/// is not over soon is cut off.
pub(super) fn discard(mut up: Upstream) {
    if up.is_body_done() {
        up.release(true);
        return;
    }
    tokio::spawn(async move {
        let reading = async {
            let mut left = DISCARD_BYTES;
            while let Some(chunk) = up.read_body().await.ok()? {
                left = left.checked_sub(chunk.len())?;
            }
            Some(())
        };
        if let Ok(Some(())) = tokio::time::timeout(DISCARD_TIME, reading).await {
            up.release(true);
        }
    });
}
