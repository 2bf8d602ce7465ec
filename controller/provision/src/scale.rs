//! How many pods there are, and how many may be away.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use portcullis_crds::{Autoscaling, DisruptionBudget};

use crate::Plan;

/// Pods where nothing is said: one can fail or be drained.
const DEFAULT_REPLICAS: i32 = 2;
const DEFAULT_UTILIZATION: i32 = 80;

impl Plan<'_> {
    /// None where an autoscaler sets it.
    pub(crate) fn replicas(&self) -> Option<i32> {
        match self.parameters.autoscaling {
            Some(_) => None,
            None => Some(self.parameters.replicas.unwrap_or(DEFAULT_REPLICAS)),
        }
    }
}

pub(crate) fn autoscaler(plan: &Plan<'_>) -> Option<HorizontalPodAutoscaler> {
    let Autoscaling { min_replicas, max_replicas, target_cpu_utilization_percentage } =
        plan.parameters.autoscaling.as_ref()?;
    let target = MetricTarget {
        type_: "Utilization".to_owned(),
        average_utilization: Some(target_cpu_utilization_percentage.unwrap_or(DEFAULT_UTILIZATION)),
        ..MetricTarget::default()
    };
    let cpu = MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource { name: "cpu".to_owned(), target }),
        ..MetricSpec::default()
    };
    let spec = HorizontalPodAutoscalerSpec {
        scale_target_ref: CrossVersionObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: "Deployment".to_owned(),
            name: plan.name.clone(),
        },
        min_replicas: Some(min_replicas.unwrap_or(DEFAULT_REPLICAS.min(*max_replicas))),
        max_replicas: *max_replicas,
        metrics: Some(vec![cpu]),
        behavior: None,
    };
    Some(HorizontalPodAutoscaler { metadata: plan.metadata(None, None), spec: Some(spec), status: None })
}

pub(crate) fn disruption_budget(plan: &Plan<'_>) -> PodDisruptionBudget {
    // A number of pods that may go, rather than one that must stay: with a single replica a node can still be drained.
    let one = DisruptionBudget { min_available: None, max_unavailable: Some(IntOrString::Int(1)) };
    let DisruptionBudget { min_available, max_unavailable } =
        plan.parameters.pod_disruption_budget.clone().unwrap_or(one);
    let spec = PodDisruptionBudgetSpec {
        min_available,
        max_unavailable,
        selector: Some(plan.label_selector()),
        // A pod that is not ready serves nobody; it must not hold up a drained node.
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
    };
    PodDisruptionBudget { metadata: plan.metadata(None, None), spec: Some(spec), status: None }
}
