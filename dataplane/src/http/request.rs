//! One request, from its head to its log line.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};
use portcullis_ir::{Action, PathView};
use portcullis_router::Found;

use super::client::Client;
use super::conn::Conn;
use super::cors::{self, Grant};
use super::downstream::{Downstream, Peeking, RawTarget};
use super::forward::{self, Forward};
use super::head::{self, Body, Facts};
use super::headers::Seen;
use super::local::{self, Failure, Wishes};
use super::log::{Log, Named};
use super::route::{self, Question};
use super::timer::Timer;
use super::upgrade::Tunnel;
use crate::observe::flags;
use crate::policy::{self, Admitted, Asked, Lent, Refusal, Tap};
use crate::program::{CompiledCors, Program, RuleState};

/// How long a client may take for what it gets of a broken response.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// A request as it was read.
pub(super) struct Given {
    pub(super) head: Box<Parts>,
    pub(super) target: RawTarget,
    /// Its head is larger than allowed.
    pub(super) too_large: bool,
    pub(super) started: Instant,
}

/// What is to become of the connection.
pub(super) enum After {
    /// The request is over; the time is when.
    Ended { at: Instant },
    /// The client has less than the whole response, or left.
    Broken,
    /// The backend has changed the protocol: bytes are copied from here on, and the request is over with them.
    Tunnel(Box<Tunnel>),
}

/// How answering went, if it went well.
pub(super) enum Answered {
    Complete,
    /// The client left, or the response could not be completed; the log says why.
    Broken,
    Tunnel(crate::upstream::Upgraded),
}

pub(super) async fn serve(conn: &Conn, down: &mut Downstream, given: Given, timer: &mut Timer) -> After {
    let mut log = Log::new(given.started, protocol(given.head.version));
    let answered = answer(conn, down, given, &mut log, timer).await;
    let patience = match answered {
        Answered::Tunnel(upgraded) => return After::Tunnel(Box::new(Tunnel { upgraded, log })),
        Answered::Broken => {
            down.abort();
            conn.limits().stream_idle_timeout.min(LAST_BYTES)
        }
        Answered::Complete => conn.limits().stream_idle_timeout,
    };
    let flushed = flush(down, patience, timer).await;
    if !flushed {
        log.flags |= flags::DOWNSTREAM_GONE;
    }
    let at = log.finish(conn);
    if !flushed || down.is_broken() { After::Broken } else { After::Ended { at } }
}

async fn answer(conn: &Conn, down: &mut Downstream, given: Given, log: &mut Log, timer: &mut Timer) -> Answered {
    let Given { mut head, target, too_large, started: _ } = given;
    let limits = conn.limits();
    let checked = match head::check(&mut head, &target, down.request_done(), limits) {
        Ok(_) if too_large => Err(Failure::HEAD_TOO_LARGE),
        checked => checked,
    };
    let facts = match checked {
        Ok(facts) => facts,
        Err(failure) => {
            let (host, id) = (head.headers.get(http::header::HOST).cloned(), Some(conn.peer.new_id()));
            let wishes = Wishes::of(head.headers.get(ACCEPT), head.headers.get(CONTENT_TYPE));
            log.request = Some(named(&head, host, conn.info.client, id));
            // What comes behind a head like this one is not to be trusted either.
            down.close_after();
            return refuse(down, &failure, &wishes, log).await;
        }
    };
    let client = conn.peer.identify(&mut head.headers, facts.seen, &conn.worker.shared.settings.trusted_proxies);
    log.request = Some(named(&head, facts.host.clone(), client.address, Some(client.request_id.clone())));
    let program = conn.worker.shared.program.load_full();
    let mut scratch = String::new();
    let (view, found) = match locate(conn, &program, &head, &facts, &mut scratch) {
        Ok(Located::Rule { view, found }) => (view, found),
        Ok(Located::Preflight { found, headers }) => {
            log.rule = Some(std::sync::Arc::clone(found.rule));
            log.flags |= flags::PREFLIGHT;
            return note_sent(local::preflight(down, &headers), log);
        }
        Err(failure) => return refuse(down, &failure, &wishes(&facts, &head, None, None), log).await,
    };
    // From here on a failure is the rule's, and counted there.
    log.rule = Some(std::sync::Arc::clone(found.rule));
    let mut admitted = Admitted::default();
    if let Some(policies) = program.policies(&found) {
        let judged = {
            let mut peeking = Peeking::new(down, &facts);
            let tap = (facts.body != Body::None).then(|| Tap::new(&mut peeking));
            let asking = Asking { conn, program: &program, head: &head, view: &view, client: &client };
            let asked = asking.asked(tap.as_ref().map(|tap| tap as &dyn Lent), log);
            match policy::admit_at_once(policies, &asked) {
                Some(judged) => judged,
                // A box of its own, so that requests without policies do not carry its state.
                None => Box::pin(policy::admit(policies, asked)).await,
            }
        };
        match judged {
            Ok(mut may) => {
                log.shadowed_by = may.shadowed.take();
                log.auth = may.note.take();
                admitted = may;
            }
            Err(mut refusal) => {
                log.auth = refusal.note.take();
                let wishes = wishes(&facts, &head, found.rule.payload.any_cors(), None);
                return turn_away(down, &refusal, &wishes, log).await;
            }
        }
    }
    let failure = match decide(conn, &program, found, &head, &view, &client) {
        Ok(Decided::Forward(mut forward)) => {
            forward.admitted = admitted;
            return forward::run(conn, down, head, &facts, forward, log, timer).await;
        }
        Ok(Decided::Redirect { status, location }) => {
            log.flags |= flags::REDIRECT;
            let mut wishes = wishes(&facts, &head, found.rule.payload.any_cors(), admitted.response);
            wishes.limits = admitted.limits;
            return redirect(down, status, location, &wishes, log).await;
        }
        Err(failure) => failure,
    };
    let mut wishes = wishes(&facts, &head, found.rule.payload.any_cors(), admitted.response);
    wishes.limits = admitted.limits;
    refuse(down, &failure, &wishes, log).await
}

