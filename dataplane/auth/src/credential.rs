//! Where a credential stands in a request, and what is left of the request without it.

use std::borrow::Cow;
use std::fmt;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_expressions::header_among;
use portcullis_ir::TokenSource;

/// Where a credential was found, so that it can be taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
}

/// A credential as it was sent.
pub struct Found<'a> {
    pub bytes: Cow<'a, [u8]>,
    /// Which of the sources had it.
    pub source: usize,
}

/// The credential cannot be told: it is there more than once, or not readable. Which one would count could be another
/// one for whoever reads the request after us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// One place to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(TokenSource);

/// The only place that a credential can stand in, if that is a header.
#[derive(Clone, Debug)]
pub struct InHeader {
    name: HeaderName,
    prefix: Box<str>,
}

impl InHeader {
    /// None: there are others.
    pub fn of(sources: &[Source]) -> Option<Self> {
        match sources {
            [Source(TokenSource::Header { name, prefix })] => Some(Self { name: name.clone(), prefix: prefix.clone() }),
            _ => None,
        }
    }

    /// As [`Source::find`]. None: there is nothing, or something that has to be looked at with more care.
    #[inline]
    pub fn find<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        if headers.len() != headers.keys_len() {
            return None;
        }
        after(&self.prefix, header_among(headers, &self.name)?.as_bytes()).filter(|found| !found.is_empty())
    }
}

impl Source {
    pub fn new(source: &TokenSource) -> Self {
        Self(source.clone())
    }

    pub fn taken(&self) -> Taken {
        match &self.0 {
            TokenSource::Header { name, .. } => Taken::Header(name.clone()),
            TokenSource::Cookie(name) => Taken::Cookie(name.clone()),
            TokenSource::Query(name) => Taken::Query(name.clone()),
        }
    }

    /// Whether a header holds what the source looks for.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        match &self.0 {
            TokenSource::Header { name, prefix } => named(headers, name).any(|value| after(prefix, value).is_some()),
            TokenSource::Cookie(_) | TokenSource::Query(_) => false,
        }
    }

    /// The first that is there.
    ///
    /// # Errors
    /// [`Ambiguous`].
    pub fn find<'a>(
        sources: &[Self],
        headers: &'a HeaderMap,
        query: Option<&'a str>,
    ) -> Result<Option<Found<'a>>, Ambiguous> {
        for (index, source) in sources.iter().enumerate() {
            if let Some(bytes) = source.look(headers, query)? {
                return Ok(Some(Found { bytes, source: index }));
            }
        }
        Ok(None)
    }

    fn look<'a>(&self, headers: &'a HeaderMap, query: Option<&'a str>) -> Result<Option<Cow<'a, [u8]>>, Ambiguous> {
        match &self.0 {
            // Most heads have no name twice.
            TokenSource::Header { name, prefix } if headers.len() == headers.keys_len() => {
                let value = header_among(headers, name).and_then(|value| after(prefix, value.as_bytes()));
                Ok(value.map(Cow::Borrowed))
            }
            TokenSource::Header { name, prefix } => {
                let prefixed = named(headers, name).filter_map(|value| after(prefix, value));
                Ok(only(prefixed)?.map(Cow::Borrowed))
            }
            TokenSource::Cookie(name) => {
                let named = cookies(headers).filter(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value);
                Ok(only(named)?.map(Cow::Borrowed))
            }
            TokenSource::Query(name) => {
                let query = query.unwrap_or_default();
                let named = parameters(query).filter(|(_, other, _)| *other == name.as_bytes());
                only(named.map(|(_, _, value)| value))
            }
        }
    }
}

fn named<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

/// What stands behind the prefix, which is compared without regard to case; where it ends in a space, several may stand
/// there (RFC 9110, 11.4).
#[inline]
fn after<'a>(prefix: &str, value: &'a [u8]) -> Option<&'a [u8]> {
    if prefix.is_empty() {
        return Some(value);
    }
    let (head, rest) = value.split_at_checked(prefix.len())?;
    // Nearly all write it as it is written here.
    if head != prefix.as_bytes() && !head.eq_ignore_ascii_case(prefix.as_bytes()) {
        return None;
    }
    Some(if prefix.ends_with(' ') { rest.trim_ascii_start() } else { rest })
}

fn only<T>(mut found: impl Iterator<Item = T>) -> Result<Option<T>, Ambiguous> {
    let first = found.next();
    if found.next().is_some() { Err(Ambiguous) } else { Ok(first) }
}

/// Pairs of all `Cookie` headers; values without the quotes that may stand around them (RFC 6265, 4.1.1).
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..at], &pair[at + 1..]);
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        Some((name, bare))
    })
}

