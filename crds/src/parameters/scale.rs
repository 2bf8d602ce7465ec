//! How many pods there are, and how many may be away.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A HorizontalPodAutoscaler on CPU utilization, which is counted against the pods' CPU request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.maxReplicas >= (has(self.minReplicas) ? self.minReplicas : 1)")
        .message("maxReplicas must not be below minReplicas")
)]
pub struct Autoscaling {
    /// Never fewer pods than this; 2, or `maxReplicas` if that is lower, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<i32>,

    /// Never more pods than this.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,

    /// The share of its CPU request that a pod should use on average; 80 where nothing is said.
    #[serde(default, rename = "targetCPUUtilizationPercentage", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu_utilization_percentage: Option<i32>,
}

/// A PodDisruptionBudget: exactly one of its fields, as a number of pods or a percentage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.minAvailable) != has(self.maxUnavailable)")
        .message("give exactly one of minAvailable and maxUnavailable")
)]
pub struct DisruptionBudget {
    /// Pods that must stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::pods_or_percentage)]
    pub min_available: Option<IntOrString>,

    /// Pods that may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::pods_or_percentage)]
    pub max_unavailable: Option<IntOrString>,
}
