//! A request on its way to a backend: which one, in what form, and how often it is tried.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use pingora_http::RequestHeader;
use portcullis_ir::{Filter, PathView, UrlRewrite};
use portcullis_router::Found;

use super::conn::Conn;
use super::downstream::{Downstream, parse_again};
use super::exchange::{self, Ended, Exchange, Limits, earlier};
use super::head::{self, Body, Facts, join_cookies};
use super::headers::{CHUNKED, Seen, TRAILERS, X_FORWARDED_HOST, X_REQUEST_ID};
use super::local::Failure;
use super::log::Log;
use super::mirror::{self, Feeds};
use super::request::{Answered, refuse};
use super::timer::Timer;
use super::{respond, retry, route};
use crate::observe::{ConnectOutcome, flags};
use crate::program::{CompiledTarget, Program, RuleState};
use crate::upstream::{BackendProgram, ConnectError, Upstream, Want};

const UPGRADING: HeaderValue = HeaderValue::from_static("upgrade");
/// How long connecting may take when nothing else bounds it; the backend's own timeout is shorter.
const CONNECT_BOUND: Duration = Duration::from_secs(60);
/// How long the first request for a name waits for its addresses.
const RESOLVE_BOUND: Duration = Duration::from_secs(5);

/// Where a request goes. Borrows from the program that decided it.
pub(super) struct Forward<'p> {
    pub(super) found: Found<'p, RuleState>,
    backend: &'p Arc<BackendProgram>,
    /// Of the backend, and of the rule.
    filters: [&'p [Filter]; 2],
    /// None: the target stays as it came.
    target: Option<Uri>,
    mirrors: Vec<&'p Arc<BackendProgram>>,
}

/// Picks the backend and settles what the request becomes for it.
pub(super) fn plan<'p>(
    conn: &Conn,
    program: &'p Program,
    found: Found<'p, RuleState>,
    path: &PathView<'_>,
    uri: &Uri,
) -> Result<Forward<'p>, Failure> {
    let state = &found.rule.payload;
    let index = state.pick.pick(conn.worker.id).ok_or(Failure::INVALID_BACKEND)?;
    let backend = match state.targets.get(index) {
        Some(CompiledTarget::Backend(slot)) => program.backend(*slot).ok_or(Failure::INVALID_BACKEND)?,
        Some(CompiledTarget::Fail(failure)) => return Err(route::invalid(*failure)),
        None => return Err(Failure::INVALID_BACKEND),
    };
    let own = route::backends(&found).get(index).map_or(&[][..], |weighted| &weighted.filters);
    let filters = [own, &found.rule.route.filters];
    let rewrite = rewrites(&filters).find_map(|rewrite| rewrite.path.as_ref());
    let target = route::rewritten_target(rewrite, &found, path, uri)?;
    let mirrors = mirror::due(program, state, index);
    Ok(Forward { found, backend, filters, target, mirrors })
}

