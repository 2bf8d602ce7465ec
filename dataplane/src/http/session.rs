//! Session persistence (Gateway API `SessionPersistence`, GEP-1619): requests of one session go to one endpoint as long
//! as it is there. The session lives in a token that the client keeps, as a cookie or a header; see
//! [`crate::upstream::Seal`] for what it says.
//!
//! A session goes before weights: a backend of weight 0 keeps the sessions that it has.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_ir as ir;
use portcullis_ir::PathMatch;
use portcullis_router::Found;

use super::headers::is_hop_by_hop;
use crate::program::{CompiledTarget, Program, RuleState};
use crate::upstream::{BackendProgram, EndpointRef, Seal, Token, backend_mark};

/// Values of the session's name that are looked at in one request; browsers send the one of the longest path first.
const MAX_GIVEN: usize = 4;
/// How far the clock of another replica may be ahead of ours.
const CLOCK_SKEW: u32 = 60;

/// A rule's persistence, compiled.
#[derive(Debug)]
pub(crate) struct Persistence {
    carrier: Carrier,
    /// Of the cookie, if the rule says one.
    path: Option<Box<str>>,
    absolute: Option<u32>,
    idle: Option<u32>,
    seal: Seal,
}

#[derive(Debug)]
enum Carrier {
    Cookie { name: Box<str>, permanent: bool },
    Header(HeaderName),
}

/// The name can be carried by no cookie and no header, so the rule cannot do what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidSession;

/// One request's session.
#[derive(Debug)]
pub(super) struct Session<'p> {
    rule: &'p Persistence,
    /// What the client gave, as far as it still holds.
    given: Option<Token>,
    /// The session's endpoint, until the first try takes it.
    endpoint: Option<EndpointRef>,
    path: &'p str,
    /// The client speaks TLS, so that the cookie may be kept from any other connection.
    secure: bool,
    now: u32,
}

/// A header that makes the client keep a token.
#[derive(Debug)]
pub(super) struct Mark(HeaderName, HeaderValue);

impl Persistence {
    /// None: the rule balances every request by itself.
    pub(crate) fn compile(route: &ir::Route) -> Result<Option<Box<Self>>, InvalidSession> {
        let Some(ir::SessionPersistence { name, carrier, path, absolute_timeout, idle_timeout }) =
            route.persistence.as_deref()
        else {
            return Ok(None);
        };
        // Cookies' names are tokens, as headers' are (RFC 6265, 4.1.1).
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| InvalidSession)?;
        let cookie = |permanent| Carrier::Cookie { name: name.clone(), permanent };
        let carrier = match carrier {
            ir::SessionCarrier::SessionCookie => cookie(false),
            ir::SessionCarrier::PermanentCookie => cookie(true),
            // Names that frame a message or mean something to a proxy.
            ir::SessionCarrier::Header
                if is_hop_by_hop(&header) || [HOST, CONTENT_LENGTH, COOKIE, SET_COOKIE].contains(&header) =>
            {
                return Err(InvalidSession);
            }
            ir::SessionCarrier::Header => Carrier::Header(header),
        };
        let seal = Seal::new(route, name).ok_or(InvalidSession)?;
        let (absolute, idle) = (absolute_timeout.map(seconds), idle_timeout.map(seconds));
        let path = path.clone();
        Ok(Some(Box::new(Self { carrier, path, absolute, idle, seal })))
    }

    /// The first token in a request that is ours and not over.
    fn read(&self, headers: &HeaderMap, now: u32) -> Option<Token> {
        let open = |text: &[u8]| self.seal.open(text).filter(|token| self.is_current(token, now));
        match &self.carrier {
            Carrier::Header(name) => {
                headers.get_all(name).into_iter().take(MAX_GIVEN).find_map(|value| open(value.as_bytes()))
            }
            Carrier::Cookie { name, .. } => {
                let pairs =
                    headers.get_all(COOKIE).into_iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
                let values = pairs.filter_map(|pair| {
                    let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
                    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
                });
                values.take(MAX_GIVEN).find_map(open)
            }
        }
    }

    fn is_current(&self, token: &Token, now: u32) -> bool {
        let Token { begun, used, .. } = *token;
        let within = |since: u32, limit: Option<u32>| limit.is_none_or(|limit| now.saturating_sub(since) < limit);
        begun <= now.saturating_add(CLOCK_SKEW)
            && used <= now.saturating_add(CLOCK_SKEW)
            && within(begun, self.absolute)
            && within(used, self.idle)
    }
}

