//! What a match compares exactly, and so what can be hashed.
//!
//! Rules at one path are sorted into classes that ask for the same things (a method; the same header names; the same
//! parameter names). Within a class one hash over all the values leads to the few rules that a request can meet.

use http::HeaderName;
use portcullis_ir::{Match, StringMatch};

use crate::hash::Pieces;
use crate::predicate::Probe;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    rank: Rank,
    /// Compared exactly, in order of name.
    headers: Box<[HeaderName]>,
    /// Compared exactly, in order of name.
    query: Box<[Box<str>]>,
}

/// The part of [`portcullis_ir::Precedence`] that all matches of one signature have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    method: bool,
    headers: usize,
    query: usize,
}

impl Signature {
    /// The signature of a match, and the hash of what it asks for.
    pub(crate) fn of(matched: &Match, seed: u64) -> (Self, u64) {
        let mut headers: Vec<(&HeaderName, &str)> = Vec::new();
        for header in &matched.headers {
            if let StringMatch::Exact(value) = &header.value {
                headers.push((&header.name, value));
            }
        }
        headers.sort_by_key(|(name, _)| name.as_str());
        let mut query: Vec<(&str, &str)> = Vec::new();
        for parameter in &matched.query {
            if let StringMatch::Exact(value) = &parameter.value {
                query.push((&parameter.name, value));
            }
        }
        query.sort_by_key(|(name, _)| *name);

        let mut hash = Pieces::new(seed);
        let values = headers.iter().map(|(_, value)| *value).chain(query.iter().map(|(_, value)| *value));
        for value in matched.method.as_ref().map(http::Method::as_str).into_iter().chain(values) {
            hash.write(value.as_bytes());
            hash.end();
        }
        let signature = Self {
            rank: Rank { method: matched.method.is_some(), headers: matched.headers.len(), query: matched.query.len() },
            headers: headers.into_iter().map(|(name, _)| name.clone()).collect(),
            query: query.into_iter().map(|(name, _)| name.into()).collect(),
        };
        (signature, hash.finish())
    }

    pub(crate) fn rank(&self) -> Rank {
        self.rank
    }

    /// The hash of what a request brings; none if it lacks a header or parameter.
    pub(crate) fn hash(&self, probe: &Probe<'_>, seed: u64) -> Option<u64> {
        let mut hash = Pieces::new(seed);
        if self.rank.method {
            hash.write(probe.request.method.as_str().as_bytes());
            hash.end();
        }
        for name in &self.headers {
            let mut values = probe.request.headers.get_all(name).iter();
            hash.write(values.next()?.as_bytes());
            for value in values {
                hash.write(b",");
                hash.write(value.as_bytes());
            }
            hash.end();
        }
        for name in &self.query {
            let value = probe.parameter(name)?;
            match value.plain() {
                Some(plain) => hash.write(plain.as_bytes()),
                None => value.bytes().for_each(|byte| hash.push(byte)),
            }
            hash.end();
        }
        Some(hash.finish())
    }
}
