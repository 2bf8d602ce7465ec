//! Header names that mean something to a proxy: found in one pass over a head, so that nothing is looked up that is
//! not there.

use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::policy::{MayHave, has_underscore};

pub(super) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
pub(super) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
pub(super) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
pub(super) const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// What a head holds, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(u32);

impl Seen {
    pub(super) const HOST: Self = Self(1);
    pub(super) const TWO_HOSTS: Self = Self(1 << 1);
    pub(super) const CONNECTION: Self = Self(1 << 2);
    pub(super) const TE: Self = Self(1 << 3);
    pub(super) const TRANSFER_ENCODING: Self = Self(1 << 4);
    pub(super) const UPGRADE: Self = Self(1 << 5);
    pub(super) const CONTENT_LENGTH: Self = Self(1 << 6);
    /// Several, or a list.
    pub(super) const LENGTHS: Self = Self(1 << 7);
    pub(super) const EXPECT: Self = Self(1 << 8);
    /// A header that tells who the client is or how it came to us.
    pub(super) const FORWARDING: Self = Self(1 << 9);
    pub(super) const REQUEST_ID: Self = Self(1 << 10);
    /// `Keep-Alive`, `Proxy-Connection`, `Proxy-Authorization`, `HTTP2-Settings` and the like.
    pub(super) const OTHER_HOP: Self = Self(1 << 11);
    pub(super) const ACCEPT: Self = Self(1 << 12);
    pub(super) const CONTENT_TYPE: Self = Self(1 << 13);
    /// More than one `Cookie`.
    pub(super) const COOKIES: Self = Self(1 << 14);
    pub(super) const COOKIE: Self = Self(1 << 15);
    /// Some name has a `_`, which a backend may take for a `-`.
    pub(super) const UNDERSCORE: Self = Self(1 << 16);

    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers {
            seen.note(name, value);
        }
        seen
    }

    /// What either holds.
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    /// What policies need to know that take headers away.
    pub(super) fn may_have(self) -> MayHave {
        MayHave { xfcc: self.has(Self::FORWARDING), underscore: self.has(Self::UNDERSCORE) }
    }

    fn note(&mut self, name: &HeaderName, value: &HeaderValue) {
        let found = match *name {
            HOST if self.has(Self::HOST) => Self::TWO_HOSTS,
            HOST => Self::HOST,
            CONNECTION => Self::CONNECTION,
            TE => Self::TE,
            TRANSFER_ENCODING => Self::TRANSFER_ENCODING,
            UPGRADE => Self::UPGRADE,
            CONTENT_LENGTH if self.has(Self::CONTENT_LENGTH) || value.as_bytes().contains(&b',') => {
                Self(Self::LENGTHS.0 | Self::CONTENT_LENGTH.0)
            }
            CONTENT_LENGTH => Self::CONTENT_LENGTH,
            EXPECT => Self::EXPECT,
            FORWARDED => Self::FORWARDING,
            ACCEPT => Self::ACCEPT,
            CONTENT_TYPE => Self::CONTENT_TYPE,
            COOKIE if self.has(Self::COOKIE) => Self::COOKIES,
            COOKIE => Self::COOKIE,
            PROXY_AUTHENTICATE | PROXY_AUTHORIZATION => Self::OTHER_HOP,
            _ => Self::custom(name),
        };
        self.0 |= found.0;
    }

    fn custom(name: &HeaderName) -> Self {
        let found = match name.as_str() {
            "x-request-id" => Self::REQUEST_ID,
            custom if is_forwarding(custom) => Self::FORWARDING,
            "keep-alive" | "proxy-connection" | "http2-settings" => Self::OTHER_HOP,
            _ => Self::default(),
        };
        // Beside what else it is: `x-forwarded-client_cert` is both.
        if has_underscore(name) { found.or(Self::UNDERSCORE) } else { found }
    }
}