pub(super) async fn run(
    conn: &Conn,
    down: &mut Downstream,
    mut head: Box<Parts>,
    facts: &Facts,
    forward: Forward<'_>,
    log: &mut Log,
    timer: &mut Timer,
) -> Answered {
    // Before filters can change what they were asked by.
    let wishes = super::request::wishes(facts, &head);
    let method = head.method.clone();
    prepare(&mut head, facts, &forward);
    log.backend = Some(Arc::clone(forward.backend));
    let mut feeds = mirror::start(conn, &forward.mirrors, &head, facts);
    let limits = limits(conn, &forward, log.started());
    let head = Head::Ready(head);
    let mut tries = Tries { head, facts, method: &method, forward: &forward, limits, want: Want::Any };
    let ended = tries.run(conn, down, log, timer, &mut feeds).await;
    match ended {
        Ended::Complete => Answered::Complete,
        Ended::Broken => Answered::Broken,
        Ended::Tunnel(upgraded) => Answered::Tunnel(upgraded),
        Ended::Failed(failure, _) => refuse(down, &failure, &wishes, log).await,
    }
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
    limits: Limits,
    want: Want,
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
        if self.facts.upgrade.is_some() {
            self.want = Want::Http1Only;
        }
        loop {
            log.attempts += 1;
            let endpoint = match self.pick(conn, avoid.as_deref()).await {
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
                    self.count(conn, error);
                    let late = self.limits.total.is_some_and(|total| total <= Instant::now());
                    if late || log.attempts >= retry::MAX_TRIES || !error.blames_endpoint() {
                        return Ended::Failed(if late { Failure::UPSTREAM_TIMEOUT } else { unreachable(error) }, None);
                    }
                    avoid = Some(Arc::clone(endpoint.shared()));
                    last = unreachable(error);
                    continue;
                }
            };
            let reused = up.reused();
            let sent_at = self.note_connected(conn, &up, log, now);
            let ended = self.attempt(conn, down, up, log, timer, feeds, sent_at).await;
            let Ended::Failed(_, Some(error)) = &ended else { return ended };
            let failed = retry::Failed {
                tries: log.attempts,
                method: self.method,
                body: self.facts.body,
                body_begun: log.bytes_in > 0 || (down.request_done() && self.facts.body == Body::Unknown),
                reused,
            };
            if matches!(self.head, Head::Gone) || !retry::may_resend(&failed, error) {
                return ended;
            }
            log.flags |= flags::RETRIED;
            if self.want == Want::Any {
                self.want = Want::Fresh;
            }
            avoid = Some(Arc::clone(endpoint.shared()));
        }
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
        let keep = log.attempts < retry::MAX_TRIES && retry::is_conceivable(up.reused(), up.is_http2());
        let head = match std::mem::replace(&mut self.head, Head::Gone) {
            Head::Ready(head) => Some(head),
            Head::ReadAgain => self.read_again(conn, down, log),
            Head::Gone => None,
        };
        let Some(mut head) = head else { return Ended::Failed(Failure::INTERNAL, None) };
        if keep {
            self.head = if down.keeps_head() { Head::ReadAgain } else { Head::Ready(Box::new(copy(&head))) };
        }
        let end = down.request_done();
        frame(&mut head, self.facts, end, up.is_http2());
        log.sent_at = Some(sent_at);
        if let Err(error) = up.write_head(Box::new(RequestHeader::from(*head)), end).await {
            return Ended::Failed(exchange::failure(&error), Some(error));
        }
        let Limits { total, head, .. } = self.limits;
        let backend = self.forward.found.rule.route.timeouts.backend_request.map(|timeout| sent_at + timeout);
        let limits = Limits { total, head: earlier(head, backend), ..self.limits };
        let upgrade = self.facts.upgrade.as_ref();
        let (method, filters) = (self.method, self.forward.filters);
        let drain = &conn.drain;
        exchange::run(Exchange { down, up, timer, log, feeds, method, upgrade, filters, limits, drain }, sent_at).await
    }

    /// What [`run`] began with, made once more from what the client sent.
    fn read_again(&self, conn: &Conn, down: &Downstream, log: &Log) -> Option<Box<Parts>> {
        let (mut head, target) = parse_again(&down.raw_head()?)?;
        let facts = head::check(&mut head, &target, true, conn.limits()).ok()?;
        conn.peer.identify(&mut head.headers, facts.seen, &conn.worker.shared.settings.trusted_proxies);
        if let Some(id) = log.request.as_ref().and_then(|request| request.request_id.clone()) {
            head.headers.insert(X_REQUEST_ID, id);
        }
        prepare(&mut head, self.facts, self.forward);
        Some(head)
    }

    async fn pick(
        &self,
        conn: &Conn,
        avoid: Option<&crate::upstream::Endpoint>,
    ) -> Option<crate::upstream::EndpointRef> {
        let backend = self.forward.backend;
        if let Some(endpoint) = conn.worker.upstreams.pick(backend, avoid) {
            return Some(endpoint);
        }
        // Names that were never resolved: the first request waits instead of failing. At once for everything else.
        let _ = tokio::time::timeout(RESOLVE_BOUND, backend.resolved_once()).await;
        conn.worker.upstreams.pick(backend, avoid)
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

    fn count(&self, conn: &Conn, error: ConnectError) {
        conn.worker.shared.metrics.upstream_connect(match error {
            ConnectError::Refused => ConnectOutcome::Refused,
            ConnectError::Timeout => ConnectOutcome::Timeout,
            ConnectError::Tls(_) => ConnectOutcome::Tls,
            ConnectError::Overloaded => ConnectOutcome::Limit,
            ConnectError::Misconfigured | ConnectError::Protocol => ConnectOutcome::Other,
        });
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

fn unreachable(error: ConnectError) -> Failure {
    match error {
        ConnectError::Overloaded => Failure::OVERLOADED,
        _ => Failure::NO_CONNECTION,
    }
}

/// What is the same for every try: filters, host, target.
fn prepare(head: &mut Parts, facts: &Facts, forward: &Forward<'_>) {
    if let Some(target) = &forward.target {
        head.uri = target.clone();
    }
    if head.version != Version::HTTP_11 && facts.seen.has(Seen::EXPECT) && head.version != Version::HTTP_2 {
        // HTTP/1.0 knows no 100.
        head.headers.remove(EXPECT);
    }
    head.version = Version::HTTP_11;
    if let Some(hostname) = rewrites(&forward.filters).find_map(|rewrite| rewrite.hostname.as_ref())
        && let Ok(host) = HeaderValue::from_str(hostname.as_str())
        && let Some(before) = head.headers.insert(HOST, host)
        && !head.headers.contains_key(X_FORWARDED_HOST)
    {
        head.headers.insert(X_FORWARDED_HOST, before);
    }
    for filter in forward.filters.into_iter().rev().flatten() {
        if let Filter::RequestHeaders(edits) = filter {
            respond::edit(&mut head.headers, edits);
        }
    }
}

/// What depends on the protocol that the backend speaks. Framing is written anew.
fn frame(head: &mut Parts, facts: &Facts, end: bool, http2: bool) {
    let headers = &mut head.headers;
    if http2 {
        if facts.takes_trailers || is_grpc(headers) {
            headers.insert(TE, TRAILERS);
        }
        return;
    }
    if facts.seen.has(Seen::COOKIES) {
        join_cookies(headers);
    }
    match facts.body {
        Body::Unknown if !end => {
            headers.insert(TRANSFER_ENCODING, CHUNKED);
        }
        Body::None | Body::Unknown if may_have_body(&head.method) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Body::None | Body::Unknown | Body::Length(_) => {}
    }
    if let Some(protocol) = &facts.upgrade {
        headers.insert(CONNECTION, UPGRADING);
        headers.insert(UPGRADE, protocol.clone());
    }
}

/// Methods for which a missing length could be taken for a missing body (RFC 9110, 8.6).
fn may_have_body(method: &Method) -> bool {
    *method == Method::POST || *method == Method::PUT || *method == Method::PATCH
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(super::local::is_grpc)
}

fn rewrites<'f>(filters: &[&'f [Filter]; 2]) -> impl Iterator<Item = &'f UrlRewrite> {
    filters.iter().flat_map(|filters| filters.iter()).filter_map(|filter| match filter {
        Filter::UrlRewrite(rewrite) => Some(rewrite),
        _ => None,
    })
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

/// Of what the backend is sent; extensions stay with us.
fn copy(head: &Parts) -> Parts {
    let mut copy = http::Request::new(()).into_parts().0;
    copy.method = head.method.clone();
    copy.uri = head.uri.clone();
    copy.version = head.version;
    copy.headers = head.headers.clone();
    copy
}

/// Used by mirrors, which are sent what the backend is sent.
pub(super) fn framed_copy(head: &Parts, facts: &Facts, end: bool, http2: bool) -> RequestHeader {
    let mut copy = copy(head);
    frame(&mut copy, facts, end, http2);
    RequestHeader::from(copy)
}
