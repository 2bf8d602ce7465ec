//! One exchange with a backend: both directions at once, before the response head and after it.
//!
//! Neither side's writes ever wait, so one task can do everything: it waits for whatever comes next from either side,
//! and stops taking from one while more than [`BOUND`] waits to be sent to the other.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use portcullis_ir::Filter;

use super::downstream::{ClientError, Downstream, Incoming, ResponseHead};
use super::grpc;
use super::idle::Idle;
use super::local::{Added, Failure};
use super::log::Log;
use super::mirror::Feeds;
use super::respond::{self, clean_trailers};
use super::retry::{self, Retrying};
use super::session::Mark;
use super::timer::Timer;
use crate::listen::DrainSignal;
use crate::observe::{RetryCause, flags};
use crate::policy::RequestEdits;
use crate::upstream::{Upgraded, Upstream, UpstreamError, UpstreamErrorKind, WRITE_BEHIND_HIGH};

/// Response bytes that wait for the client at most, before no more are taken from the backend.
const BOUND: usize = 64 * 1024;
/// What of a request is still passed on after its response was complete.
const AFTERWARDS: Duration = Duration::from_secs(5);
const AFTERWARDS_BYTES: u64 = 64 * 1024 * 1024;
/// Informational responses that a backend may send before its answer.
const MAX_INFORMATIONAL: u32 = 32;

pub(super) struct Exchange<'a, 'p> {
    pub(super) down: &'a mut Downstream,
    pub(super) up: Upstream,
    pub(super) timer: &'a mut Timer,
    pub(super) log: &'a mut Log,
    pub(super) feeds: &'a mut Feeds,
    pub(super) method: &'a Method,
    /// The protocol that the client may change to.
    pub(super) upgrade: Option<&'a HeaderValue>,
    /// Filters that may touch the response, in order.
    pub(super) filters: [&'a [Filter]; 2],
    /// What policies take away, also from trailers.
    pub(super) edits: Option<&'a RequestEdits>,
    /// What makes the client keep its session, if it is to be told.
    pub(super) mark: Option<Mark>,
    /// What every answer to the request carries.
    pub(super) added: Added<'a>,
    /// The rule's own say on which answers are none.
    pub(super) retrying: Option<&'a mut Retrying<'p>>,
    pub(super) limits: Limits,
    pub(super) drain: &'a DrainSignal,
}

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until the response is complete.
    pub(super) total: Option<Instant>,
    /// Until its head has come.
    pub(super) head: Option<Instant>,
    /// Without a byte in either direction.
    pub(super) idle: Duration,
    pub(super) body_bytes: Option<u64>,
}

/// How it went.
pub(super) enum Ended {
    Complete,
    /// The client has part of a response, or left.
    Broken,
    /// The client has nothing yet. The error says what the backend did, if it was its doing.
    Failed(Failure, Option<UpstreamError>),
    /// The client has nothing yet, and the rule's retry policy has reserved another try.
    Again(RetryCause),
    Tunnel(Upgraded),
}

/// What is awaited from the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Head,
    Body,
    Trailers,
    Nothing,
}

enum Event {
    Head(Result<(), UpstreamError>),
    Body(Result<Option<Bytes>, UpstreamError>),
    Trailers(Result<Option<HeaderMap>, UpstreamError>),
    Request(Result<Incoming, ClientError>),
    ClientGone,
    Late { idle: bool },
}

struct State {
    reading: Reading,
    /// The request's body has not ended.
    sending: bool,
    informational: u32,
    idle: Idle,
}

