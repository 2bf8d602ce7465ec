//! What a request's head must be before anything is decided on it: every ambiguity is refused, and what belongs to the
//! client's connection is taken off.

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use portcullis_ir::{Authority, Host};

use super::downstream::RawTarget;
use super::headers::{
    HTTP2_SETTINGS, KEEP_ALIVE, PROXY_CONNECTION, Seen, content_length, has_token, is_forwarding, is_hop_by_hop,
    is_plain_connection, tokens,
};
use super::local::Failure;
use crate::settings::HttpLimits;

/// What the head said, once it has been found good.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) seen: Seen,
    /// As sent; none only on HTTP/1.0.
    pub(super) host: Option<HeaderValue>,
    /// The protocol that the client wants to change to, if this request may do so.
    pub(super) upgrade: Option<HeaderValue>,
    /// The client takes trailers.
    pub(super) takes_trailers: bool,
    pub(super) body: Body,
}

/// The request's body, as announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Unknown,
}

/// Checks and cleans a head. `target` is what only an HTTP/1 request line tells; `body_done` that no body follows.
pub(super) fn check(
    head: &mut Parts,
    target: &RawTarget,
    body_done: bool,
    limits: &HttpLimits,
) -> Result<Facts, Failure> {
    // First, because a proxy that lets CONNECT through is an open one; TRACE would echo what hops before us added.
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Failure::METHOD);
    }
    if head.headers.len() > limits.max_headers {
        return Err(Failure::HEAD_TOO_LARGE);
    }
    if *target == RawTarget::Other {
        return Err(Failure::BAD_REQUEST);
    }
    let seen = Seen::of(&head.headers);
    let host = settle_host(head, target, seen)?;
    let body = settle_body(head, seen, body_done, limits)?;
    let takes_trailers = seen.has(Seen::TE) && has_token(&head.headers, &TE, "trailers");
    let upgrade = wanted_upgrade(head, seen, body);
    remove_hop_by_hop(&mut head.headers, seen)?;
    Ok(Facts { seen, host, upgrade, takes_trailers, body })
}

/// The host in normal form; empty if there is none. Borrows from `raw` when it is in normal form.
pub(super) fn normal_host<'a>(raw: Option<&'a HeaderValue>, scratch: &'a mut String) -> Result<&'a str, Failure> {
    let Some(raw) = raw else { return Ok("") };
    let text = raw.to_str().map_err(|_| Failure::BAD_HOST)?;
    if is_normal(raw.as_bytes()) {
        return Ok(text);
    }
    let (host, _) = Authority::split(text).map_err(|_| Failure::BAD_HOST)?;
    Host::normalise(host, scratch).map_err(|_| Failure::BAD_HOST)
}

/// The usual case, told in one pass: a name in normal form already, and no port.
fn is_normal(host: &[u8]) -> bool {
    // As if a dot came before the first and after the last character: no label may be empty.
    let mut dot = true;
    for &byte in host {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => dot = false,
            b'.' if !dot => dot = true,
            _ => return false,
        }
    }
    !dot && host.len() <= Host::MAX_LENGTH
}

/// Of what the backend is sent; extensions stay with us.
pub(super) fn copy(head: &Parts) -> Parts {
    let mut copy = http::Request::new(()).into_parts().0;
    copy.method = head.method.clone();
    copy.uri = head.uri.clone();
    copy.version = head.version;
    copy.headers = head.headers.clone();
    copy
}

/// Joins `Cookie` headers that HTTP/2 lets a client split (RFC 9113, 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes).collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

/// One authority, wherever it is said: `Host`, `:authority` or an absolute target. Leaves it in `Host`.
fn settle_host(head: &mut Parts, target: &RawTarget, seen: Seen) -> Result<Option<HeaderValue>, Failure> {
    if seen.has(Seen::TWO_HOSTS) {
        return Err(Failure::BAD_HOST);
    }
    let said = match (head.uri.authority(), target) {
        (Some(authority), _) => Some(authority.as_str()),
        (None, RawTarget::Absolute(authority)) => Some(&**authority),
        (None, _) => None,
    };
    // Among the first, as a rule: found sooner than its name is hashed.
    let host = head.headers.iter().find(|(name, _)| **name == HOST).map(|(_, host)| host.clone());
    match (host, said) {
        (Some(host), None) => Ok(Some(host)),
        (Some(host), Some(said)) if host.as_bytes() == said.as_bytes() => Ok(Some(host)),
        (None, Some(said)) if head.version != Version::HTTP_11 => {
            let host = HeaderValue::from_str(said).map_err(|_| Failure::BAD_HOST)?;
            head.headers.insert(HOST, host.clone());
            Ok(Some(host))
        }
        (None, None) if head.version == Version::HTTP_10 => Ok(None),
        // Two that differ; none at all; or an HTTP/1.1 request without `Host`.
        _ => Err(Failure::BAD_HOST),
    }
}

