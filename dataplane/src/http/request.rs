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
use super::cors;
use super::downstream::{Downstream, Peeking, RawTarget};
use super::first::{self, Stopped};
use super::forward::{self, Forward};
use super::head::{self, Body, Facts};
use super::local::{self, Failure, Wishes};
use super::log::{Log, Named};
use super::reply::{note_sent, redirect, refuse, turn_away, wishes};
use super::route::{self, Question};
use super::timer::Timer;
use super::upgrade::Tunnel;
use crate::observe::flags;
use crate::policy::{self, Admitted, Asked, AtOnce, Lent, Policies, Refusal, Settled, Tap};
use crate::program::{Program, RuleState};

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
    let mut facts = match checked {
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
    let mut first: Option<Box<Admitted>> = None;
    if program.asks_first() {
        match Box::pin(first::admit(conn, &program, down, &mut head, &mut facts, &client, log)).await {
            Ok(may) => first = may.matters().then(|| Box::new(may)),
            Err(Stopped::Failed(failure)) => {
                return refuse(down, &failure, &wishes(&facts, &head, None, None), log).await;
            }
            Err(Stopped::Denied(refusal)) => {
                return turn_away(down, &refusal, &wishes(&facts, &head, None, None), log).await;
            }
        }
    }
    let mut scratch = String::new();
    let view = View::of(&head, &facts, &mut scratch);
    let located = view.and_then(|view| Ok((locate(conn, &program, &head, &view)?, view)));
    let (found, view) = match located {
        Ok((Located::Rule(found), view)) => (found, view),
        Ok((Located::Preflight(preflight), _)) => {
            log.rule = Some(std::sync::Arc::clone(preflight.0.rule));
            log.flags |= flags::PREFLIGHT;
            return note_sent(local::preflight(down, &preflight.1), log);
        }
        Err(failure) => {
            return refuse(down, &failure, &wishes(&facts, &head, None, first.as_deref()), log).await;
        }
    };
    // From here on a failure is the rule's, and counted there.
    log.rule = Some(std::sync::Arc::clone(found.rule));
    let rest = Rest { conn, program: &program, found, facts: &facts, client: &client };
    let settled = match program.policies(&found) {
        None => first.map_or(Settled::Nothing, |first| Settled::from(*first)),
        Some(policies) => {
            let at_once = match first {
                None => {
                    let (who, of) = ((client.address.ip(), log.started()), (&*conn.worker, &*conn.info));
                    match policies.pass(&head.headers, who, of, &mut log.auth) {
                        Some(settled) => AtOnce::Go(settled),
                        None => {
                            let asked = view.asked(conn, &program, &head, &client, None, log.started());
                            policy::admit_at_once(policies, &asked, &mut log.auth)
                        }
                    }
                }
                Some(_) => AtOnce::Wait,
            };
            let judged = match at_once {
                AtOnce::Go(settled) => Ok(settled),
                AtOnce::Refuse(refusal) => Err(refusal),
                // A box of its own, so that requests without policies do not carry its state.
                AtOnce::Wait => Box::pin(rest.admit(policies, &head, &view, first, down, log)).await,
            };
            match judged {
                Ok(settled) => settled,
                Err(refusal) => {
                    let wishes = wishes(&facts, &head, found.rule.payload.any_cors(), None);
                    return turn_away(down, &refusal, &wishes, log).await;
                }
            }
        }
    };
    let decided = rest.decide(&head, &view);
    rest.carry_out(decided, head, settled, down, log, timer).await
}

/// What is known of a request once its rule is found.
#[derive(Clone, Copy)]
struct Rest<'a> {
    conn: &'a Conn,
    program: &'a Program,
    found: Found<'a, RuleState>,
    facts: &'a Facts,
    client: &'a Client,
}

