//! What of gRPC a proxy must know (gRPC over HTTP/2): its statuses travel in trailers, and its deadlines in a header.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The backend did not begin with the call.
pub(super) const UNAVAILABLE: u8 = 14;
/// Codes that are defined.
const CODES: u8 = 17;

/// `application/grpc` and its codecs; gRPC-Web is another protocol, whose clients see HTTP statuses.
pub(super) fn is_grpc(content_type: &HeaderValue) -> bool {
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The status in trailers, or in a head that is all there is.
pub(super) fn status(headers: &HeaderMap) -> Option<u8> {
    let code: u8 = headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()?;
    (code < CODES).then_some(code)
}

/// How long the client will wait: at most eight digits and a unit.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = headers.get(GRPC_TIMEOUT)?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
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
    fn deadlines_are_digits_and_a_unit() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("7n", Some(Duration::from_nanos(7))),
            ("100000000S", None),
            ("-1S", None),
            ("1", None),
            ("S", None),
            ("1s", None),
        ] {
            assert_eq!(timeout(&headers(GRPC_TIMEOUT, value)), expected, "{value}");
        }
    }

    #[test]
    fn statuses_are_those_that_are_defined() {
        for (value, expected) in [("0", Some(0)), ("16", Some(16)), ("17", None), ("-1", None), ("ok", None)] {
            assert_eq!(status(&headers(GRPC_STATUS, value)), expected, "{value}");
        }
    }
}
