//! Host names: the one normaliser for `Host`, `:authority` and SNI, and the patterns that listeners and routes use.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A host name or address in normal form: lower case, no port, no trailing dot, IPv6 without brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Arc<str>);

/// `host[:port]` as a client sent it, taken apart (RFC 3986, 3.2.2 and 3.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    pub host: Host,
    pub port: Option<u16>,
}

/// The hostnames that a listener or a route accepts (Gateway API `Hostname`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every host: a listener or route without hostnames.
    Any,
    /// `*.suffix`: any number of labels, at least one, before `suffix`. Holds `suffix` alone.
    Wildcard(Host),
    Exact(Host),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    #[error("host is empty; send a host name")]
    Empty,
    #[error("host is longer than {} bytes", Host::MAX_LENGTH)]
    TooLong,
    #[error("host holds a character that no host name may have")]
    Character,
    #[error("port is not a number from 0 to 65535")]
    Port,
}

impl Host {
    /// Longest host name, in bytes (RFC 1035, 2.3.4).
    pub const MAX_LENGTH: usize = 253;

    /// Normalises a host without a port.
    ///
    /// # Errors
    /// [`InvalidHost`] for an empty or overlong name or one with a character outside RFC 3986 `reg-name`
    /// (`_` is accepted: gRPC authorities use it).
    pub fn parse(raw: &str) -> Result<Self, InvalidHost> {
        let mut scratch = String::new();
        Ok(Self(Self::normalise(raw, &mut scratch)?.into()))
    }

    /// Normalises without keeping: borrows `raw` when it is in normal form already, else fills and borrows `scratch`.
    /// The request path's way, which allocates for nobody who sends lower case.
    ///
    /// # Errors
    /// As [`Host::parse`].
    pub fn normalise<'a>(raw: &'a str, scratch: &'a mut String) -> Result<&'a str, InvalidHost> {
        if let Some(inner) = raw.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: std::net::Ipv6Addr = inner.parse().map_err(|_| InvalidHost::Character)?;
            scratch.clear();
            fmt::Write::write_fmt(scratch, format_args!("{address}")).map_err(|_| InvalidHost::Character)?;
            return Ok(scratch);
        }
        let name = raw.strip_suffix('.').unwrap_or(raw);
        if name.is_empty() {
            return Err(InvalidHost::Empty);
        }
        if name.len() > Self::MAX_LENGTH {
            return Err(InvalidHost::TooLong);
        }
        let mut upper = false;
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {}
                b'A'..=b'Z' => upper = true,
                _ => return Err(InvalidHost::Character),
            }
        }
        if name.starts_with('.') || name.contains("..") {
            return Err(InvalidHost::Character);
        }
        if !upper {
            return Ok(name);
        }
        scratch.clear();
        scratch.push_str(name);
        scratch.make_ascii_lowercase();
        Ok(scratch)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Authority {
    /// # Errors
    /// [`InvalidHost`], also for userinfo (`user@host`), which no request may carry (RFC 9110, 4.2.4).
    pub fn parse(raw: &str) -> Result<Self, InvalidHost> {
        let (host, port) = Self::split(raw)?;
        Ok(Self { host: Host::parse(host)?, port })
    }

    /// Cuts `host[:port]` apart without normalising the host. An empty port (`host:`) counts as none.
    ///
    /// # Errors
    /// [`InvalidHost::Port`] when what follows the colon is no port.
    pub fn split(raw: &str) -> Result<(&str, Option<u16>), InvalidHost> {
        let cut = match raw.rfind(':') {
            Some(at) if !raw[at..].contains(']') => at,
            _ => return Ok((raw, None)),
        };
        let (host, port) = (&raw[..cut], &raw[cut + 1..]);
        if port.is_empty() {
            return Ok((host, None));
        }
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidHost::Port);
        }
        port.parse().map(|port| (host, Some(port))).map_err(|_| InvalidHost::Port)
    }
}

impl HostPattern {
    /// Parses `*.example.com`, `example.com` or the empty string (any host).
    ///
    /// # Errors
    /// [`InvalidHost`] when it is neither.
    pub fn parse(raw: &str) -> Result<Self, InvalidHost> {
        match raw.strip_prefix("*.") {
            Some(suffix) => Host::parse(suffix).map(Self::Wildcard),
            None if raw.is_empty() => Ok(Self::Any),
            None => Host::parse(raw).map(Self::Exact),
        }
    }