/// Runs until the response is complete. The request's head has been written, and its end too if it has no body.
pub(super) async fn run(mut exchange: Exchange<'_, '_>, now: Instant) -> Ended {
    let idle = Idle::new(exchange.limits.idle, now);
    let sending = !exchange.down.request_done();
    let mut state = State { reading: Reading::Head, sending, informational: 0, idle };
    while state.reading != Reading::Nothing {
        let event = poll_fn(|cx| exchange.poll_event(cx, &mut state)).await;
        state.idle.active = true;
        let ended = match event {
            Event::Head(Ok(())) => match exchange.up.head().map(|head| head.status) {
                Some(StatusCode::SWITCHING_PROTOCOLS) => return exchange.tunnel(),
                Some(status) if status.is_informational() => exchange.informational(&mut state),
                _ => exchange.head(&mut state),
            },
            Event::Head(Err(error)) => Some(Ended::Failed(Failure::of(&error), Some(error))),
            Event::Body(Ok(Some(chunk))) => exchange.body(chunk, &mut state).await,
            Event::Body(Ok(None)) => exchange.body_end(&mut state),
            Event::Trailers(Ok(trailers)) => {
                exchange.log.grpc_status = trailers.as_ref().and_then(grpc::status).or(exchange.log.grpc_status);
                exchange.down.finish(clean_trailers(trailers));
                state.reading = Reading::Nothing;
                None
            }
            Event::Body(Err(error)) | Event::Trailers(Err(error)) => {
                exchange.log.flags |= Failure::of(&error).flags;
                Some(Ended::Broken)
            }
            Event::Request(Ok(incoming)) => exchange.request(incoming, &mut state).await,
            Event::Request(Err(ClientError::Malformed)) => {
                exchange.down.note_malformed();
                Some(exchange.fail(Failure::BAD_REQUEST, &state))
            }
            Event::Request(Err(ClientError::Gone)) | Event::ClientGone => Some(exchange.gone()),
            Event::Late { idle } => Some(exchange.late(idle, &state)),
        };
        if let Some(ended) = ended {
            // Dropping the upstream cancels what it is doing, at once; an answer that is none may end by itself.
            if matches!(ended, Ended::Again(RetryCause::Status)) && !state.sending {
                retry::discard(exchange.up);
            }
            return ended;
        }
    }
    if state.sending && exchange.down.must_be_read() {
        exchange.finish_request(&mut state).await;
    }
    exchange.up.release(!state.sending);
    Ended::Complete
}

impl Exchange<'_, '_> {
    fn poll_event(&mut self, cx: &mut Context<'_>, state: &mut State) -> Poll<Event> {
        loop {
            let full = self.down.pending() > BOUND;
            if full {
                // Nothing is read, and reading is what moves the request on: so it is moved here.
                if self.up.pending_bytes() > 0 {
                    let _ = pin!(self.up.flush()).poll(cx);
                }
            } else if let Poll::Ready(event) = self.poll_upstream(cx, state.reading) {
                return Poll::Ready(event);
            }
            if let Poll::Ready(Err(_)) = self.down.poll_flush(cx) {
                return Poll::Ready(Event::ClientGone);
            }
            if !full || self.down.pending() > BOUND {
                break;
            }
        }
        if let Poll::Ready(event) = self.poll_client(cx, state) {
            return Poll::Ready(event);
        }
        self.poll_timers(cx, state)
    }

    /// The response is complete, the request is not: some backends answer before they read. The rest is passed on as
    /// long as it comes swiftly, since an HTTP/1 client must be read from in any case, or its answer could be lost.
    async fn finish_request(&mut self, state: &mut State) {
        let until = Instant::now() + AFTERWARDS;
        let allowed = self.log.bytes_in + AFTERWARDS_BYTES;
        while state.sending && self.log.bytes_in < allowed {
            let event = poll_fn(|cx| {
                if self.up.pending_bytes() > 0 {
                    let _ = pin!(self.up.flush()).poll(cx);
                }
                if let Poll::Ready(Err(_)) = self.down.poll_flush(cx) {
                    return Poll::Ready(Event::ClientGone);
                }
                if let Poll::Ready(event) = self.poll_client(cx, state) {
                    return Poll::Ready(event);
                }
                self.timer.poll(cx, Some(until)).map(|()| Event::Late { idle: false })
            })
            .await;
            let Event::Request(Ok(incoming)) = event else { return };
            if self.request(incoming, state).await.is_some() {
                return;
            }
        }
        poll_fn(|cx| match pin!(self.up.flush()).poll(cx) {
            Poll::Pending => self.timer.poll(cx, Some(until)),
            Poll::Ready(()) => Poll::Ready(()),
        })
        .await;
    }

