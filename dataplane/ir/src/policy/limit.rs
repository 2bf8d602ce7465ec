//! Rate limits and quotas.

use std::time::Duration;

use http::HeaderName;
use serde::Serialize;

use super::{Expression, PolicyOrigin, StoreKey};
use crate::Match;

/// All limits in force at one place. A broken RateLimitPolicy is inert: it leaves no trace here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Up to 128, by name in ascending order, each once. All that apply to a request must let it pass; a request that one
    /// of them refuses consumes from none. Empty: nothing is limited here, whatever the listener says.
    pub rules: Vec<LimitRule>,
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitRule {
    pub name: Box<str>,
    pub origin: PolicyOrigin,
    /// `counter: PerPolicy`: the policy's targets share their buckets.
    pub shared: bool,
    /// Any of them suffices. Empty: every request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// All must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Expression>,
    /// A tuple. Empty: one bucket for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<KeyPart>,
    pub on_missing_key: OnMissingKey,
    /// 1 to 4.
    pub limits: Vec<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Tiers>,
    pub scope: LimitScope,
    /// Decides, counts and logs, and lets pass.
    pub shadow: bool,
    pub cost: Cost,
    pub response: LimitResponse,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyPart {
    /// The client's address without the bits behind the prefix (0 to 32, 0 to 128).
    ClientIp {
        ipv4_prefix: u8,
        ipv6_prefix: u8,
    },
    Header(#[serde(serialize_with = "crate::serialize::header_name")] HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
    /// A claim of the identity; `.` leads into objects.
    Claim(Box<str>),
    /// The id of the API key's consumer.
    ApiKey,
    Expression(Expression),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OnMissingKey {
    /// The client's address stands in for the missing part.
    #[default]
    SharedBucket,
    /// The rule does not apply.
    Skip,
    Deny,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// At least 1.
    pub requests: u64,
    pub period: LimitPeriod,
    /// Of a window: how many may come at once; at least 1. None: `requests`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitPeriod {
    /// A token bucket that refills evenly; never 0.
    Window(Duration),
    /// A quota that begins anew with each period of the calendar, in UTC.
    Calendar(Calendar),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Calendar {
    Hour,
    Day,
    /// From Monday (ISO 8601).
    Week,
    Month,
}

/// Plans: limits by what a part of the request says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tiers {
    pub from: KeyPart,
    /// 1 to 64, by value in ascending order, each once.
    pub entries: Vec<Tier>,
    /// Of everybody else. Empty: the rule's own limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default: Vec<Limit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tier {
    pub value: Box<str>,
    /// 1 to 4.
    pub limits: Vec<Limit>,
}

/// Where it is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitScope {
    Replica,
    Fleet(FleetScope),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FleetScope {
    pub store: StoreKey,
    pub precision: Precision,
    /// 1 to 100: what is beyond this multiple of the replica's fair share is refused before the store is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_guard: Option<u32>,
    pub on_store_failure: OnStoreFailure,
    /// How long a request waits for the store at most; never 0.
    pub store_timeout: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Precision {
    /// Units are taken from the store ahead of use.
    #[default]
    Leased,
    /// The store is asked for each request.
    Exact,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OnStoreFailure {
    /// The limit divided by the ready replicas, counted locally.
    #[default]
    LocalShare,
    Allow,
    Deny,
}

/// What a request consumes. 0 consumes nothing and is let pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Cost {
    Units(u32),
    Expression(Expression),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitResponse {
    /// 400 to 599.
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Box<str>>,
    pub headers: LimitHeaders,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitHeaders {
    /// `RateLimit` and `RateLimit-Policy` (IETF draft, structured fields).
    #[default]
    Standard,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    Legacy,
    None,
}

impl Default for LimitResponse {
    fn default() -> Self {
        Self { status: 429, body: None, content_type: None, headers: LimitHeaders::Standard }
    }
}
