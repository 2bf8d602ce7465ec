//! What a client is told of its limits.
//!
//! `Standard` is draft-ietf-httpapi-ratelimit-headers-10 (also -11): two lists of structured fields (RFC 9651),
//! `RateLimit-Policy: "name";q=100;w=60` and `RateLimit: "name";r=42;t=17`, with an item for each limit. Where a
//! `Retry-After` goes along, `t` of the limit that refuses says the same. `Legacy` has the three names that were in use
//! before, of the limit that is nearest to its end, with the seconds until it is full again.

use std::fmt::Write;

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};
use portcullis_ir::{Calendar, LimitHeaders};
use smallvec::SmallVec;

use crate::rule::Plan;
use crate::shape::{Shape, Standing, window_seconds};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEGACY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const LEGACY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const LEGACY_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
/// The largest integer of a structured field.
const LARGEST: u64 = 999_999_999_999_999;
/// What somebody is told to wait at most; who can never pass is told this.
const LONGEST_WAIT: u64 = 366 * 24 * 3600;

/// A rule's limits and where the request stands with each.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    pub plan: &'a Plan,
    pub headers: LimitHeaders,
    pub standings: &'a [Standing],
}

/// Headers for a response.
pub type Headers = SmallVec<[(HeaderName, HeaderValue); 3]>;

/// The static part of what is told of one plan.
pub(crate) fn policy<'a>(limits: impl Iterator<Item = (&'a str, &'a Shape)>) -> HeaderValue {
    let mut text = String::new();
    for (name, shape) in limits {
        let separator = if text.is_empty() { "" } else { ", " };
        let quota = shape.requests().min(LARGEST);
        // Writing to a String never fails. A month has no fixed length.
        let _ = match shape {
            Shape::Window(window) => {
                let seconds = window_seconds(window.length);
                write!(text, "{separator}\"{name}\";q={quota};w={seconds}")
            }
            Shape::Calendar(calendar) => match calendar.calendar {
                Calendar::Hour => write!(text, "{separator}\"{name}\";q={quota};w=3600"),
                Calendar::Day => write!(text, "{separator}\"{name}\";q={quota};w=86400"),
                Calendar::Week => write!(text, "{separator}\"{name}\";q={quota};w=604800"),
                Calendar::Month => write!(text, "{separator}\"{name}\";q={quota}"),
            },
        };
    }
    // Names of rules are labels of RFC 1123; any other has no header.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"limit\""))
}

/// What goes with the response to a request that was admitted.
pub fn admitted<'a>(told: impl Iterator<Item = Told<'a>> + Clone) -> Headers {
    let mut headers = Headers::new();
    standard(told.clone().filter(|told| told.headers == LimitHeaders::Standard), &mut headers);
    legacy(told.filter(|told| told.headers == LimitHeaders::Legacy), &mut headers);
    headers
}

/// As [`admitted`], for one that was refused.
pub fn refused<'a>(told: impl Iterator<Item = Told<'a>> + Clone, retry: u64) -> Headers {
    let mut headers = admitted(told);
    headers.push((RETRY_AFTER, HeaderValue::from(wait(retry))));
    headers
}

/// Seconds that somebody is told to wait.
pub fn wait(retry: u64) -> u64 {
    retry.clamp(1, LONGEST_WAIT)
}

fn standard<'a>(told: impl Iterator<Item = Told<'a>> + Clone, headers: &mut Headers) {
    let mut plans = told.clone().map(|told| &told.plan.policy);
    let Some(first) = plans.next() else { return };
    let mut rest = plans.peekable();
    // The common case shares the value that was made when the rule was compiled.
    let policy = if rest.peek().is_none() {
        first.clone()
    } else {
        let mut joined = first.as_bytes().to_vec();
        for plan in rest {
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(plan.as_bytes());
        }
        HeaderValue::try_from(joined).unwrap_or_else(|_| first.clone())
    };
    headers.push((RATE_LIMIT_POLICY, policy));
    let mut text = Text::default();
    for told in told {
        for (name, standing) in told.plan.names.iter().zip(told.standings) {
            if !text.0.is_empty() {
                text.0.extend_from_slice(b", ");
            }
            text.0.push(b'"');
            text.0.extend_from_slice(name.as_bytes());
            text.0.extend_from_slice(b"\";r=");
            text.number(standing.remaining.min(LARGEST));
            text.0.extend_from_slice(b";t=");
            text.number(if standing.retry == 0 { standing.reset.min(LARGEST) } else { wait(standing.retry) });
        }
    }
    if let Ok(value) = HeaderValue::from_bytes(&text.0) {
        headers.push((RATE_LIMIT, value));
    }
}

fn legacy<'a>(told: impl Iterator<Item = Told<'a>>, headers: &mut Headers) {
    let limits = told.flat_map(|told| told.plan.shapes.iter().zip(told.standings));
    let Some((shape, standing)) = limits.min_by_key(|(_, standing)| (standing.retry == 0, standing.remaining)) else {
        return;
    };
    let reset = if standing.retry == 0 { standing.reset } else { wait(standing.retry) };
    headers.push((LEGACY_LIMIT, HeaderValue::from(shape.requests())));
    headers.push((LEGACY_REMAINING, HeaderValue::from(standing.remaining)));
    headers.push((LEGACY_RESET, HeaderValue::from(reset)));
}

/// Bytes on the stack while they are few.
#[derive(Default)]
struct Text(SmallVec<[u8; 128]>);

impl Text {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}