    fn poll_upstream(&mut self, cx: &mut Context<'_>, reading: Reading) -> Poll<Event> {
        match reading {
            Reading::Head => pin!(self.up.await_head()).poll(cx).map(Event::Head),
            Reading::Body => pin!(self.up.read_body()).poll(cx).map(Event::Body),
            Reading::Trailers => pin!(self.up.read_trailers()).poll(cx).map(Event::Trailers),
            Reading::Nothing => Poll::Pending,
        }
    }

    fn poll_client(&mut self, cx: &mut Context<'_>, state: &State) -> Poll<Event> {
        if !state.sending {
            return self.down.poll_gone(cx).map(|()| Event::ClientGone);
        }
        if self.up.pending_bytes() > WRITE_BEHIND_HIGH && pin!(self.up.drained()).poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.down.poll_body(cx).map(Event::Request)
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>, state: &mut State) -> Poll<Event> {
        let head = self.limits.head.filter(|_| state.reading == Reading::Head);
        let late = earlier(self.limits.total, head);
        let pending = self.down.pending().saturating_add(self.up.pending_bytes());
        state.idle.note(pending);
        loop {
            let next = earlier(late, Some(state.idle.check_at));
            if self.timer.poll(cx, next).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if late.is_some_and(|late| late <= now) {
                return Poll::Ready(Event::Late { idle: false });
            }
            if state.idle.is_over(now) {
                return Poll::Ready(Event::Late { idle: true });
            }
        }
    }

    fn informational(&mut self, state: &mut State) -> Option<Ended> {
        state.informational += 1;
        if state.informational > MAX_INFORMATIONAL {
            return Some(Ended::Failed(Failure::UPSTREAM_PROTOCOL, None));
        }
        let head = self.up.head()?;
        self.down.send_informational(head.status, &head.headers).err().map(|_| self.gone())
    }

    fn head(&mut self, state: &mut State) -> Option<Ended> {
        let done = self.up.is_body_done();
        if let (Some(retrying), Some(head)) = (&mut self.retrying, self.up.head())
            && retrying.discards(head, done)
        {
            return Some(Ended::Again(RetryCause::Status));
        }
        self.log.answered_at = Some(Instant::now());
        let filters = self.filters.into_iter().flatten();
        let head = self.up.head().map(|head| respond::prepare(head, self.method, done, filters));
        let Some(Ok(mut response)) = head else {
            return Some(Ended::Failed(Failure::UPSTREAM_PROTOCOL, None));
        };
        if let Some(mark) = &self.mark {
            mark.put(response.headers.to_mut());
        }
        if done && self.up.is_http2() {
            self.log.grpc_status = grpc::status(&response.headers);
        }
        if !self.added.is_only_extra() {
            self.added.apply(response.headers.to_mut());
        }
        let respond::Response { status, reason, headers, framing } = &response;
        self.log.status = status.as_u16();
        let (status, framing) = (*status, *framing);
        if self.drain.draining() {
            self.down.close_after();
        }
        if self
            .down
            .send_head(&ResponseHead { status, reason: *reason, headers, extra: self.added.extra(), framing })
            .is_err()
        {
            return Some(self.gone());
        }
        if done { self.body_end(state) } else { self.expect(Reading::Body, state) }
    }

    async fn body(&mut self, chunk: Bytes, state: &mut State) -> Option<Ended> {
        self.log.bytes_out += chunk.len() as u64;
        let mut chunk = Some(chunk);
        let sent = poll_fn(|cx| Poll::Ready(self.down.send_body(cx, chunk.take().unwrap_or_default()))).await;
        if sent.is_err() {
            return Some(self.gone());
        }
        if self.up.is_body_done() { self.body_end(state) } else { None }
    }

