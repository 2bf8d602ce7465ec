//! HTTP/1.1 response heads and chunks, as bytes. Framing is always written anew from [`Framing`]; nothing that the
//! backend said about it is passed on.

use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::super::headers::{has_token, is_hop_by_hop, is_plain_connection};
use super::{Framing, ResponseHead};

/// What the head says about the connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Persistence<'a> {
    /// HTTP/1.1's default: nothing is said.
    Default,
    /// Said to HTTP/1.0 clients that asked for it.
    KeepAlive,
    Close,
    /// 101: the protocol that follows.
    Upgrade(&'a HeaderValue),
}

pub(super) fn head(out: &mut BytesMut, head: &ResponseHead<'_>, chunked: bool, persistence: Persistence<'_>) {
    out.reserve(512);
    status_line(out, head.status, head.reason);
    headers(out, head.headers, head.extra, head.framing == Framing::None && allows_length(head.status));
    match head.framing {
        Framing::Length(length) => {
            out.put_slice(b"content-length: ");
            decimal(out, length);
            out.put_slice(b"\r\n");
        }
        Framing::Empty => out.put_slice(b"content-length: 0\r\n"),
        Framing::Unknown if chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Unknown | Framing::None => {}
    }
    match persistence {
        Persistence::Default => {}
        Persistence::KeepAlive => out.put_slice(b"connection: keep-alive\r\n"),
        Persistence::Close => out.put_slice(b"connection: close\r\n"),
        Persistence::Upgrade(protocol) => {
            out.put_slice(b"connection: upgrade\r\nupgrade: ");
            out.put_slice(protocol.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
    out.put_slice(b"\r\n");
}

pub(super) fn informational(out: &mut BytesMut, status: StatusCode, map: &HeaderMap) {
    status_line(out, status, None);
    headers(out, map, &[], false);
    out.put_slice(b"\r\n");
}

/// One chunk. `data` must not be empty: an empty chunk is the end of the body.
pub(super) fn chunk_head(out: &mut BytesMut, length: usize) {
    debug_assert!(length > 0, "an empty chunk ends the body");
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut rest = length;
    while rest > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
    }
    out.put_slice(&digits[at..]);
    out.put_slice(b"\r\n");
}

fn status_line(out: &mut BytesMut, status: StatusCode, reason: Option<&str>) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    let reason = reason.or_else(|| status.canonical_reason()).unwrap_or_default();
    out.put_slice(reason.as_bytes());
    out.put_slice(b"\r\n");
}

fn headers(out: &mut BytesMut, map: &HeaderMap, extra: Extra<'_>, with_length: bool) {
    let start = out.len();
    let mut nominating = false;
    for (name, value) in map {
        if is_hop_by_hop(name) {
            nominating |= *name == CONNECTION && !is_plain_connection(value.as_bytes());
        } else if (*name != CONTENT_LENGTH || with_length) && !replaces(extra, name) {
            line(out, name, value);
        }
    }
    if nominating {
        // Rare: take back what `Connection` nominates, by writing the headers again.
        out.truncate(start);
        without_nominated(out, map, extra, with_length);
    }
    for (name, value) in extra {
        line(out, name, value);
    }
}

fn without_nominated(out: &mut BytesMut, map: &HeaderMap, extra: Extra<'_>, with_length: bool) {
    for (name, value) in map {
        let length = *name == CONTENT_LENGTH;
        let keep = !is_hop_by_hop(name) && (!length || with_length) && !replaces(extra, name);
        if keep && (length || !has_token(map, &CONNECTION, name.as_str())) {
            line(out, name, value);
        }
    }
}

type Extra<'a> = &'a [(HeaderName, HeaderValue)];

fn replaces(extra: Extra<'_>, name: &HeaderName) -> bool {
    !extra.is_empty() && extra.iter().any(|(other, _)| other == name)
}

fn line(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    let name = name.as_str().as_bytes();
    let value = value.as_bytes();
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Answers to HEAD and 304 may tell the length that a GET would have had; 204 must not (RFC 9110, 8.6).
fn allows_length(status: StatusCode) -> bool {
    status != StatusCode::NO_CONTENT
}

fn decimal(out: &mut BytesMut, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn encoded(status: u16, pairs: &[(&str, &str)], framing: Framing, persistence: Persistence<'_>) -> String {
        let mut map = HeaderMap::new();
        for &(name, value) in pairs {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let mut out = BytesMut::new();
        let status = StatusCode::from_u16(status).unwrap();
        head(&mut out, &ResponseHead { status, reason: None, headers: &map, extra: &[], framing }, true, persistence);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn framing_is_written_anew() {
        let upstream = [("content-length", "7"), ("transfer-encoding", "chunked"), ("keep-alive", "x"), ("a", "b")];
        let text = encoded(200, &upstream, Framing::Length(10_203), Persistence::Default);
        assert_eq!(text, "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 10203\r\n\r\n");
        let text = encoded(200, &upstream, Framing::Unknown, Persistence::Close);
        assert_eq!(text, "HTTP/1.1 200 OK\r\na: b\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n");
    }

    #[test]
    fn answers_without_a_body_keep_the_length_that_is_told_except_204() {
        let text = encoded(304, &[("content-length", "7")], Framing::None, Persistence::Default);
        assert_eq!(text, "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n");
        let text = encoded(204, &[("content-length", "7")], Framing::None, Persistence::Default);
        assert_eq!(text, "HTTP/1.1 204 No Content\r\n\r\n");
    }

    #[test]
    fn what_connection_nominates_stays_on_its_connection() {
        let upstream = [("x-secret", "1"), ("connection", "close, X-Secret"), ("a", "b"), ("content-length", "0")];
        let text = encoded(200, &upstream, Framing::Length(0), Persistence::Default);
        assert_eq!(text, "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 0\r\n\r\n");
    }

    #[test]
    fn chunk_heads_are_hexadecimal() {
        let mut out = BytesMut::new();
        chunk_head(&mut out, 0x1_f00d);
        assert_eq!(&out[..], b"1f00d\r\n");
    }
}