fn settle_body(head: &mut Parts, seen: Seen, body_done: bool, limits: &HttpLimits) -> Result<Body, Failure> {
    if seen.has(Seen::TRANSFER_ENCODING) {
        // Another coding would have to be undone by us: the bytes behind us would no longer be what they claim to be.
        let mut codings = tokens(&head.headers, &TRANSFER_ENCODING);
        let chunked = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        return if chunked && codings.next().is_none() { Ok(Body::Unknown) } else { Err(Failure::BAD_REQUEST) };
    }
    if !seen.has(Seen::CONTENT_LENGTH) {
        return Ok(if body_done { Body::None } else { Body::Unknown });
    }
    let length = content_length(&head.headers).map_err(|()| Failure::BAD_REQUEST)?.unwrap_or(0);
    if limits.max_body_bytes.is_some_and(|limit| length > limit) {
        return Err(Failure::BODY_TOO_LARGE);
    }
    if seen.has(Seen::LENGTHS) {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(Body::Length(length))
}

/// Only HTTP/1.1 requests without a body may change the protocol, and never to HTTP/2 behind our back.
fn wanted_upgrade(head: &Parts, seen: Seen, body: Body) -> Option<HeaderValue> {
    let asked = seen.has(Seen::UPGRADE)
        && head.version == Version::HTTP_11
        && matches!(body, Body::None | Body::Length(0))
        && has_token(&head.headers, &CONNECTION, "upgrade");
    if !asked {
        return None;
    }
    let mut values = head.headers.get_all(UPGRADE).into_iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    (!value.as_bytes().to_ascii_lowercase().starts_with(b"h2")).then(|| value.clone())
}

/// Takes off what belongs to the client's connection, and what it nominates as such.
fn remove_hop_by_hop(headers: &mut HeaderMap, seen: Seen) -> Result<(), Failure> {
    let hop = [Seen::CONNECTION, Seen::TE, Seen::TRANSFER_ENCODING, Seen::UPGRADE, Seen::OTHER_HOP];
    if !hop.into_iter().any(|name| seen.has(name)) {
        return Ok(());
    }
    if seen.has(Seen::CONNECTION) {
        let plain = headers.get_all(CONNECTION).into_iter().all(|value| is_plain_connection(value.as_bytes()));
        if !plain {
            remove_nominated(headers)?;
        }
        headers.remove(CONNECTION);
    }
    if seen.has(Seen::TE) {
        headers.remove(TE);
    }
    if seen.has(Seen::TRANSFER_ENCODING) {
        headers.remove(TRANSFER_ENCODING);
    }
    if seen.has(Seen::UPGRADE) {
        headers.remove(UPGRADE);
    }
    if seen.has(Seen::OTHER_HOP) {
        for name in [KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS] {
            headers.remove(name);
        }
        headers.remove(http::header::PROXY_AUTHORIZATION);
        headers.remove(http::header::PROXY_AUTHENTICATE);
    }
    Ok(())
}

/// What a client may not nominate: names that decide where the request goes, how long it is, or whom it is from.
fn remove_nominated(headers: &mut HeaderMap) -> Result<(), Failure> {
    let mut nominated = Vec::new();
    for token in tokens(headers, &CONNECTION) {
        let name = HeaderName::from_bytes(token).map_err(|_| Failure::BAD_REQUEST)?;
        let protected = name == HOST
            || name == CONTENT_LENGTH
            || name == http::header::FORWARDED
            || is_forwarding(name.as_str())
            || name == super::headers::X_REQUEST_ID;
        if protected {
            return Err(Failure::BAD_REQUEST);
        }
        if !is_hop_by_hop(&name) && name.as_str() != "close" {
            nominated.push(name);
        }
    }
    for name in nominated {
        headers.remove(name);
    }
    Ok(())
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