/// The parts of a request that decide, in the form that routes are matched by.
struct View<'a> {
    host: &'a str,
    path: PathView<'a>,
}

enum Located<'p, 'a> {
    Rule { view: View<'a>, found: Found<'p, RuleState> },
    Preflight { found: Found<'p, RuleState>, headers: HeaderMap },
}

fn question<'a>(conn: &'a Conn, head: &'a Parts, view: &'a View<'a>) -> Question<'a> {
    Question {
        info: &conn.info,
        host: view.host,
        method: &head.method,
        headers: &head.headers,
        path: &view.path,
        query: head.uri.query(),
    }
}

/// Which rule takes the request.
fn locate<'p, 'a>(
    conn: &Conn,
    program: &'p Program,
    head: &'a Parts,
    facts: &'a Facts,
    scratch: &'a mut String,
) -> Result<Located<'p, 'a>, Failure> {
    let host = head::normal_host(facts.host.as_ref(), scratch)?;
    let path = PathView::parse(head.uri.path()).map_err(|_| Failure::BAD_PATH)?;
    let view = View { host, path };
    let question = question(conn, head, &view);
    if let Some(method) = cors::asked_method(head)
        && let Some((found, headers)) = preflight(program, &question, &method)?
    {
        return Ok(Located::Preflight { found, headers });
    }
    let found = route::find(program, &question)?;
    Ok(Located::Rule { view, found })
}

/// What policies are asked about.
struct Asking<'a> {
    conn: &'a Conn,
    program: &'a Program,
    head: &'a Parts,
    view: &'a View<'a>,
    client: &'a Client,
}

impl<'a> Asking<'a> {
    fn asked(&self, body: Option<&'a dyn Lent>, log: &Log) -> Asked<'a> {
        let Self { conn, program, head, view, client } = *self;
        Asked {
            worker: &conn.worker,
            program,
            info: &conn.info,
            head,
            host: view.host,
            path: &view.path,
            client: client.address,
            https: client.https,
            body,
            now: log.started(),
        }
    }
}

/// Made once per request and taken apart at once.
#[allow(clippy::large_enum_variant)]
enum Decided<'p> {
    Forward(Forward<'p>),
    Redirect { status: http::StatusCode, location: HeaderValue },
}

/// What the rule makes of the request, before anything is sent anywhere.
fn decide<'p>(
    conn: &Conn,
    program: &'p Program,
    found: Found<'p, RuleState>,
    head: &Parts,
    view: &View<'_>,
    client: &Client,
) -> Result<Decided<'p>, Failure> {
    match &found.rule.route.action {
        Action::Forward(_) => forward::plan(conn, program, found, &view.path, head, client).map(Decided::Forward),
        Action::Redirect(redirect) => route::redirect(redirect, &found, &question(conn, head, view), client)
            .map(|(status, location)| Decided::Redirect { status, location }),
        Action::Fail(failure) => Err(route::invalid(*failure)),
    }
}