impl<'p> Session<'p> {
    /// What a request says of its session; none if its rule knows no sessions.
    pub(super) fn of(found: &Found<'p, RuleState>, headers: &HeaderMap, secure: bool) -> Option<Box<Self>> {
        let rule = found.rule.payload.persistence()?;
        let now = now();
        let given = rule.read(headers, now);
        let path = rule.path.as_deref().unwrap_or_else(|| cookie_path(&found.matched.path));
        Some(Box::new(Self { rule, given, endpoint: None, path, secure, now }))
    }

    /// The target that the session belongs to, if its endpoint can take a request. Takes hold of the endpoint.
    pub(super) fn target(&mut self, program: &Program, state: &RuleState) -> Option<usize> {
        let Token { address, backend: mark, .. } = self.given?;
        for (index, target) in state.targets.iter().enumerate() {
            if let CompiledTarget::Backend(slot) = target
                && let Some(backend) = program.backend(*slot)
                && backend.broken().is_none()
                && backend_mark(&backend.backend.key) == mark
                && let Some(endpoint) = backend.stick(address)
            {
                self.endpoint = Some(endpoint);
                return Some(index);
            }
        }
        // Balanced anew, and a session of its own from here on.
        self.given = None;
        None
    }

    /// The endpoint that the session belongs to; once.
    pub(super) fn take_endpoint(&mut self) -> Option<EndpointRef> {
        self.endpoint.take()
    }

    /// What the client is told with the answer of an endpoint; nothing if it knows already.
    pub(super) fn mark(&self, backend: &BackendProgram, address: SocketAddr) -> Option<Mark> {
        let Self { rule, given, now, .. } = self;
        let now = *now;
        let mark = backend_mark(&backend.backend.key);
        let kept = given.filter(|token| token.address == address && token.backend == mark);
        if kept.is_some_and(|token| rule.idle.is_none() || token.used == now) {
            return None;
        }
        let begun = kept.map_or(now, |token| token.begun);
        let token = rule.seal.seal(&Token { address, backend: mark, begun, used: now })?;
        match &rule.carrier {
            // Digits: always a valid value.
            Carrier::Header(name) => Some(Mark(name.clone(), HeaderValue::try_from(token).ok()?)),
            Carrier::Cookie { name, permanent } => {
                let mut cookie = format!("{name}={token}; Path={}; HttpOnly; SameSite=Strict", self.path);
                if self.secure {
                    cookie.push_str("; Secure");
                }
                if let (true, Some(absolute)) = (permanent, rule.absolute) {
                    let left = absolute.saturating_sub(now.saturating_sub(begun));
                    cookie.push_str("; Max-Age=");
                    cookie.push_str(&left.to_string());
                }
                Some(Mark(SET_COOKIE, HeaderValue::try_from(cookie).ok()?))
            }
        }
    }
}

impl Mark {
    /// Beside what the backend sets: it may have cookies of its own.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        let Self(name, value) = self;
        if *name == SET_COOKIE {
            headers.append(name, value.clone());
        } else {
            headers.insert(name, value.clone());
        }
    }
}

/// "The `Path` should be interpreted based on the route path that was matched"; of a regular expression the longest
/// prefix that is none (GEP-1619).
fn cookie_path(matched: &PathMatch) -> &str {
    let path = match matched {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => path,
        // Of any service.
        PathMatch::GrpcMethod(_) => "/",
        PathMatch::Regex(pattern) => {
            let text = pattern.as_str();
            let text = text.strip_prefix('^').unwrap_or(text);
            let literal = text.find(|char: char| r"\.+*?()|[]{}^$".contains(char)).map_or(text, |end| &text[..end]);
            let end = if text.contains('|') { 0 } else { literal.rfind('/').unwrap_or(0) };
            &literal[..end]
        }
    };
    let fits = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    if fits { path } else { "/" }
}

fn now() -> u32 {
    // A clock before 1970 ends sessions; it breaks nothing.
    seconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
