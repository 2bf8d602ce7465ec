//! A request on its way to a backend: which one, in what form, and how often it is tried.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Uri};
use pingora_http::RequestHeader;
use portcullis_ir::{Filter, PathView};
use portcullis_router::Found;

use super::client::Client;
use super::conn::Conn;
use super::downstream::{Downstream, parse_again};
use super::exchange::{self, Ended, Exchange, Limits, earlier};
use super::head::{self, Body, Facts};
use super::headers::{Seen, X_REQUEST_ID};
use super::local::{Added, Failure, Wishes};
use super::log::Log;
use super::mirror::{self, Feeds};
use super::outgoing::{frame, prepare, rewrites};
use super::reply::{refuse, wishes};
use super::request::Answered;
use super::retry::Retrying;
use super::session::Session;
use super::timer::Timer;
use super::{grpc, retry, route};
use crate::observe::{ConnectOutcome, RetryCause, flags};
use crate::policy::{RequestEdits, Settled};
use crate::program::{CompiledCors, CompiledTarget, Program, RuleState};
use crate::upstream::{BackendProgram, CONNECT_BOUND, EndpointRef, Upstream, Want};

/// Where a request goes. Borrows from the program that decided it.
pub(super) struct Forward<'p> {
    pub(super) found: Found<'p, RuleState>,
    backend: &'p Arc<BackendProgram>,
    /// Of the backend, and of the rule.
    pub(super) filters: [&'p [Filter]; 2],
    /// None: the target stays as it came. A box, because this is moved about.
    pub(super) target: Option<Box<Uri>>,
    mirrors: Vec<&'p Arc<BackendProgram>>,
    /// None: the rule knows no sessions.
    session: Option<Box<Session<'p>>>,
    cors: Option<&'p CompiledCors>,
    /// What policies change of the request, and put into its answer; none for most.
    pub(super) settled: Settled<'p>,
}

/// Picks the backend and settles what the request becomes for it.
pub(super) fn plan<'p>(
    conn: &Conn,
    program: &'p Program,
    found: Found<'p, RuleState>,
    path: &PathView<'_>,
    head: &Parts,
    client: &Client,
) -> Result<Forward<'p>, Failure> {
    let (state, uri) = (&found.rule.payload, &head.uri);
    let mut session = Session::of(&found, &head.headers, client.https);
    let kept = session.as_mut().and_then(|session| session.target(program, state));
    let index = kept.or_else(|| state.pick.pick(conn.worker.id)).ok_or(Failure::INVALID_BACKEND)?;
    let backend = match state.targets.get(index) {
        Some(CompiledTarget::Backend(slot)) => program.backend(*slot).ok_or(Failure::INVALID_BACKEND)?,
        Some(CompiledTarget::Fail(failure)) => return Err(route::invalid(*failure)),
        None => return Err(Failure::INVALID_BACKEND),
    };
    if let Some(failure) = backend.broken() {
        return Err(route::invalid(failure));
    }
    let own = route::backends(&found).get(index).map_or(&[][..], |weighted| &weighted.filters);
    let filters = [own, &found.rule.route.filters];
    let rewrite = rewrites(&filters).find_map(|rewrite| rewrite.path.as_ref());
    let target = route::rewritten_target(rewrite, &found, path, uri)?.map(Box::new);
    let mirrors = mirror::due(program, state, index);
    let (cors, settled) = (state.cors_of(index), Settled::Nothing);
    Ok(Forward { found, backend, filters, target, mirrors, session, cors, settled })
}

