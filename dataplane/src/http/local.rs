//! Answers of our own: one shape for all of them, and nothing in it that tells of the inside.
//!
//! Plain text by default, JSON if the client prefers it, and for gRPC a head alone that carries the mapped status
//! ("trailers-only"), because a gRPC client sees no HTTP status.

use std::task::Context;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::downstream::{ClientError, Downstream, Framing, ResponseHead};
use crate::observe::{Flags, flags};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

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

/// What an answer depends on in the request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    json: bool,
    grpc: bool,
}

impl Wishes {
    /// Asked only when an answer of ours is due.
    pub(super) fn of(accept: Option<&HeaderValue>, content_type: Option<&HeaderValue>) -> Self {
        Self { json: accept.is_some_and(prefers_json), grpc: content_type.is_some_and(is_grpc) }
    }
}

/// Writes the answer; its end included. Returns the HTTP status sent and the body's length.
pub(super) fn answer(
    down: &mut Downstream,
    cx: &mut Context<'_>,
    failure: &Failure,
    wishes: &Wishes,
    id: Option<&HeaderValue>,
) -> Result<(StatusCode, u64), ClientError> {
    let mut headers = HeaderMap::with_capacity(6);
    if wishes.grpc {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, u16::from(failure.grpc).into());
        headers.insert(GRPC_MESSAGE, HeaderValue::from_static(failure.message));
        let framing = Framing::Empty;
        let status = StatusCode::OK;
        down.send_head(&ResponseHead { status, reason: None, headers: &headers, framing })?;
        down.finish(None);
        return Ok((status, 0));
    }
    if failure.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    let body = if wishes.json {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        json_body(failure, id)
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        text_body(failure, id)
    };
    send_whole(down, cx, failure.status, &headers, body)
}

/// A redirect of a route.
pub(super) fn redirect(
    down: &mut Downstream,
    cx: &mut Context<'_>,
    status: StatusCode,
    location: HeaderValue,
) -> Result<(StatusCode, u64), ClientError> {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(LOCATION, location);
    send_whole(down, cx, status, &headers, Bytes::new())
}

fn send_whole(
    down: &mut Downstream,
    cx: &mut Context<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, u64), ClientError> {
    let length = body.len() as u64;
    down.send_head(&ResponseHead { status, reason: None, headers, framing: Framing::Length(length) })?;
    down.send_body(cx, body)?;
    down.finish(None);
    Ok((status, length))
}

fn text_body(failure: &Failure, id: Option<&HeaderValue>) -> Bytes {
    let status = failure.status;
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = format!("{} {reason}: {}\n", status.as_u16(), failure.message);
    if let Some(id) = id.and_then(|id| id.to_str().ok()) {
        text.push_str("request id: ");
        text.push_str(id);
        text.push('\n');
    }
    text.into()
}

fn json_body(failure: &Failure, id: Option<&HeaderValue>) -> Bytes {
    let id = id.and_then(|id| id.to_str().ok());
    let mut body = serde_json::json!({ "status": failure.status.as_u16(), "message": failure.message });
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

/// `application/grpc` and its codecs; gRPC-Web is another protocol, whose clients see HTTP statuses.
pub(super) fn is_grpc(content_type: &HeaderValue) -> bool {
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
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
    fn grpc_is_told_from_grpc_web() {
        for (content_type, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&HeaderValue::from_static(content_type)), grpc, "{content_type}");
        }
    }

    #[test]
    fn bodies_carry_the_request_id_for_whoever_reports_it() {
        let id = HeaderValue::from_static("abc");
        let text = text_body(&Failure::NOT_FOUND, Some(&id));
        assert_eq!(&text[..], b"404 Not Found: no route matches the request\nrequest id: abc\n");
        let json: serde_json::Value = serde_json::from_slice(&json_body(&Failure::NOT_FOUND, Some(&id))).unwrap();
        assert_eq!(json["status"], 404);
        assert_eq!(json["request_id"], "abc");
    }
}
