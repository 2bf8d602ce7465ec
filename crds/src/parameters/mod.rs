//! `GatewayParameters`: what a Gateway or a GatewayClass says about its data plane beyond the Gateway API.
//!
//! A field is added here in the change that honours it, never before. [`GatewayParametersSpec::over`] lays a Gateway's
//! settings over its class's, [`GatewayParametersSpec::check`] says what the schema cannot.

mod check;
mod merge;
mod observe;
mod pod;
mod quantity;
mod scale;
pub(crate) mod schema;
mod service;
mod store;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use check::InvalidParameter;
pub use observe::{AccessLog, AccessLogMode, ProxyProtocol};
pub use pod::{EnvironmentVariable, ImagePullSecret, PodOverlay};
pub use quantity::Resources;
pub use scale::{Autoscaling, DisruptionBudget};
pub use service::{ExternalTrafficPolicy, IpFamily, IpFamilyPolicy, ServiceSettings, ServiceType};
pub use store::{CounterStore, CounterStoreMode, CounterStoreSecretRef, CounterStoreTls};

/// Settings for the data planes of a Gateway (`spec.infrastructure.parametersRef`) or of all Gateways of a class
/// (GatewayClass `spec.parametersRef`). A Gateway's own settings replace those of its class field by field.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "GatewayParameters",
    plural = "gatewayparameters",
    singular = "gatewayparameters",
    shortname = "pgp",
    category = "portcullis",
    namespaced,
    status = "GatewayParametersStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "Settings for the data planes of one Gateway or of all Gateways of a class.",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))")
        .message("give replicas or autoscaling, not both: an autoscaler sets the replicas itself")
)]
pub struct GatewayParametersSpec {
    /// Listener ports on which PROXY protocol version 2 is expected before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,

    /// Networks whose forwarding headers and PROXY headers are believed, as CIDRs: those of the load balancers in
    /// front. Without it nobody's are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 3, max = 43)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(c, isCIDR(c))").message("each entry must be a CIDR such as 10.0.0.0/8")
    )]
    pub trusted_proxies: Option<Vec<String>>,

    /// Which requests the data planes log. Without it, one in a hundred, and every request that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,

    /// How many pods serve the Gateway; 2 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: Option<i32>,

    /// Lets a HorizontalPodAutoscaler set the number of pods, in place of `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// How many pods a voluntary disruption, such as a drained node, may take away at once; one where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<DisruptionBudget>,

    /// The data plane's image, in place of the one that belongs to the controller. It must be of the same release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[A-Za-z0-9][-A-Za-z0-9._:/@]*$"))]
    pub image: Option<String>,

    /// Compute resources of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// The Service in front of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSettings>,

    /// The pods themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodOverlay>,

    /// The store that the data planes count in together, for RateLimitPolicies of scope `Fleet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter_store: Option<CounterStore>,
}

/// What the controller says about the object.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GatewayParametersStatus {
    /// `Accepted`: whether the settings are valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}