pub(super) async fn run(
    conn: &Conn,
    down: &mut Downstream,
    mut head: Box<Parts>,
    facts: &Facts,
    mut forward: Forward<'_>,
    log: &mut Log,
    timer: &mut Timer,
) -> Answered {
    // Before filters can change what they were asked by.
    let settled = std::mem::take(&mut forward.settled);
    let wishes = wishes(facts, &head, forward.cors, settled.answered());
    let edits = settled.edits();
    let method = head.method.clone();
    prepare(&mut head, facts, &forward, edits);
    log.backend = Some(Arc::clone(forward.backend));
    let grpc = forward.found.rule.payload.grpc;
    let mut feeds = mirror::start(conn, &forward.mirrors, &head, facts, if grpc { Want::Http2 } else { Want::Any });
    let mut limits = limits(conn, &forward, log.started());
    if grpc && let Some(timeout) = grpc::timeout(&head.headers) {
        limits.total = earlier(limits.total, log.started().checked_add(timeout));
    }
    let want = match facts.upgrade {
        _ if grpc => Want::Http2,
        Some(_) => Want::Http1Only,
        None => Want::Any,
    };
    let kept = forward.session.as_mut().and_then(|session| session.take_endpoint());
    let retrying = retrying(conn, &forward, facts, &wishes, &limits);
    let (head, added) = (Head::Ready(head), wishes.added());
    let method = &method;
    let mut tries = Tries { head, facts, method, forward: &forward, edits, limits, want, kept, added, retrying };
    let ended = tries.run(conn, down, log, timer, &mut feeds).await;
    match ended {
        Ended::Complete => Answered::Complete,
        Ended::Broken => Answered::Broken,
        Ended::Tunnel(upgraded) => Answered::Tunnel(upgraded),
        Ended::Failed(failure, _) => refuse(down, &failure, &wishes, log).await,
        // Never the last word: what is reserved is tried.
        Ended::Again(_) => refuse(down, &Failure::INTERNAL, &wishes, log).await,
    }
}

/// None, and nothing spent, for rules without a policy.
fn retrying<'p>(
    conn: &'p Conn,
    forward: &Forward<'p>,
    facts: &Facts,
    wishes: &Wishes<'_>,
    limits: &Limits,
) -> Option<Box<Retrying<'p>>> {
    let policy = forward.found.rule.route.retry.as_ref()?;
    let kind = retry::Kind {
        grpc: wishes.is_grpc(),
        expects: facts.seen.has(Seen::EXPECT),
        until: earlier(limits.total, limits.head),
        max_replay: conn.limits().max_replay_bytes,
    };
    let outcomes = &conn.worker.shared.metrics.outcomes;
    Some(Box::new(Retrying::new(policy, forward.backend, outcomes, kind)))
}

/// The request's head, prepared for the backend.
enum Head {
    Ready(Box<Parts>),
    /// With a try. What the client sent is still there to be read once more: cheaper than a copy for the rare case.
    ReadAgain,
    /// With the last try.
    Gone,
}

struct Tries<'a> {
    head: Head,
    facts: &'a Facts,
    method: &'a Method,
    forward: &'a Forward<'a>,
    edits: Option<&'a RequestEdits>,
    limits: Limits,
    want: Want,
    /// The session's endpoint, for the next try.
    kept: Option<EndpointRef>,
    added: Added<'a>,
    retrying: Option<Box<Retrying<'a>>>,
}

