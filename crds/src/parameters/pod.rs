//! What is laid over the pods that Portcullis makes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Additions to the pods. A change rolls them, one after the other and without losing requests.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodOverlay {
    /// Labels, beside those that Portcullis sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::labels)]
    pub labels: Option<BTreeMap<String, String>>,

    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::annotations)]
    pub annotations: Option<BTreeMap<String, String>>,

    /// Labels that a node must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::labels)]
    pub node_selector: Option<BTreeMap<String, String>>,

    /// Taints of nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), transform = super::schema::bounded)]
    pub tolerations: Option<Vec<Toleration>>,

    /// Nodes and neighbours that the pods prefer, need or avoid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::bounded)]
    pub affinity: Option<Affinity>,

    /// How the pods are spread, in place of "over the nodes, if possible". One without a `labelSelector` counts the
    /// pods of this Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), transform = super::schema::bounded)]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,

    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// Seconds from the order to end a pod until it is killed; 45 where nothing is said. Ten of them are not for
    /// requests in flight: five until load balancers have noticed, and five to spare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 15, max = 86400))]
    pub termination_grace_period_seconds: Option<i64>,

    /// Secrets of the Gateway's namespace that the image is pulled with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub image_pull_secrets: Option<Vec<ImagePullSecret>>,

    /// Environment variables of the data plane, for example `PORTCULLIS_LOG`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".to_owned()]),
        validation = Rule::new("self.all(e, e.name != 'PORTCULLIS_NODE')").message("PORTCULLIS_NODE is set by Portcullis")
    )]
    pub env: Option<Vec<EnvironmentVariable>>,
}

/// Names a Secret of type `kubernetes.io/dockerconfigjson`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImagePullSecret {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A variable and its value.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentVariable {
    /// The variable's name.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,

    /// Its value.
    #[schemars(length(max = 4096))]
    pub value: String,
}
