//! Answers of our own: one shape for all of them, and nothing in it that tells of the inside.
//!
//! Plain text by default, JSON if the client prefers it, and for gRPC a head alone that carries the mapped status
//! ("trailers-only"), because a gRPC client sees no HTTP status.

use std::task::Context;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::cors::Grant;
use super::downstream::{ClientError, Downstream, Framing, ResponseHead};
use super::grpc::{GRPC_MESSAGE, GRPC_STATUS, is_grpc};
use crate::observe::{Flags, flags};
use crate::policy::{Admitted, Refusal};
use crate::upstream::{ConnectError, UpstreamError, UpstreamErrorKind};

/// Why we answer instead of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// Status of the gRPC answer.
    grpc: u8,
    pub(super) flags: Flags,
    message: &'static str,
}

macro_rules! failures {
    ($($name:ident = $status:ident, $grpc:literal, $flags:ident, $message:literal;)+) => {
        impl Failure {
            $(pub(super) const $name: Self = Self {
                status: StatusCode::$status,
                grpc: $grpc,
                flags: flags::$flags,
                message: $message,
            };)+
        }
    };
}

// gRPC codes: 3 invalid argument, 4 deadline exceeded, 8 resource exhausted, 12 unimplemented, 13 internal,
// 14 unavailable.
failures! {
    BAD_REQUEST = BAD_REQUEST, 13, BAD_REQUEST, "the request is malformed";
    BAD_HOST = BAD_REQUEST, 13, BAD_REQUEST, "the request must name exactly one valid host";
    BAD_PATH = BAD_REQUEST, 13, BAD_REQUEST, "the path is malformed or leaves its root";
    METHOD = METHOD_NOT_ALLOWED, 12, BAD_REQUEST, "the method is not allowed here";
    HEAD_TIMEOUT = REQUEST_TIMEOUT, 4, DOWNSTREAM_TIMEOUT, "the request did not arrive in time";
    BODY_TIMEOUT = REQUEST_TIMEOUT, 4, DOWNSTREAM_TIMEOUT, "the request body did not arrive in time";
    HEAD_TOO_LARGE = REQUEST_HEADER_FIELDS_TOO_LARGE, 8, REQUEST_LIMIT, "the request headers are too large";
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE, 8, REQUEST_LIMIT, "the request body is too large";
    NOT_FOUND = NOT_FOUND, 12, NO_ROUTE, "no route matches the request";
    MISDIRECTED = MISDIRECTED_REQUEST, 14, MISDIRECTED, "the connection was opened for another host";
    INVALID_BACKEND = INTERNAL_SERVER_ERROR, 14, INVALID_BACKEND, "the route has no valid backend";
    INVALID_ROUTE = INTERNAL_SERVER_ERROR, 14, INVALID_ROUTE, "the route cannot be honoured";
    NO_ENDPOINTS = SERVICE_UNAVAILABLE, 14, NO_ENDPOINTS, "the backend has no endpoint ready";
    NO_CONNECTION = SERVICE_UNAVAILABLE, 14, UPSTREAM_CONNECT_FAILURE, "the backend cannot be reached";
    NOT_READY = SERVICE_UNAVAILABLE, 14, UNAVAILABLE, "the gateway is not ready yet";
    OVERLOADED = SERVICE_UNAVAILABLE, 14, UNAVAILABLE, "the gateway is overloaded";
    UPSTREAM_RESET = BAD_GATEWAY, 14, UPSTREAM_RESET, "the backend closed the connection";
    UPSTREAM_PROTOCOL = BAD_GATEWAY, 14, UPSTREAM_PROTOCOL, "the backend's answer is not valid";
    UPSTREAM_TIMEOUT = GATEWAY_TIMEOUT, 4, UPSTREAM_TIMEOUT, "the backend did not answer in time";
    INTERNAL = INTERNAL_SERVER_ERROR, 13, INTERNAL, "the gateway failed";
}

impl Failure {
    /// What we answer when a backend failed before its head.
    pub(super) fn of(error: &UpstreamError) -> Self {
        match error.kind() {
            UpstreamErrorKind::UnsentReset | UpstreamErrorKind::Reset | UpstreamErrorKind::Truncated => {
                Self::UPSTREAM_RESET
            }
            UpstreamErrorKind::Malformed | UpstreamErrorKind::TooLarge => Self::UPSTREAM_PROTOCOL,
            UpstreamErrorKind::InvalidRequest => Self::BAD_REQUEST,
        }
    }

    /// What we answer when no backend could be connected to.
    pub(super) fn unreachable(error: &ConnectError) -> Self {
        match error {
            ConnectError::Overloaded => Self::OVERLOADED,
            ConnectError::Misconfigured => Self::INVALID_BACKEND,
            _ => Self::NO_CONNECTION,
        }
    }
}

