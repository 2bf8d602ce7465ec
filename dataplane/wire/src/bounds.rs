//! What a reader takes at most, and the checks that many fields share.
//!
//! The bounds lie at or above those of the Gateway API types, so that they meet a broken sender, never a user.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::invalid::{At, InvalidResource, Problem};

/// Names of Kubernetes objects, listeners and rules (RFC 1123 subdomain).
pub(crate) const NAME: usize = 253;
/// Paths of matches and rewrites (Gateway API: 1024).
pub(crate) const PATH: usize = 4096;
/// Header and query parameter values of matches and edits (Gateway API: 4096).
pub(crate) const VALUE: usize = 16 * 1024;
/// Names of query parameters (Gateway API: 256).
pub(crate) const QUERY_NAME: usize = 1024;
/// HTTP methods.
pub(crate) const METHOD: usize = 64;
/// Subject alternative names: DNS names and URIs.
pub(crate) const SUBJECT_ALT_NAME: usize = 2048;
/// The address that an issuer's keys are fetched from, and what makes the fetch another one.
pub(crate) const ISSUER: usize = 4096;
/// A JSON Web Key Set.
pub(crate) const KEY_SET: usize = 1024 * 1024;
/// A Secret's content (Kubernetes: 1 MiB).
pub(crate) const CREDENTIAL: usize = 1024 * 1024;
/// A consumer's id, a metadata key or value, a user name, a host of a store.
pub(crate) const LABEL: usize = 4096;
/// Keys of one consumer.
pub(crate) const API_KEYS: RangeInclusive<usize> = 0..=64;
/// API key methods that take one consumer.
pub(crate) const CONSUMER_SETS: RangeInclusive<usize> = 0..=1024;
/// Metadata of one consumer.
pub(crate) const METADATA: RangeInclusive<usize> = 0..=256;
/// Addresses of a store.
pub(crate) const STORE_ADDRESSES: RangeInclusive<usize> = 1..=16;
/// Source of a CEL expression.
pub(crate) const EXPRESSION: usize = 16 * 1024;
/// Names of cookies, and of claims with the `.` that lead into objects.
pub(crate) const KEY_NAME: usize = 1024;
/// The body of an answer that a policy makes.
pub(crate) const ANSWER: usize = 64 * 1024;
/// Rules of all limits in force at one place (32 in each of the policies that are merged there).
pub(crate) const LIMIT_RULES: RangeInclusive<usize> = 0..=128;
/// Limits of one rule or of one of its tiers.
pub(crate) const LIMITS: RangeInclusive<usize> = 1..=4;
/// The same, where there may be none.
pub(crate) const DEFAULT_LIMITS: RangeInclusive<usize> = 0..=4;
/// Plans of one rule.
pub(crate) const TIERS: RangeInclusive<usize> = 1..=64;
/// Matches of a rule of a policy, where none stands for every request.
pub(crate) const POLICY_MATCHES: RangeInclusive<usize> = 0..=256;
/// Expressions that must all hold.
pub(crate) const EXPRESSIONS: RangeInclusive<usize> = 0..=64;
/// The source of an expression, the message of a broken policy, a body of our own.
pub(crate) const POLICY_TEXT: usize = 64 * 1024;
/// Policies that one is merged from.
pub(crate) const POLICY_ORIGINS: RangeInclusive<usize> = 1..=64;
/// Requests that need no identity.
pub(crate) const EXEMPT: RangeInclusive<usize> = 0..=256;
/// Ways to prove an identity (our AuthPolicy: 16, of several levels).
pub(crate) const AUTH_METHODS: RangeInclusive<usize> = 0..=64;
/// Algorithms of one method.
pub(crate) const ALGORITHMS: RangeInclusive<usize> = 1..=13;
/// Places where one method looks for a token.
pub(crate) const TOKEN_SOURCES: RangeInclusive<usize> = 1..=16;
/// Rules for certificates, or of authorization.
pub(crate) const POLICY_RULES: RangeInclusive<usize> = 0..=256;
/// Entries of one list in a rule.
pub(crate) const POLICY_VALUES: RangeInclusive<usize> = 0..=256;
/// Parts of a key.
pub(crate) const KEY_PARTS: RangeInclusive<usize> = 0..=16;
/// One certificate or private key as DER.
pub(crate) const DER: usize = 64 * 1024;
/// Highest `backendRef` weight (Gateway API).
pub(crate) const WEIGHT: u32 = 1_000_000;
/// Longest timeout: the longest that a Gateway API duration can say (GEP-2257), rounded up.
pub(crate) const DURATION: Duration = Duration::from_secs(20 * 366 * 24 * 3600);