impl<'a> Rest<'a> {
    /// What policies say, some of which may have to be waited for. `first` is what was settled before the rule was found.
    async fn admit(
        self,
        policies: Policies<'_>,
        head: &Parts,
        view: &View<'_>,
        first: Option<Box<Admitted>>,
        down: &mut Downstream,
        log: &mut Log,
    ) -> Result<Settled<'a>, Box<Refusal>> {
        let first = first.map(|first| *first).unwrap_or_default();
        let mut peeking = Peeking::new(down, self.facts);
        let tap = (self.facts.body != Body::None).then(|| Tap::new(&mut peeking));
        let body = tap.as_ref().map(|tap| tap as &dyn Lent);
        let asked = view.asked(self.conn, self.program, head, self.client, body, log.started());
        let mut admitted = policy::admit(policies, asked, first, &mut log.auth).await?;
        if let Some(shadowed) = admitted.shadowed.take() {
            log.judged().shadowed_by = Some(shadowed);
        }
        Ok(admitted.into())
    }

    /// What the rule makes of the request, before anything is sent anywhere.
    fn decide(self, head: &Parts, view: &View<'_>) -> Result<Decided<'a>, Failure> {
        let Self { conn, program, found, client, facts: _ } = self;
        match &found.rule.route.action {
            Action::Forward(_) => forward::plan(conn, program, found, &view.path, head, client).map(Decided::Forward),
            Action::Redirect(redirect) => route::redirect(redirect, &found, &question(conn, head, view), client)
                .map(|(status, location)| Decided::Redirect { status, location }),
            Action::Fail(failure) => Err(route::invalid(*failure)),
        }
    }

    async fn carry_out(
        self,
        decided: Result<Decided<'a>, Failure>,
        head: Box<Parts>,
        settled: Settled<'a>,
        down: &mut Downstream,
        log: &mut Log,
        timer: &mut Timer,
    ) -> Answered {
        let Self { conn, found, facts, .. } = self;
        let failure = match decided {
            Ok(Decided::Forward(mut forward)) => {
                forward.settled = settled;
                return forward::run(conn, down, head, facts, forward, log, timer).await;
            }
            Ok(Decided::Redirect { status, location }) => {
                log.flags |= flags::REDIRECT;
                let wishes = wishes(facts, &head, found.rule.payload.any_cors(), settled.answered());
                return redirect(down, status, location, &wishes, log).await;
            }
            Err(failure) => failure,
        };
        let wishes = wishes(facts, &head, found.rule.payload.any_cors(), settled.answered());
        refuse(down, &failure, &wishes, log).await
    }
}

/// The parts of a request that decide, in the form that routes are matched by.
pub(super) struct View<'a> {
    pub(super) host: &'a str,
    path: PathView<'a>,
}

impl<'a> View<'a> {
    pub(super) fn of(head: &'a Parts, facts: &'a Facts, scratch: &'a mut String) -> Result<Self, Failure> {
        let host = head::normal_host(facts.host.as_ref(), scratch)?;
        let path = PathView::parse(head.uri.path()).map_err(|_| Failure::BAD_PATH)?;
        Ok(Self { host, path })
    }

    /// What policies are asked about the request.
    pub(super) fn asked<'b>(
        &'b self,
        conn: &'b Conn,
        program: &'b Program,
        head: &'b Parts,
        client: &Client,
        body: Option<&'b dyn Lent>,
        now: Instant,
    ) -> Asked<'b> {
        Asked {
            worker: &conn.worker,
            program,
            info: &conn.info,
            head,
            host: self.host,
            path: &self.path,
            client: client.address,
            https: client.https,
            body,
            now,
        }
    }
}

enum Located<'p> {
    Rule(Found<'p, RuleState>),
    Preflight(Box<(Found<'p, RuleState>, HeaderMap)>),
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
fn locate<'p>(conn: &Conn, program: &'p Program, head: &Parts, view: &View<'_>) -> Result<Located<'p>, Failure> {
    let question = question(conn, head, view);
    if let Some(method) = cors::asked_method(head)
        && let Some(preflight) = preflight(program, &question, &method)?
    {
        return Ok(Located::Preflight(Box::new(preflight)));
    }
    route::find(program, &question).map(Located::Rule)
}

/// Made once per request and taken apart at once.
#[allow(clippy::large_enum_variant)]
enum Decided<'p> {
    Forward(Forward<'p>),
    Redirect { status: http::StatusCode, location: HeaderValue },
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