/// What an answer depends on in the request.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes<'p> {
    json: bool,
    grpc: bool,
    /// Which pages may read it.
    pub(super) cors: Option<Grant<'p>>,
    /// What policies tell with it.
    pub(super) admitted: Option<&'p Admitted>,
}

/// What every answer to a request carries, whoever gives it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added<'a> {
    cors: Option<&'a Grant<'a>>,
    admitted: Option<&'a Admitted>,
}

impl Added<'_> {
    /// Whether there is nothing but [`Added::extra`]: then nobody has to copy a map.
    pub(super) fn is_only_extra(&self) -> bool {
        self.cors.is_none() && self.told().is_none()
    }

    fn told(&self) -> Option<&HeaderMap> {
        self.admitted?.response.as_deref()
    }

    /// What can be sent beside a map.
    pub(super) fn extra(&self) -> &[(HeaderName, HeaderValue)] {
        self.admitted.and_then(|admitted| admitted.limits.as_ref()).map_or(&[], |limits| limits.as_slice())
    }

    pub(super) fn apply_all(&self, headers: &mut HeaderMap) {
        self.apply(headers);
        for (name, value) in self.extra() {
            headers.insert(name, value.clone());
        }
    }

    /// All but [`Added::extra`].
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        if let Some(cors) = self.cors {
            cors.apply(headers);
        }
        for (name, value) in self.told().into_iter().flatten() {
            if name == SET_COOKIE {
                // Beside the backend's own, and beside each other.
                headers.append(name, value.clone());
            } else {
                headers.insert(name, value.clone());
            }
        }
    }
}

impl Wishes<'_> {
    /// Asked only when an answer of ours is due.
    pub(super) fn of(accept: Option<&HeaderValue>, content_type: Option<&HeaderValue>) -> Self {
        Self {
            json: accept.is_some_and(prefers_json),
            grpc: content_type.is_some_and(is_grpc),
            cors: None,
            admitted: None,
        }
    }

    pub(super) fn added(&self) -> Added<'_> {
        Added { cors: self.cors.as_ref(), admitted: self.admitted }
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// The status of an answer as gRPC tells it, if that is what the client speaks.
    pub(super) fn grpc_status(&self, failure: &Failure) -> Option<u8> {
        // Which connection to take is decided below gRPC: clients open another one for a 421.
        (self.grpc && failure.status != StatusCode::MISDIRECTED_REQUEST).then_some(failure.grpc)
    }
}

/// Writes the answer; its end included. Returns the HTTP status sent and the body's length.
pub(super) fn answer(
    down: &mut Downstream,
    cx: &mut Context<'_>,
    failure: &Failure,
    wishes: &Wishes<'_>,
    id: Option<&HeaderValue>,
) -> Result<(StatusCode, u64), ClientError> {
    let mut headers = HeaderMap::with_capacity(6);
    wishes.added().apply_all(&mut headers);
    if let Some(status) = wishes.grpc_status(failure) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, u16::from(status).into());
        // Percent-encoded by the letter; our messages hold nothing that would have to be.
        headers.insert(GRPC_MESSAGE, HeaderValue::from_static(failure.message));
        let framing = Framing::Empty;
        let status = StatusCode::OK;
        down.send_head(&ResponseHead { status, reason: None, headers: &headers, extra: &[], framing })?;
        down.finish(None);
        return Ok((status, 0));
    }
    if failure.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    let body = if wishes.json {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        json_body(failure.status, failure.message, id)
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        text_body(failure.status, failure.message, id)
    };
    send_whole(down, cx, failure.status, &headers, body)
}

/// The answer of a policy.
pub(super) fn refusal(
    down: &mut Downstream,
    cx: &mut Context<'_>,
    refusal: &Refusal,
    wishes: &Wishes<'_>,
    id: Option<&HeaderValue>,
) -> Result<(StatusCode, u64), ClientError> {
    let mut headers = refusal.headers.clone();
    wishes.added().apply_all(&mut headers);
    if wishes.grpc {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, u16::from(refusal.grpc).into());
        // Our messages hold nothing that would have to be percent-encoded.
        let message = HeaderValue::from_str(&refusal.message);
        headers.insert(GRPC_MESSAGE, message.unwrap_or(HeaderValue::from_static("denied")));
        let (status, framing) = (StatusCode::OK, Framing::Empty);
        down.send_head(&ResponseHead { status, reason: None, headers: &headers, extra: &[], framing })?;
        down.finish(None);
        return Ok((status, 0));
    }
    let (kind, body) = match &refusal.body {
        Some(body) => ("text/plain; charset=utf-8", body.clone()),
        None if wishes.json => ("application/json", json_body(refusal.status, &refusal.message, id)),
        None => ("text/plain; charset=utf-8", text_body(refusal.status, &refusal.message, id)),
    };
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
    send_whole(down, cx, refusal.status, &headers, body)
}