/// The rule that would take the request that a preflight asks about answers it, or else the rule that takes the
/// preflight itself, if it has the filter: "any path containing a CORS filter MUST NOT pass the request to the upstream"
/// (GEP-1767). Without the filter a preflight is a request like any other.
#[cold]
fn preflight<'p>(
    program: &'p Program,
    question: &Question<'_>,
    method: &http::Method,
) -> Result<Option<(Found<'p, RuleState>, HeaderMap)>, Failure> {
    for method in [method, question.method] {
        match route::find(program, &Question { method, ..*question }) {
            Ok(found) => {
                if let Some(policy) = found.rule.payload.any_cors() {
                    let headers = cors::preflight(policy, question.headers);
                    return Ok(Some((found, headers)));
                }
            }
            Err(failure) if failure == Failure::NOT_FOUND => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(None)
}

/// An answer of ours to a request that goes no further.
pub(super) async fn refuse(down: &mut Downstream, failure: &Failure, wishes: &Wishes<'_>, log: &mut Log) -> Answered {
    log.flags |= failure.flags;
    log.grpc_status = wishes.grpc_status(failure);
    if failure.flags.contains(flags::BAD_REQUEST) {
        down.note_malformed();
        down.close_after();
    }
    if failure.flags.contains(flags::MISDIRECTED) {
        // The client shall come again on a connection of its own; HTTP/2 clients know to do so.
        down.close_after();
    }
    let id = log.request.as_ref().and_then(|request| request.request_id.clone());
    let sent = poll_fn(|cx| Poll::Ready(local::answer(down, cx, failure, wishes, id.as_ref()))).await;
    note_sent(sent, log)
}

/// The answer of a policy.
async fn turn_away(down: &mut Downstream, refusal: &Refusal, wishes: &Wishes<'_>, log: &mut Log) -> Answered {
    log.flags |= refusal.flags;
    log.denied_by.clone_from(&refusal.by);
    log.grpc_status = wishes.is_grpc().then_some(refusal.grpc);
    let id = log.request.as_ref().and_then(|request| request.request_id.clone());
    let sent = poll_fn(|cx| Poll::Ready(local::refusal(down, cx, refusal, wishes, id.as_ref()))).await;
    note_sent(sent, log)
}

async fn redirect(
    down: &mut Downstream,
    status: http::StatusCode,
    location: HeaderValue,
    wishes: &Wishes<'_>,
    log: &mut Log,
) -> Answered {
    let mut location = Some(location);
    let sent = poll_fn(|cx| {
        let location = location.take().unwrap_or(HeaderValue::from_static("/"));
        Poll::Ready(local::redirect(down, cx, status, location, wishes.added()))
    })
    .await;
    note_sent(sent, log)
}

fn note_sent(sent: Result<(http::StatusCode, u64), super::downstream::ClientError>, log: &mut Log) -> Answered {
    match sent {
        Ok((status, length)) => {
            log.status = status.as_u16();
            log.bytes_out = length;
            Answered::Complete
        }
        Err(_) => {
            log.flags |= flags::DOWNSTREAM_GONE;
            Answered::Broken
        }
    }
}

/// Sends what is left; false if the client left or takes nothing for too long.
async fn flush(down: &mut Downstream, patience: Duration, timer: &mut Timer) -> bool {
    let mut until = None;
    let mut left = usize::MAX;
    poll_fn(|cx| {
        if let Poll::Ready(flushed) = down.poll_flush(cx) {
            return Poll::Ready(flushed.is_ok());
        }
        let pending = down.pending();
        if pending < left || until.is_none() {
            left = pending;
            until = Some(Instant::now() + patience);
        }
        timer.poll(cx, until).map(|()| false)
    })
    .await
}

/// What a local answer depends on; looked up only when there is one.
pub(super) fn wishes<'p>(
    facts: &Facts,
    head: &Parts,
    cors: Option<&'p CompiledCors>,
    told: Option<Box<HeaderMap>>,
) -> Wishes<'p> {
    let headers = &head.headers;
    let accept = if facts.seen.has(Seen::ACCEPT) { headers.get(ACCEPT) } else { None };
    let content_type = if facts.seen.has(Seen::CONTENT_TYPE) { headers.get(CONTENT_TYPE) } else { None };
    let mut wishes = Wishes::of(accept, content_type);
    wishes.cors = cors.map(|policy| Grant::of(policy, headers));
    wishes.told = told;
    wishes
}

fn named(head: &Parts, host: Option<HeaderValue>, client: std::net::SocketAddr, id: Option<HeaderValue>) -> Named {
    Named { method: head.method.clone(), host, target: head.uri.path_and_query().cloned(), client, request_id: id }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 | Version::HTTP_09 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}
