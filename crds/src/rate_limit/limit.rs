//! How many.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::KeyPart;

/// So many requests in a window that slides, or in a period of the calendar.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.window) != has(self.calendar)").message("give exactly one of window and calendar"),
    validation = Rule::new("!has(self.burst) || has(self.window)").message("burst goes with window: a quota of a calendar is spent as fast as it comes")
)]
pub struct Limit {
    /// Requests, or units of `cost`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests: i64,

    /// A token bucket that refills evenly over this time, as a Gateway API duration (`1s`, `10m`), 1ms to 744h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('744h')")
            .message("window must be from 1ms to 744h")
    )]
    pub window: Option<String>,

    /// A quota that begins anew with each period, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<Calendar>,

    /// How many may come at once, of a window; as many as `requests` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub burst: Option<i64>,
}

/// Periods of the calendar.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calendar {
    /// From minute 0.
    Hour,
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first.
    Month,
}

/// Plans: which limits count is said by a part of the request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tiers {
    /// What names the plan.
    pub from: KeyPart,

    /// The plans.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["value".to_owned()]))]
    pub entries: Vec<Tier>,

    /// Limits of everybody else; the rule's own where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub default: Vec<Limit>,
}

/// One plan.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tier {
    /// What the part says.
    #[schemars(length(min = 1, max = 256))]
    pub value: String,

    /// The plan's limits, in place of the rule's; all of them count.
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub limits: Vec<Limit>,
}