/// Parameters as they stand there, with decoded name and value.
fn parameters(query: &str) -> impl Iterator<Item = (&str, Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (pair, decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(bytes);
    }
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            // Two digits of four bits each.
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(0));
                at += 3;
                continue;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    Cow::Owned(out)
}

/// All cookies but the named ones, in one line; empty if none is left. None: nothing is to be taken away.
pub fn stripped_cookies(headers: &HeaderMap, names: &[Box<str>]) -> Option<Vec<u8>> {
    let is_named = |pair: &[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        names.iter().any(|other| other.as_bytes() == name)
    };
    let pairs: Vec<&[u8]> = (headers.get_all(COOKIE).into_iter())
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
        .collect();
    if !pairs.iter().any(|pair| is_named(pair)) {
        return None;
    }
    let left: Vec<&[u8]> = pairs.into_iter().filter(|pair| !is_named(pair)).collect();
    Some(left.join(&b"; "[..]))
}

/// The query without the named parameters, otherwise byte for byte as it was. None: nothing is to be taken away.
pub fn stripped_query(query: &str, names: &[Box<str>]) -> Option<String> {
    let is_named = |name: &[u8]| names.iter().any(|other| other.as_bytes() == name);
    if !parameters(query).any(|(_, name, _)| is_named(&name)) {
        return None;
    }
    let left: Vec<&str> = parameters(query).filter(|(_, name, _)| !is_named(name)).map(|(pair, _, _)| pair).collect();
    Some(left.join("&"))
}

impl fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Found(<redacted>, source {})", self.source)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn find(source: TokenSource, headers: &HeaderMap, query: Option<&str>) -> Result<Option<String>, Ambiguous> {
        let found = Source::find(&[Source(source)], headers, query)?;
        Ok(found.map(|found| String::from_utf8(found.bytes.into_owned()).unwrap()))
    }

    #[test]
    fn a_token_is_found_behind_its_prefix() {
        let bearer =
            || TokenSource::Header { name: HeaderName::from_static("authorization"), prefix: "Bearer ".into() };
        for (value, found) in [
            ("Bearer abc", Some("abc")),
            ("bearer   abc", Some("abc")),
            ("BEARER abc", Some("abc")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Basic abc", None),
            ("Bearerabc", None),
        ] {
            let headers = headers(&[("authorization", value)]);
            assert_eq!(find(bearer(), &headers, None), Ok(found.map(str::to_owned)), "{value}");
        }
        let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
        assert_eq!(find(bearer(), &twice, None), Err(Ambiguous));
        let mixed = headers(&[("authorization", "Basic a"), ("authorization", "Bearer b")]);
        assert_eq!(find(bearer(), &mixed, None), Ok(Some("b".into())));
    }

    #[test]
    fn a_token_is_found_in_cookies_and_queries() {
        let cookie = || TokenSource::Cookie("token".into());
        let split = headers(&[("cookie", "a=1; token=\"abc\""), ("cookie", "b=2")]);
        assert_eq!(find(cookie(), &split, None), Ok(Some("abc".into())));
        assert_eq!(find(cookie(), &headers(&[("cookie", "xtoken=1; tokens=2")]), None), Ok(None));
        assert_eq!(find(cookie(), &headers(&[("cookie", "token=1; token=2")]), None), Err(Ambiguous));
        let query = || TokenSource::Query("key".into());
        let none = HeaderMap::new();
        assert_eq!(find(query(), &none, Some("a=1&key=a%2Bb&c")), Ok(Some("a+b".into())));
        assert_eq!(find(query(), &none, Some("%6bey=x")), Ok(Some("x".into())));
        assert_eq!(find(query(), &none, Some("key=1&k%65y=2")), Err(Ambiguous));
        assert_eq!(find(query(), &none, Some("keys=1")), Ok(None));
        assert_eq!(find(query(), &none, None), Ok(None));
    }

    #[test]
    fn what_is_left_without_a_credential_is_as_it_was() {
        let split = headers(&[("cookie", "a=1; token=x; b=\"2\""), ("cookie", "c")]);
        assert_eq!(stripped_cookies(&split, &["token".into()]).unwrap(), b"a=1; b=\"2\"; c");
        assert_eq!(stripped_cookies(&split, &["other".into()]), None);
        assert_eq!(stripped_cookies(&headers(&[("cookie", "token=x")]), &["token".into()]).unwrap(), b"");
        assert_eq!(stripped_query("a=%31&k%65y=x&b", &["key".into()]).as_deref(), Some("a=%31&b"));
        assert_eq!(stripped_query("key=x", &["key".into()]).as_deref(), Some(""));
        assert_eq!(stripped_query("a=1&keys=x", &["key".into()]), None);
    }
}
