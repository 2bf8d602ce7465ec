//! The Deployment around the pods.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::Plan;
use crate::pod::pod;

pub(crate) fn deployment(plan: &Plan<'_>) -> Deployment {
    // No pod goes before another has taken its place.
    let rolling = RollingUpdateDeployment {
        max_unavailable: Some(IntOrString::Int(0)),
        max_surge: Some(IntOrString::String("25%".to_owned())),
    };
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(plan.labels(plan.pod.labels.as_ref())),
            annotations: plan.annotations(plan.pod.annotations.as_ref()),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(plan)),
    };
    let spec = DeploymentSpec {
        replicas: plan.replicas(),
        selector: plan.label_selector(),
        strategy: Some(DeploymentStrategy { type_: Some("RollingUpdate".to_owned()), rolling_update: Some(rolling) }),
        revision_history_limit: Some(2),
        template,
        ..DeploymentSpec::default()
    };
    Deployment { metadata: plan.metadata(None, None), spec: Some(spec), status: None }
}
