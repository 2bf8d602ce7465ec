//! What a policy is attached to, and how it is merged with others above and below it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names an object of the policy's own namespace, or a section of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.group == 'gateway.networking.k8s.io' && self.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute']")
        .message("a target is a Gateway, ListenerSet, HTTPRoute or GRPCRoute of gateway.networking.k8s.io")
)]
pub struct PolicyTargetRef {
    /// `gateway.networking.k8s.io`.
    #[serde(default = "PolicyTargetRef::gateway_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,

    /// `Gateway`, `ListenerSet`, `HTTPRoute` or `GRPCRoute`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// A listener of the Gateway or ListenerSet, or a rule of the route, by its name. Without it, all of them.
    #[serde(default)]
    #[schemars(length(max = 253), regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"))]
    pub section_name: String,
}

impl PolicyTargetRef {
    /// The only group that targets are of.
    fn gateway_group() -> String {
        "gateway.networking.k8s.io".to_owned()
    }
}

/// What counts where this policy and one of a more specific place meet. The policy of the less specific place decides
/// with its own strategy.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeStrategy {
    /// This policy counts where there is no more specific one.
    #[default]
    AtomicDefaults,
    /// Both count, part by part; of parts with one name the more specific policy's.
    PatchDefaults,
    /// This policy alone counts.
    AtomicOverrides,
    /// Both count, part by part, as far as this policy's demands stand: a more specific policy can only add to them.
    PatchOverrides,
}

impl MergeStrategy {
    /// Whether a more specific policy has to give way.
    pub const fn is_override(self) -> bool {
        matches!(self, Self::AtomicOverrides | Self::PatchOverrides)
    }
}