    /// Whether a host in normal form matches.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name.as_str() == host,
            Self::Wildcard(suffix) => is_below(host, suffix.as_str()),
        }
    }

    /// The hosts that both patterns accept, as one pattern: always the narrower of the two, or none.
    /// "`*.example.com` matches `test.example.com` and `foo.test.example.com` but not `example.com`"
    /// (Gateway API `HTTPRouteSpec.hostnames`).
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, narrower) | (narrower, Self::Any) => Some(narrower.clone()),
            (Self::Exact(name), pattern) | (pattern, Self::Exact(name)) => {
                pattern.matches(name.as_str()).then(|| Self::Exact(name.clone()))
            }
            (Self::Wildcard(a), Self::Wildcard(b)) => {
                if a == b || is_below(a.as_str(), b.as_str()) {
                    Some(self.clone())
                } else if is_below(b.as_str(), a.as_str()) {
                    Some(other.clone())
                } else {
                    None
                }
            }
        }
    }

    /// Characters as written, `*.` included; the measure by which Gateway API ranks hostnames.
    pub fn length(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Wildcard(suffix) => suffix.as_str().len() + 2,
            Self::Exact(name) => name.as_str().len(),
        }
    }
}

/// More specific is greater: exact over wildcard over any, then by length.
/// "Precedence must be given to … the largest number of: characters in a matching non-wildcard hostname; characters
/// in a matching hostname" (Gateway API `HTTPRouteSpec.hostnames`). Equal length is ordered by name, for stability only.
impl Ord for HostPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        fn rank(pattern: &HostPattern) -> (u8, usize) {
            match pattern {
                HostPattern::Any => (0, 0),
                HostPattern::Wildcard(_) => (1, pattern.length()),
                HostPattern::Exact(_) => (2, pattern.length()),
            }
        }
        rank(self).cmp(&rank(other)).then_with(|| match (self, other) {
            (Self::Wildcard(a), Self::Wildcard(b)) | (Self::Exact(a), Self::Exact(b)) => b.cmp(a),
            _ => Ordering::Equal,
        })
    }
}

impl PartialOrd for HostPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Exact(name) => write!(f, "{name}"),
        }
    }
}

impl fmt::Debug for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(raw: &str) -> HostPattern {
        HostPattern::parse(raw).unwrap()
    }

    #[test]
    fn hosts_are_lower_case_without_port_and_trailing_dot() {
        let authority = Authority::parse("WWW.Example.COM.:8080").unwrap();
        assert_eq!((authority.host.as_str(), authority.port), ("www.example.com", Some(8080)));
        assert_eq!(Authority::parse("[::1]:80").unwrap().host.as_str(), "::1");
        assert_eq!(Authority::parse("[::1]").unwrap().port, None);
        assert_eq!(Authority::parse("a:").unwrap().port, None);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for raw in ["", ".", "a b", "a/b", "user@host", "a:x", "a:99999", ".a", "a..b", "a:+1", "[::1", "a\u{e9}"] {
            assert!(Authority::parse(raw).is_err(), "{raw:?}");
        }
        assert!(Host::parse(&"a".repeat(254)).is_err());
    }

    #[test]
    fn a_wildcard_takes_several_labels_but_not_its_own_suffix() {
        let wildcard = pattern("*.example.com");
        assert!(wildcard.matches("a.example.com") && wildcard.matches("a.b.example.com"));
        assert!(!wildcard.matches("example.com") && !wildcard.matches("aexample.com"));
        assert!(!wildcard.matches(".example.com"));
    }

    #[test]
    fn the_intersection_is_the_narrower_pattern() {
        for (a, b, both) in [
            ("", "a.com", Some("a.com")),
            ("*.a.com", "b.a.com", Some("b.a.com")),
            ("*.a.com", "*.b.a.com", Some("*.b.a.com")),
            ("*.a.com", "a.com", None),
            ("*.a.com", "*.b.com", None),
            ("a.com", "b.com", None),
        ] {
            let expected = both.map(pattern);
            assert_eq!(pattern(a).intersect(&pattern(b)), expected, "{a} ∩ {b}");
            assert_eq!(pattern(b).intersect(&pattern(a)), expected, "{b} ∩ {a}");
        }
    }

    #[test]
    fn specificity_is_exact_then_longer_wildcard_then_any() {
        let mut patterns = ["", "*.com", "a.com", "*.example.com", "www.example.com"].map(pattern);
        patterns.sort_by(|a, b| b.cmp(a));
        assert_eq!(patterns.map(|p| p.to_string()), ["www.example.com", "a.com", "*.example.com", "*.com", "*"]);
    }
}