impl Tries<'_> {
    async fn run(
        &mut self,
        conn: &Conn,
        down: &mut Downstream,
        log: &mut Log,
        timer: &mut Timer,
        feeds: &mut Feeds,
    ) -> Ended {
        let mut avoid = None;
        let mut last = Failure::NO_ENDPOINTS;
        loop {
            log.attempts += 1;
            let kept = match self.kept.take() {
                Some(kept) => Some(kept),
                None => conn.worker.upstreams.pick_resolved(self.forward.backend, avoid.as_deref()).await,
            };
            let endpoint = match kept {
                Some(endpoint) => endpoint,
                // None to begin with, or none but those that just failed.
                None => return Ended::Failed(last, None),
            };
            log.endpoint = Some(endpoint.address());
            let now = if log.attempts == 1 { log.started() } else { Instant::now() };
            let deadline = self.limits.total.unwrap_or(now + CONNECT_BOUND);
            let connecting = conn.worker.upstreams.connect(self.forward.backend, &endpoint, self.want, deadline);
            let up = match while_there(down, connecting).await {
                Some(Ok(up)) => up,
                None => {
                    log.flags |= flags::DOWNSTREAM_GONE;
                    return Ended::Broken;
                }
                Some(Err(error)) => {
                    conn.worker.shared.metrics.upstream_connect(error.into());
                    let late = self.limits.total.is_some_and(|total| total <= Instant::now());
                    if late || !error.blames_endpoint() || !self.may_reconnect(log) {
                        return Ended::Failed(
                            if late { Failure::UPSTREAM_TIMEOUT } else { Failure::unreachable(&error) },
                            None,
                        );
                    }
                    avoid = Some(Arc::clone(endpoint.shared()));
                    last = Failure::unreachable(&error);
                    drop(endpoint);
                    if !self.pause(down, log).await {
                        return Ended::Broken;
                    }
                    continue;
                }
            };
            let reused = up.reused();
            let sent_at = self.note_connected(conn, &up, log, now);
            let ended = self.attempt(conn, down, up, log, timer, feeds, sent_at).await;
            if !self.is_tried_again(&ended, down, log, reused) {
                return ended;
            }
            log.flags |= flags::RETRIED;
            if reused && self.forward.session.is_some() {
                // A connection died, not the endpoint: the session stays.
                self.kept = self.forward.backend.stick(endpoint.address());
            }
            avoid = Some(Arc::clone(endpoint.shared()));
            drop(endpoint);
            if !self.pause(down, log).await {
                return Ended::Broken;
            }
        }
    }

    /// Whether one more connection is tried after one that could not be made.
    fn may_reconnect(&mut self, log: &mut Log) -> bool {
        match &mut self.retrying {
            None => log.attempts < retry::MAX_TRIES,
            Some(retrying) => {
                let again = retrying.reserve(RetryCause::Connect);
                if again {
                    log.flags |= flags::RETRIED;
                }
                again
            }
        }
    }

    /// Whether a try that ended like this is followed by another one.
    fn is_tried_again(&mut self, ended: &Ended, down: &Downstream, log: &Log, reused: bool) -> bool {
        let error = match ended {
            Ended::Again(_) => return true,
            Ended::Failed(_, Some(error)) if !matches!(self.head, Head::Gone) => error,
            _ => return false,
        };
        let failed = retry::Failed {
            tries: log.attempts,
            method: self.method,
            body: self.facts.body,
            body_begun: log.bytes_in > 0 || (down.request_done() && self.facts.body == Body::Unknown),
            reused,
        };
        let again = match &mut self.retrying {
            None => retry::may_resend(&failed, error),
            Some(retrying) => retry::was_unprocessed(&failed, error) && retrying.reserve(RetryCause::Unprocessed),
        };
        if again && self.want == Want::Any {
            self.want = Want::Fresh;
        }
        again
    }

    /// Waits before the next try, if the policy says so; false if the client left meanwhile.
    async fn pause(&self, down: &mut Downstream, log: &mut Log) -> bool {
        let pause = self.retrying.as_ref().map_or(Duration::ZERO, |retrying| retrying.pause());
        let there = pause.is_zero() || while_there(down, tokio::time::sleep(pause)).await.is_some();
        if !there {
            log.flags |= flags::DOWNSTREAM_GONE;
        }
        there
    }

    /// One try on a connection.
    #[allow(clippy::too_many_arguments)]
    async fn attempt(
        &mut self,
        conn: &Conn,
        down: &mut Downstream,
        mut up: Upstream,
        log: &mut Log,
        timer: &mut Timer,
        feeds: &mut Feeds,
        sent_at: Instant,
    ) -> Ended {
        let keep = match &self.retrying {
            None => log.attempts < retry::MAX_TRIES && retry::is_conceivable(up.reused(), up.is_http2()),
            Some(retrying) => retrying.is_conceivable(),
        };
        let head = match std::mem::replace(&mut self.head, Head::Gone) {
            Head::Ready(head) => Some(head),
            Head::ReadAgain => self.read_again(conn, down, log),
            Head::Gone => None,
        };
        let Some(mut head) = head else { return Ended::Failed(Failure::INTERNAL, None) };
        if keep {
            self.head = if down.keeps_head() { Head::ReadAgain } else { Head::Ready(Box::new(head::copy(&head))) };
        }
        let replay = self.retrying.as_deref().filter(|retrying| retrying.has_body());
        let end = replay.is_none() && down.request_done();
        frame(&mut head, self.facts, end, up.is_http2());
        log.sent_at = Some(sent_at);
        if let Err(error) = up.write_head(Box::new(RequestHeader::from(*head)), end).await {
            return Ended::Failed(Failure::of(&error), Some(error));
        }
        if let Some(retrying) = replay
            && let Err(error) = retrying.resend(&mut up).await
        {
            return Ended::Failed(Failure::of(&error), Some(error));
        }
        let Limits { total, head, .. } = self.limits;
        let backend = self.forward.found.rule.route.timeouts.backend_request.map(|timeout| sent_at + timeout);
        let limits = Limits { total, head: earlier(head, backend), ..self.limits };
        let upgrade = self.facts.upgrade.as_ref();
        let (method, filters) = (self.method, self.forward.filters);
        let drain = &conn.drain;
        let session = self.forward.session.as_deref().zip(log.endpoint);
        let mark = session.and_then(|(session, address)| session.mark(self.forward.backend, address));
        let (added, retrying) = (self.added, self.retrying.as_deref_mut());
        let edits = self.edits;
        let exchange = Exchange {
            down,
            up,
            timer,
            log,
            feeds,
            method,
            upgrade,
            filters,
            edits,
            mark,
            added,
            retrying,
            limits,
            drain,
        };
        exchange::run(exchange, sent_at).await
    }

    /// What [`run`] began with, made once more from what the client sent.
    fn read_again(&self, conn: &Conn, down: &Downstream, log: &Log) -> Option<Box<Parts>> {
        let (mut head, target) = parse_again(&down.raw_head()?)?;
        let facts = head::check(&mut head, &target, true, conn.limits()).ok()?;
        conn.peer.identify(&mut head.headers, facts.seen, &conn.worker.shared.settings.trusted_proxies);
        if let Some(id) = log.request.as_ref().and_then(|request| request.request_id.clone()) {
            head.headers.insert(X_REQUEST_ID, id);
        }
        prepare(&mut head, self.facts, self.forward, self.edits);
        Some(head)
    }

    fn note_connected(&self, conn: &Conn, up: &Upstream, log: &mut Log, now: Instant) -> Instant {
        let metrics = &conn.worker.shared.metrics;
        if up.reused() {
            metrics.upstream_reuses.increment();
            return now;
        }
        metrics.upstream_connect(ConnectOutcome::Connected);
        let connected = Instant::now();
        log.connect = Some(connected.saturating_duration_since(now));
        connected
    }
}

/// Goes on as long as the client is there; none if it left.
async fn while_there<T>(down: &mut Downstream, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        // One that is still sending shows that it left when it is read from.
        Poll::Pending if down.request_done() => down.poll_gone(cx).map(|()| None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

fn limits(conn: &Conn, forward: &Forward<'_>, started: Instant) -> Limits {
    let bounds = conn.limits();
    let request = forward.found.rule.route.timeouts.request;
    let head = if request.is_none() { bounds.default_request_timeout } else { None };
    Limits {
        total: request.map(|timeout| started + timeout),
        head: head.map(|timeout| started + timeout),
        idle: bounds.stream_idle_timeout,
        body_bytes: bounds.max_body_bytes,
    }
}