/// A redirect of a route.
pub(super) fn redirect(
    down: &mut Downstream,
    cx: &mut Context<'_>,
    status: StatusCode,
    location: HeaderValue,
    added: Added<'_>,
) -> Result<(StatusCode, u64), ClientError> {
    let mut headers = HeaderMap::with_capacity(1);
    added.apply_all(&mut headers);
    headers.insert(LOCATION, location);
    send_whole(down, cx, status, &headers, Bytes::new())
}

/// The answer to a CORS preflight: a head alone.
pub(super) fn preflight(down: &mut Downstream, headers: &HeaderMap) -> Result<(StatusCode, u64), ClientError> {
    let status = StatusCode::NO_CONTENT;
    down.send_head(&ResponseHead { status, reason: None, headers, extra: &[], framing: Framing::None })?;
    down.finish(None);
    Ok((status, 0))
}

fn send_whole(
    down: &mut Downstream,
    cx: &mut Context<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, u64), ClientError> {
    let length = body.len() as u64;
    down.send_head(&ResponseHead { status, reason: None, headers, extra: &[], framing: Framing::Length(length) })?;
    down.send_body(cx, body)?;
    down.finish(None);
    Ok((status, length))
}

fn text_body(status: StatusCode, message: &str, id: Option<&HeaderValue>) -> Bytes {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = format!("{} {reason}: {message}\n", status.as_u16());
    if let Some(id) = id.and_then(|id| id.to_str().ok()) {
        text.push_str("request id: ");
        text.push_str(id);
        text.push('\n');
    }
    text.into()
}

fn json_body(status: StatusCode, message: &str, id: Option<&HeaderValue>) -> Bytes {
    let id = id.and_then(|id| id.to_str().ok());
    let mut body = serde_json::json!({ "status": status.as_u16(), "message": message });
    if let (Some(id), Some(object)) = (id, body.as_object_mut()) {
        object.insert("request_id".to_owned(), id.into());
    }
    let mut text = body.to_string();
    text.push('\n');
    text.into()
}

/// JSON is named, and no text is named before it.
fn prefers_json(accept: &HeaderValue) -> bool {
    let Ok(accept) = accept.to_str() else { return false };
    let first = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
    first.into_iter().find_map(|media| match media {
        "application/json" => Some(true),
        other if other.ends_with("+json") => Some(true),
        "text/plain" | "text/html" | "text/*" => Some(false),
        _ => None,
    }) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_given_to_those_who_prefer_it() {
        for (accept, json) in [
            ("application/json", true),
            ("application/problem+json, text/plain", true),
            ("text/html, application/json", false),
            ("*/*", false),
            ("application/xml, application/json;q=0.9", true),
        ] {
            assert_eq!(prefers_json(&HeaderValue::from_static(accept)), json, "{accept}");
        }
    }

    #[test]
    fn what_grpc_is_told_is_what_it_defines_and_a_misdirected_call_is_not_its_affair() {
        let grpc = HeaderValue::from_static("application/grpc");
        let wishes = Wishes::of(None, Some(&grpc));
        for (failure, status) in [
            (Failure::NOT_FOUND, Some(12)),
            (Failure::NO_ENDPOINTS, Some(14)),
            (Failure::INVALID_BACKEND, Some(14)),
            (Failure::UPSTREAM_TIMEOUT, Some(4)),
            (Failure::BODY_TOO_LARGE, Some(8)),
            (Failure::HEAD_TOO_LARGE, Some(8)),
            (Failure::BAD_REQUEST, Some(13)),
            (Failure::MISDIRECTED, None),
        ] {
            assert_eq!(wishes.grpc_status(&failure), status, "{failure:?}");
            assert_eq!(Wishes::default().grpc_status(&failure), None);
            assert!(failure.message.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'%'));
        }
    }

    #[test]
    fn bodies_carry_the_request_id_for_whoever_reports_it() {
        let id = HeaderValue::from_static("abc");
        let Failure { status, message, .. } = Failure::NOT_FOUND;
        let text = text_body(status, message, Some(&id));
        assert_eq!(&text[..], b"404 Not Found: no route matches the request\nrequest id: abc\n");
        let json: serde_json::Value = serde_json::from_slice(&json_body(status, message, Some(&id))).unwrap();
        assert_eq!(json["status"], 404);
        assert_eq!(json["request_id"], "abc");
    }
}
