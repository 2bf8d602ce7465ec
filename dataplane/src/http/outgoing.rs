//! A request's head as a backend gets it: the rule's edits, and framing by the protocol that is spoken.

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use pingora_http::RequestHeader;
use portcullis_ir::{Filter, UrlRewrite};

use super::forward::Forward;
use super::head::{Body, Facts, join_cookies};
use super::headers::{CHUNKED, Seen, TRAILERS, X_FORWARDED_HOST};
use super::{grpc, respond};
use crate::policy::RequestEdits;

const UPGRADING: HeaderValue = HeaderValue::from_static("upgrade");

/// What is the same for every try: filters, host, target.
pub(super) fn prepare(head: &mut Parts, facts: &Facts, forward: &Forward<'_>, edits: Option<&RequestEdits>) {
    if let Some(target) = &forward.target {
        head.uri = Uri::clone(target);
    }
    if let Some(edits) = edits {
        // Before the rule's filters: what the platform takes away, a route's owner may still set.
        edits.apply(head, facts.seen.may_have());
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
pub(super) fn frame(head: &mut Parts, facts: &Facts, end: bool, http2: bool) {
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
    headers.get(CONTENT_TYPE).is_some_and(grpc::is_grpc)
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

/// Used by mirrors, which are sent what the backend is sent.
pub(super) fn framed_copy(head: &Parts, facts: &Facts, end: bool, http2: bool) -> RequestHeader {
    let mut copy = copy(head);
    frame(&mut copy, facts, end, http2);
    RequestHeader::from(copy)
}

pub(super) fn rewrites<'f>(filters: &[&'f [Filter]; 2]) -> impl Iterator<Item = &'f UrlRewrite> {
    filters.iter().flat_map(|filters| filters.iter()).filter_map(|filter| match filter {
        Filter::UrlRewrite(rewrite) => Some(rewrite),
        _ => None,
    })
}