/// Names that claim where a request comes from. From peers that are not trusted they are removed, and nobody may have
/// them removed by nominating them in `Connection`. `Forwarded` is one of them too.
pub(super) fn is_forwarding(name: &str) -> bool {
    name.strip_prefix("x-").is_some_and(|rest| {
        matches!(
            rest,
            "real-ip" | "client-ip" | "cluster-client-ip" | "original-forwarded-for" | "envoy-external-address"
        ) || rest.strip_prefix("forwarded").is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }) || matches!(name, "true-client-ip" | "cf-connecting-ip")
}

/// Belongs to one connection and is never forwarded (RFC 9110, 7.6.1).
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    match *name {
        CONNECTION | TE | TRANSFER_ENCODING | UPGRADE | PROXY_AUTHENTICATE | PROXY_AUTHORIZATION => true,
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings"),
    }
}

/// Comma-separated tokens of all values of a header, without their white space; empty ones are left out.
pub(super) fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|t| !t.is_empty())
}

pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|candidate| candidate.eq_ignore_ascii_case(token.as_bytes()))
}

/// `Connection` says nothing but what HTTP/1.1 connections say by default: no list has to be built for it.
pub(super) fn is_plain_connection(value: &[u8]) -> bool {
    ["keep-alive", "close", "upgrade"].iter().any(|plain| value.eq_ignore_ascii_case(plain.as_bytes()))
}

/// The length, if all values agree on one (RFC 9110, 8.6).
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut length = None;
    // A head is short: to walk through it is cheaper than to hash a name.
    for (_, value) in headers.iter().filter(|(name, _)| **name == CONTENT_LENGTH) {
        for part in value.as_bytes().split(|&byte| byte == b',') {
            let number = decimal(part.trim_ascii()).ok_or(())?;
            if length.is_some_and(|length| length != number) {
                return Err(());
            }
            length = Some(number);
        }
    }
    Ok(length)
}

/// Digits and nothing else.
fn decimal(digits: &[u8]) -> Option<u64> {
    let mut number = if digits.is_empty() { None } else { Some(0_u64) };
    for &digit in digits {
        let value = u64::from(digit.wrapping_sub(b'0'));
        number = number?.checked_mul(10)?.checked_add(value).filter(|_| value < 10);
    }
    number
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        let mut map = HeaderMap::new();
        pairs.iter().map(pair).for_each(|(name, value): (HeaderName, HeaderValue)| {
            map.append(name, value);
        });
        map
    }

    #[test]
    fn one_pass_finds_what_a_proxy_must_know() {
        let seen = Seen::of(&headers(&[("host", "a"), ("accept", "*/*"), ("user-agent", "x")]));
        assert!(seen.has(Seen::HOST) && seen.has(Seen::ACCEPT) && !seen.has(Seen::TWO_HOSTS));
        assert!(Seen::of(&headers(&[("host", "a"), ("host", "a")])).has(Seen::TWO_HOSTS));
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-prefix", "x-real-ip", "true-client-ip"] {
            assert!(Seen::of(&headers(&[(name, "1")])).has(Seen::FORWARDING), "{name}");
        }
        assert!(!Seen::of(&headers(&[("x-forwardedness", "1")])).has(Seen::FORWARDING));
        for name in ["x_user", "x-forwarded-client_cert", "_host"] {
            assert!(Seen::of(&headers(&[("host", "a"), (name, "1")])).has(Seen::UNDERSCORE), "{name}");
        }
        assert!(!Seen::of(&headers(&[("x-forwarded-client-cert", "1")])).has(Seen::UNDERSCORE));
        assert!(Seen::of(&headers(&[("content-length", "5, 5")])).has(Seen::LENGTHS));
    }

    #[test]
    fn lengths_must_agree() {
        assert_eq!(content_length(&headers(&[("content-length", "5"), ("content-length", "5, 5")])), Ok(Some(5)));
        for bad in ["+3", "-1", "5,", "0x5", "5 5", ""] {
            assert_eq!(content_length(&headers(&[("content-length", bad)])), Err(()), "{bad}");
        }
        assert_eq!(content_length(&headers(&[("content-length", "5"), ("content-length", "6")])), Err(()));
        assert_eq!(content_length(&headers(&[])), Ok(None));
    }
}