    fn body_end(&mut self, state: &mut State) -> Option<Ended> {
        if self.up.is_http2() {
            return self.expect(Reading::Trailers, state);
        }
        self.down.finish(None);
        self.expect(Reading::Nothing, state)
    }

    fn expect(&self, reading: Reading, state: &mut State) -> Option<Ended> {
        state.reading = reading;
        None
    }

    async fn request(&mut self, incoming: Incoming, state: &mut State) -> Option<Ended> {
        let written = match incoming {
            Incoming::Chunk(chunk) => {
                self.log.bytes_in += chunk.len() as u64;
                if self.limits.body_bytes.is_some_and(|limit| self.log.bytes_in > limit) {
                    return Some(self.fail(Failure::BODY_TOO_LARGE, state));
                }
                self.feeds.push(&chunk);
                if let Some(retrying) = &mut self.retrying {
                    retrying.note_chunk(&chunk);
                }
                self.up.write_body(chunk).await
            }
            Incoming::End(trailers) => {
                state.sending = false;
                let mut trailers = clean_trailers(trailers);
                if let (Some(edits), Some(trailers)) = (self.edits, &mut trailers) {
                    edits.clean(trailers);
                }
                self.feeds.finish();
                if let Some(retrying) = &mut self.retrying {
                    retrying.note_end(trailers.as_ref());
                }
                self.up.finish(trailers).await
            }
        };
        // A backend that stopped reading may have answered: its answer, or the lack of one, shows when it is read.
        match written {
            Err(error) if error.kind() == UpstreamErrorKind::InvalidRequest => {
                Some(self.fail(Failure::BAD_REQUEST, state))
            }
            _ => None,
        }
    }

    fn tunnel(self) -> Ended {
        let (Downstream::H1(h1), Some(protocol), Some(head)) = (self.down, self.upgrade, self.up.head()) else {
            return Ended::Failed(Failure::UPSTREAM_PROTOCOL, None);
        };
        let status = head.status.as_u16();
        // The backend may have chosen one of several.
        let chosen = head.headers.get(http::header::UPGRADE).unwrap_or(protocol);
        let mut headers = Cow::Borrowed(&head.headers);
        if let Some(mark) = &self.mark {
            mark.put(headers.to_mut());
        }
        if !self.added.is_only_extra() {
            self.added.apply(headers.to_mut());
        }
        h1.send_upgrade(&headers, self.added.extra(), chosen);
        // Always there: upgrades are asked for on HTTP/1 connections only.
        let Some(upgraded) = self.up.upgrade() else { return Ended::Broken };
        self.log.answered_at = Some(Instant::now());
        self.log.status = status;
        Ended::Tunnel(upgraded)
    }

    fn late(&mut self, idle: bool, state: &State) -> Ended {
        // Silence is the fault of whom we wait for.
        if !idle
            && state.reading == Reading::Head
            && self.retrying.as_mut().is_some_and(|retrying| retrying.reserve(RetryCause::Timeout))
        {
            return Ended::Again(RetryCause::Timeout);
        }
        let client = idle && (self.down.pending() > 0 || (state.sending && self.up.pending_bytes() == 0));
        self.fail(if client { Failure::BODY_TIMEOUT } else { Failure::UPSTREAM_TIMEOUT }, state)
    }

    /// An answer of ours if there is none yet, else the end.
    fn fail(&mut self, failure: Failure, state: &State) -> Ended {
        if state.reading == Reading::Head {
            return Ended::Failed(failure, None);
        }
        self.log.flags |= failure.flags;
        Ended::Broken
    }

    fn gone(&mut self) -> Ended {
        self.log.flags |= flags::DOWNSTREAM_GONE;
        Ended::Broken
    }
}

pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
