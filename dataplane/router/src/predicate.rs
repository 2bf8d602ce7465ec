//! Whether a request meets what a match asks for beyond host and path. Nothing is allocated, but where a regular
//! expression must see a value that exists only in pieces and is longer than [`Whole::ROOM`].

use std::borrow::Cow;
use std::cell::OnceCell;

use http::HeaderValue;
use portcullis_ir::{HeaderMatch, Match, QueryMatch, StringMatch};

use crate::Request;
use crate::query::{Encoded, Query};

/// Whether a request is one that `matched` takes: its path, method, headers and query parameters, as routes are found by
/// them. For those who have matches of their own beside routes.
pub fn meets(matched: &Match, request: &Request<'_>) -> bool {
    matched.path.matches(request.path) && Probe::new(request).meets(matched)
}

/// The first value of a query parameter, decoded, as routes are found by it.
pub fn query_parameter<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, [u8]>> {
    let value = Query::parse(query?).value(name)?;
    Some(value.plain().map_or_else(|| Cow::Owned(value.bytes().collect()), |plain| Cow::Borrowed(plain.as_bytes())))
}

/// A request under examination.
pub(crate) struct Probe<'a> {
    pub(crate) request: &'a Request<'a>,
    query: OnceCell<Query<'a>>,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(request: &'a Request<'a>) -> Self {
        Self { request, query: OnceCell::new() }
    }

    /// Method, headers and query; the path is not looked at.
    pub(crate) fn meets(&self, matched: &Match) -> bool {
        matched.method.as_ref().is_none_or(|method| method == self.request.method)
            && matched.headers.iter().all(|header| self.meets_header(header))
            && matched.query.iter().all(|parameter| self.meets_query(parameter))
    }

    /// The first value of a query parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<Encoded<'a>> {
        let raw = self.request.query?;
        self.query.get_or_init(|| Query::parse(raw)).value(name)
    }

    fn meets_header(&self, header: &HeaderMatch) -> bool {
        let mut values = self.request.headers.get_all(&header.name).iter();
        let Some(first) = values.next() else { return false };
        let second = values.next();
        match (&header.value, second) {
            (StringMatch::Exact(expected), None) => first.as_bytes() == expected.as_bytes(),
            (StringMatch::Exact(expected), Some(second)) => {
                is_joined(expected, first, std::iter::once(second).chain(values))
            }
            (StringMatch::Regex(pattern), None) => {
                std::str::from_utf8(first.as_bytes()).is_ok_and(|value| pattern.matches(value))
            }
            (StringMatch::Regex(pattern), Some(second)) => {
                let mut whole = Whole::new();
                whole.extend(first.as_bytes());
                for value in std::iter::once(second).chain(values) {
                    whole.extend(b",");
                    whole.extend(value.as_bytes());
                }
                whole.text().is_some_and(|value| pattern.matches(value))
            }
        }
    }

    fn meets_query(&self, asked: &QueryMatch) -> bool {
        let Some(value) = self.parameter(&asked.name) else { return false };
        match &asked.value {
            StringMatch::Exact(expected) => value.is(expected),
            StringMatch::Regex(pattern) => match value.plain() {
                Some(plain) => pattern.matches(plain),
                None => {
                    let mut whole = Whole::new();
                    value.bytes().for_each(|byte| whole.extend(&[byte]));
                    whole.text().is_some_and(|value| pattern.matches(value))
                }
            },
        }
    }
}

/// Whether values, joined by commas, are `expected`.
fn is_joined<'v>(expected: &str, first: &HeaderValue, others: impl Iterator<Item = &'v HeaderValue>) -> bool {
    let Some(mut rest) = expected.as_bytes().strip_prefix(first.as_bytes()) else { return false };
    for value in others {
        match rest.strip_prefix(b",").and_then(|rest| rest.strip_prefix(value.as_bytes())) {
            Some(tail) => rest = tail,
            None => return false,
        }
    }
    rest.is_empty()
}

/// A value put together from its pieces, on the stack while it is short.
struct Whole {
    room: [u8; Whole::ROOM],
    length: usize,
    /// Everything, once it has outgrown the room.
    spilled: Vec<u8>,
}

impl Whole {
    const ROOM: usize = 512;

    fn new() -> Self {
        Self { room: [0; Self::ROOM], length: 0, spilled: Vec::new() }
    }

    fn extend(&mut self, piece: &[u8]) {
        let end = self.length + piece.len();
        if self.spilled.is_empty() && end <= Self::ROOM {
            self.room[self.length..end].copy_from_slice(piece);
        } else {
            if self.spilled.is_empty() {
                self.spilled.extend_from_slice(&self.room[..self.length]);
            }
            self.spilled.extend_from_slice(piece);
        }
        self.length = end;
    }

    /// None if it is not UTF-8: such a value never matches.
    fn text(&self) -> Option<&str> {
        let bytes = if self.spilled.is_empty() { &self.room[..self.length] } else { &self.spilled };
        std::str::from_utf8(bytes).ok()
    }
}
