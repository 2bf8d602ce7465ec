//! A service that speaks gRPC: `envoy.service.auth.v3.Authorization/Check`.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use prost::Message;

use crate::headers::is_structural;
use crate::proto::check_response::HttpResponse;
use crate::proto::{
    Address, AttributeContext, CheckRequest, CheckResponse, DeniedResponse, HeaderOption, HttpRequest, OkResponse,
    Peer, Request, SocketAddress, Status,
};
use crate::question::{Asking, Question, joined};
use crate::verdict::{Denial, Edits, Nonsense, Verdict};

pub const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Flag and length before a message.
const FRAME: usize = 5;
/// `google.rpc.Code`
const OK: i32 = 0;
/// Headers of an answer that are looked at.
const MAX_HEADERS: usize = 128;

/// The call that asks. `allowed` are the headers that go along; empty: all of them (GEP-1494).
pub fn request(question: &Question<'_>, allowed: &[HeaderName]) -> Asking {
    let message = CheckRequest { attributes: Some(attributes(question, allowed)) };
    let length = message.encoded_len();
    let mut body = BytesMut::with_capacity(FRAME + length);
    body.put_u8(0);
    // Heads and bodies are bounded far below this.
    body.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // A buffer of bytes grows: there is always room.
    let _ = message.encode(&mut body);
    let mut head = http::Request::new(()).into_parts().0;
    head.method = Method::POST;
    head.uri = Uri::from_static(CHECK);
    head.version = Version::HTTP_2;
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head.headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Ok(host) = HeaderValue::from_str(question.host) {
        head.headers.insert(HOST, host);
    }
    Asking { head, body: body.freeze() }
}

fn attributes(question: &Question<'_>, allowed: &[HeaderName]) -> AttributeContext {
    let Question { head, host, https, client, principal, body } = *question;
    let may = |name: &HeaderName| allowed.is_empty() || allowed.contains(name);
    let text = |name: &HeaderName| String::from_utf8_lossy(&joined(&head.headers, name)).into_owned();
    let headers = head.headers.keys().filter(|name| may(name)).map(|name| (name.as_str().to_owned(), text(name)));
    let whole = body.filter(|body| body.whole).and_then(|body| i64::try_from(body.bytes.len()).ok());
    let http = HttpRequest {
        id: head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned(),
        method: head.method.to_string(),
        headers: headers.collect(),
        path: head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
        host: host.to_owned(),
        scheme: if https { "https" } else { "http" }.to_owned(),
        size: whole.unwrap_or(-1),
        protocol: format!("{:?}", head.version),
        raw_body: body.map(|body| body.bytes.to_vec()).unwrap_or_default(),
    };
    let address = SocketAddress { address: client.ip().to_string(), port_value: client.port().into() };
    AttributeContext {
        source: Some(Peer {
            address: Some(Address { socket_address: Some(address) }),
            principal: principal.unwrap_or_default().to_owned(),
        }),
        destination: None,
        request: Some(Request { http: Some(http) }),
    }
}

/// What an answer means: `grpc_status` of its trailers (or its head), and its body, one message. `head` is what the
/// client sent, for edits that depend on it.
///
/// # Errors
/// [`Nonsense`] for what is neither yes nor no.
pub fn read(grpc_status: Option<u32>, body: &[u8], head: &HeaderMap) -> Result<Verdict, Nonsense> {
    match grpc_status {
        Some(0) => {}
        Some(code) => return Err(Nonsense::Grpc(code)),
        None => return Err(Nonsense::Malformed),
    }
    let (frame, message) = body.split_at_checked(FRAME).ok_or(Nonsense::Malformed)?;
    let length = frame.get(1..).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
    // Compression was not offered.
    if frame.first() != Some(&0) || length.and_then(|length| usize::try_from(length).ok()) != Some(message.len()) {
        return Err(Nonsense::Malformed);
    }
    let CheckResponse { status, http_response } = CheckResponse::decode(message).map_err(|_| Nonsense::Malformed)?;
    // An empty message says nothing, and that is no yes.
    let Some(Status { code }) = status else { return Err(Nonsense::Malformed) };
    match (code, http_response) {
        (OK, None) => Ok(Verdict::Allow(Edits::default())),
        (OK, Some(HttpResponse::OkResponse(ok))) => Ok(Verdict::Allow(edits(ok, head))),
        (_, Some(HttpResponse::ErrorResponse(_))) => Err(Nonsense::Failed),
        // Each says something else.
        (OK, Some(HttpResponse::DeniedResponse(_))) => Err(Nonsense::Malformed),
        (_, Some(HttpResponse::DeniedResponse(denied))) => denial(denied).map(Verdict::Deny),
        (_, None | Some(HttpResponse::OkResponse(_))) => denial(DeniedResponse::default()).map(Verdict::Deny),
    }
}