/// Addresses of a listener (Gateway API: 16).
pub(crate) const ADDRESSES: RangeInclusive<usize> = 0..=64;
/// Certificates of a listener (Gateway API: 64). None: its handshakes are refused.
pub(crate) const LISTENER_CERTIFICATES: RangeInclusive<usize> = 0..=64;
/// Filters of one listener (Gateway API: 16).
pub(crate) const LISTENER_FILTERS: RangeInclusive<usize> = 0..=64;
/// Listeners that a rule is attached to (Gateway API: 32 parents of 64 listeners).
pub(crate) const ATTACHMENTS: RangeInclusive<usize> = 1..=4096;
/// Hostnames of an attachment (Gateway API: 16, for a TLSRoute 4096).
pub(crate) const HOSTNAMES: RangeInclusive<usize> = 1..=4096;
/// Statuses that are tried again.
pub(crate) const CODES: RangeInclusive<usize> = 0..=200;
/// Origins of a CORS filter (Gateway API: 64). None: nobody is allowed.
pub(crate) const ORIGINS: RangeInclusive<usize> = 0..=256;
/// Methods or header names of a CORS filter (Gateway API: 64).
pub(crate) const CORS_NAMES: RangeInclusive<usize> = 0..=256;
/// Matches of a rule (Gateway API: 64).
pub(crate) const MATCHES: RangeInclusive<usize> = 1..=256;
/// Headers or query parameters of a match (Gateway API: 16).
pub(crate) const PREDICATES: RangeInclusive<usize> = 0..=64;
/// Filters of a rule or of one of its backends (Gateway API: 16).
pub(crate) const FILTERS: RangeInclusive<usize> = 0..=64;
/// Headers that one list of a filter edits (Gateway API: 16).
pub(crate) const EDITS: RangeInclusive<usize> = 0..=64;
/// Backends of a rule (Gateway API: 16).
pub(crate) const BACKENDS: RangeInclusive<usize> = 0..=256;
/// Names of one backend (our `Backend`).
pub(crate) const NAMES: RangeInclusive<usize> = 1..=16;
/// Subject alternative names of one backend (Gateway API: 5).
pub(crate) const SUBJECT_ALT_NAMES: RangeInclusive<usize> = 0..=64;
/// Trusted roots of one backend, or of the clients of one listener; a system's bundle has about 150.
pub(crate) const ROOTS: RangeInclusive<usize> = 0..=1024;
/// Endpoints of one backend.
pub(crate) const ENDPOINTS: RangeInclusive<usize> = 0..=65_536;
/// Certificates of one chain.
pub(crate) const CHAIN: RangeInclusive<usize> = 1..=32;

pub(crate) fn required<T>(value: Option<T>) -> Result<T, InvalidResource> {
    value.ok_or_else(|| Problem::Missing.into())
}

/// Decodes each entry of a bounded list.
pub(crate) fn list<T, U>(
    entries: Vec<T>,
    range: RangeInclusive<usize>,
    mut decode: impl FnMut(T) -> Result<U, InvalidResource>,
) -> Result<Vec<U>, InvalidResource> {
    let count = entries.len();
    if !range.contains(&count) {
        return Err(Problem::Count { count, min: *range.start(), max: *range.end() }.into());
    }
    // Collected in place they would keep the memory of the messages, which are many times larger, as long as they live.
    let mut decoded = Vec::with_capacity(count);
    for (index, entry) in entries.into_iter().enumerate() {
        decoded.push(decode(entry).item(index)?);
    }
    Ok(decoded)
}

/// A string of at most `max` bytes.
pub(crate) fn text(value: String, max: usize) -> Result<String, InvalidResource> {
    match value.len() {
        length if length > max => Err(Problem::TooLong { length, max }.into()),
        _ => Ok(value),
    }
}

/// A name of a Kubernetes object, or of a listener or rule in it. Keys are joined by `/` when they are printed.
pub(crate) fn name(value: String) -> Result<Arc<str>, InvalidResource> {
    let value = text(value, NAME)?;
    if value.is_empty() {
        return Err(Problem::Missing.into());
    }
    if value.bytes().any(|byte| byte == b'/' || !byte.is_ascii_graphic()) {
        return Err(Problem::Text("holds a character that no name may have; use letters, digits, `-`, `.`").into());
    }
    Ok(value.into())
}

pub(crate) fn der(value: Vec<u8>) -> Result<Vec<u8>, InvalidResource> {
    match value.len() {
        0 => Err(Problem::Missing.into()),
        length if length > DER => Err(Problem::TooLong { length, max: DER }.into()),
        _ => Ok(value),
    }
}

pub(crate) fn port(value: u32) -> Result<u16, InvalidResource> {
    match u16::try_from(value) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(Problem::OutOfRange { value: value.into(), expected: "a port from 1 to 65535" }.into()),
    }
}

/// A duration from nanoseconds. "No limit" is said by leaving the field out, so 0 is refused.
pub(crate) fn duration(nanoseconds: u64) -> Result<Duration, InvalidResource> {
    let duration = Duration::from_nanos(nanoseconds);
    if duration.is_zero() || duration > DURATION {
        let expected = "more than 0 and at most 20 years, in nanoseconds";
        return Err(Problem::OutOfRange { value: nanoseconds, expected }.into());
    }
    Ok(duration)
}

/// As [`duration`], for what may be nothing.
pub(crate) fn span(nanoseconds: u64) -> Result<Duration, InvalidResource> {
    if nanoseconds == 0 { Ok(Duration::ZERO) } else { duration(nanoseconds) }
}

/// Nanoseconds of a duration; beyond 584 years, which no reader takes, the most that fits.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Refuses a list that is not in strictly ascending order of `key`: equal sets must be equal values.
pub(crate) fn ascending<T, K: Ord>(entries: &[T], key: impl Fn(&T) -> K) -> Result<(), InvalidResource> {
    let unordered = entries.windows(2).position(|pair| key(&pair[0]) >= key(&pair[1]));
    match unordered {
        None => Ok(()),
        Some(at) => {
            let problem = Problem::Text("is out of order or occurs twice; the sender must sort the list");
            Err(InvalidResource::new(problem)).item(at + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoded_list_keeps_none_of_the_memory_that_its_message_had() {
        let decoded = list(vec![[1_u8; 512]; 3], 0..=9, |message| Ok(message[0]));
        assert_eq!(decoded.map(|list| (list.capacity(), list)).ok(), Some((3, vec![1; 3])));
    }
}
