//! `RateLimitPolicy`: how many requests are taken, from whom, and where that is counted.

mod limit;
mod rule;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::policy::{MergeStrategy, PolicyStatus, PolicyTargetRef};

pub use limit::{Calendar, Limit, Tier, Tiers};
pub use rule::{
    CounterScope, LimitHeaders, LimitMode, LimitResponse, LimitScope, LocalGuard, OnMissingKey, OnStoreFailure,
    Precision, RateLimitRule,
};

/// Limits and quotas for the requests of Gateways, listeners, ListenerSets, routes or rules. An inherited policy (GEP-713).
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "RateLimitPolicy",
    plural = "ratelimitpolicies",
    shortname = "prl",
    category = "portcullis",
    namespaced,
    status = "PolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    doc = "Limits and quotas for the requests of Gateways, listeners, ListenerSets, routes or rules.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[0].name"),
    printcolumn(name = "Strategy", type_ = "string", json_path = ".spec.strategy"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.ancestors[0].conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = r#".status.ancestors[0].conditions[?(@.type=="Programmed")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.strategy in ['AtomicDefaults', 'PatchDefaults'] || self.targetRefs.all(t, t.kind in ['Gateway', 'ListenerSet'])")
        .message("overrides are for Gateways and ListenerSets: nothing is below a route that could be overridden")
)]
pub struct RateLimitPolicySpec {
    /// What the policy is attached to, in its own namespace.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["group".to_owned(), "kind".to_owned(), "name".to_owned(), "sectionName".to_owned()]))]
    pub target_refs: Vec<PolicyTargetRef>,

    /// What counts where this policy meets one of a more specific place.
    #[serde(default)]
    pub strategy: MergeStrategy,

    /// The rules. A request must be let pass by every one that applies to it; one that is refused consumes from none.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub rules: Vec<RateLimitRule>,
}