fn edits(ok: OkResponse, head: &HeaderMap) -> Edits {
    let OkResponse { headers, headers_to_remove, response_headers_to_add } = ok;
    let mut edits = Edits::default();
    let removed = headers_to_remove.iter().take(MAX_HEADERS).filter_map(|name| name.parse::<HeaderName>().ok());
    edits.remove.extend(removed.filter(|name| !is_structural(name)));
    for option in headers.into_iter().take(MAX_HEADERS) {
        let Some((name, value, action)) = parse(option) else { continue };
        let before = edits.set.iter().position(|(set, _)| *set == name);
        let there = before.is_some() || (head.contains_key(&name) && !edits.remove.contains(&name));
        match action {
            Action::AddIfAbsent if there => continue,
            Action::OverwriteIfThere if !there => continue,
            _ => {}
        }
        let former = match before {
            Some(at) => Some(edits.set.swap_remove(at).1.as_bytes().to_vec()),
            None if there => Some(joined(head, &name)),
            None => None,
        };
        let value = match (action, former) {
            (Action::Append, Some(former)) => HeaderValue::from_bytes(&[&former, value.as_bytes()].join(&b", "[..])),
            _ => Ok(value),
        };
        edits.set.extend(value.ok().map(|value| (name, value)));
    }
    edits.response = response_headers_to_add
        .into_iter()
        .take(MAX_HEADERS)
        .filter_map(|option| parse(option).map(|(name, value, _)| (name, value)))
        .collect();
    edits
}

fn denial(denied: DeniedResponse) -> Result<Denial, Nonsense> {
    let DeniedResponse { status, headers, body } = denied;
    let status = match status {
        None => StatusCode::FORBIDDEN,
        Some(status) => u16::try_from(status.code)
            .ok()
            .filter(|code| (300..600).contains(code))
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or(Nonsense::Malformed)?,
    };
    let mut passed = HeaderMap::new();
    for (name, value, action) in headers.into_iter().take(MAX_HEADERS).filter_map(parse) {
        if action == Action::Append || name == http::header::SET_COOKIE {
            passed.append(name, value);
        } else {
            passed.insert(name, value);
        }
    }
    Ok(Denial { status, headers: passed, body: Bytes::from(body) })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfThere,
}

/// None: no service may set it, or it is none.
fn parse(option: HeaderOption) -> Option<(HeaderName, HeaderValue, Action)> {
    let HeaderOption { header, append, append_action } = option;
    let header = header?;
    let name: HeaderName = header.key.parse().ok()?;
    let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
    let value = HeaderValue::from_bytes(&value).ok()?;
    let action = match (append.map(|append| append.value), append_action) {
        (Some(true), _) => Action::Append,
        (None, 1) => Action::AddIfAbsent,
        (None, 3) => Action::OverwriteIfThere,
        // What the client sent under a name that the service speaks of never stays by accident.
        (Some(false), _) | (None, _) => Action::Overwrite,
    };
    (!is_structural(&name)).then_some((name, value, action))
}

/// They hold what clients prove identity with.
macro_rules! redacted {
    ($($message:ty),*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($message), "(<redacted>)"))
            }
        }
    )*};
}
redacted!(CheckRequest, AttributeContext, Request, HttpRequest);

#[cfg(test)]
mod tests;
