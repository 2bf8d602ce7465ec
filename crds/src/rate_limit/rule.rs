//! One rule: which requests, by what they are told apart, how many, counted where, and what the others are answered.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limit::{Limit, Tiers};
use crate::policy::{KeyPart, RequestMatch};

/// A rule. Those that use nothing of an identity are applied before authentication, the others after it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.scope == 'Fleet' || !(has(self.precision) || has(self.localGuard) || has(self.onStoreFailure) || has(self.storeTimeout))")
        .message("precision, localGuard, onStoreFailure and storeTimeout go with scope Fleet")
)]
pub struct RateLimitRule {
    /// Labels metrics, and is what rules are merged by.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Requests that the rule applies to: any of these suffices. Without it, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub matches: Vec<RequestMatch>,

    /// CEL predicates, all of which must hold for the rule to apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 1024)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub when: Vec<String>,

    /// What requests are told apart by; each combination of values has counters of its own. Without it, all share them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub key: Vec<KeyPart>,

    /// What becomes of a request that lacks a part of the key, or whose expressions fail.
    #[serde(default)]
    pub on_missing_key: OnMissingKey,

    /// How many. All of them count.
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub limits: Vec<Limit>,

    /// Limits per plan, in place of `limits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Tiers>,

    /// Where it is counted.
    #[serde(default)]
    pub scope: LimitScope,

    /// How exactly a `Fleet` rule counts; `Leased` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,

    /// What each replica sheds before the store is asked, with `Fleet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_guard: Option<LocalGuard>,

    /// What becomes of requests while the store is away, with `Fleet`; `LocalShare` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_store_failure: Option<OnStoreFailure>,

    /// How long a request waits for the store at most, with `Fleet`; 20ms where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('1s')")
            .message("storeTimeout must be from 1ms to 1s")
    )]
    pub store_timeout: Option<String>,

    /// Whether requests are refused.
    #[serde(default)]
    pub mode: LimitMode,

    /// Units that a request consumes: 0 to 1,000,000, or a CEL expression that comes to such a number; 1 where nothing
    /// is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = crate::policy::cost)]
    #[x_kube(
        validation = Rule::new("string(self).matches('^([0-9]{1,6}|1000000)$') || !string(self).matches('^ *[-+]?[0-9]+ *$')")
            .message("cost must be from 0 to 1000000, or a CEL expression")
    )]
    pub cost: Option<IntOrString>,

    /// Whether the policy's targets have counters of their own.
    #[serde(default)]
    pub counter: CounterScope,

    /// What a request that is refused is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<LimitResponse>,
}

/// What becomes of a request that lacks a part of the key.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMissingKey {
    /// The client's address stands in for the missing part.
    #[default]
    SharedBucket,
    /// The rule does not apply to it.
    Skip,
    /// It is refused.
    Deny,
}

/// Where requests are counted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitScope {
    /// In each replica by itself.
    #[default]
    Replica,
    /// In the store that GatewayParameters name (`counterStore`), by all replicas together.
    Fleet,
}

/// How exactly the fleet counts.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Units are taken from the store ahead of use: no request waits, none too many is let pass, and some may be
    /// refused early by what other replicas hold unused.
    #[default]
    Leased,
    /// The store is asked for each request.
    Exact,
}

/// What a replica sheds by itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalGuard {
    /// Requests beyond this multiple of the replica's fair share are refused before the store is asked.
    #[schemars(range(min = 1, max = 100))]
    pub multiple: i32,
}

/// What becomes of requests while the store is away.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// Each replica counts by itself, up to the limit divided by the ready replicas.
    #[default]
    LocalShare,
    /// They are let pass.
    Allow,
    /// They are refused.
    Deny,
}

/// Whether requests are refused.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitMode {
    /// They are.
    #[default]
    Enforce,
    /// It is decided, counted and logged, and they are let pass.
    Shadow,
}

/// Which requests share counters.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterScope {
    /// Those of one target.
    #[default]
    PerTarget,
    /// Those of all targets of the policy.
    PerPolicy,
}

/// The answer to a request that is refused. `Retry-After` is always part of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitResponse {
    /// The status; 429 where nothing is said. gRPC calls get `RESOURCE_EXHAUSTED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 400, max = 599))]
    pub status: Option<i32>,

    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub body: Option<String>,

    /// The body's `Content-Type`; `text/plain` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$&^_.+-]+/[ -~]+$"))]
    pub content_type: Option<String>,

    /// How clients are told of their limit, on every response.
    #[serde(default)]
    pub headers: LimitHeaders,
}

/// How clients are told of their limit.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitHeaders {
    /// `RateLimit` and `RateLimit-Policy`, the structured fields of the IETF draft.
    #[default]
    Standard,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`.
    Legacy,
    /// Not at all.
    None,
}
