//! The Service in front of the pods.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Service that carries the Gateway's addresses.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.type) || self.type == 'LoadBalancer' || (!has(self.loadBalancerClass) && !has(self.loadBalancerSourceRanges))")
        .message("loadBalancerClass and loadBalancerSourceRanges go with type LoadBalancer"),
    validation = Rule::new("!has(self.type) || self.type != 'ClusterIP' || !has(self.externalTrafficPolicy)")
        .message("externalTrafficPolicy goes with type LoadBalancer or NodePort"),
    validation = Rule::new("!has(self.ipFamilyPolicy) || self.ipFamilyPolicy != 'SingleStack' || !has(self.ipFamilies) || self.ipFamilies.size() < 2")
        .message("ipFamilyPolicy SingleStack goes with one entry of ipFamilies")
)]
pub struct ServiceSettings {
    /// `LoadBalancer` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<ServiceType>,

    /// Annotations of the Service, for example those that a cloud's load balancers are set up by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::annotations)]
    pub annotations: Option<BTreeMap<String, String>>,

    /// Labels of the Service, beside those that Portcullis sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::labels)]
    pub labels: Option<BTreeMap<String, String>>,

    /// `Local` keeps the client's address and sends connections to pods of the node they arrive at; `Cluster`
    /// (the default of Kubernetes) spreads them over all pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,

    /// The load balancer implementation to use. It can be set only when the Service is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub load_balancer_class: Option<String>,

    /// Networks that may connect, as CIDRs, where the load balancer can restrict that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 3, max = 43)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(c, isCIDR(c))").message("each entry must be a CIDR such as 10.0.0.0/8")
    )]
    pub load_balancer_source_ranges: Option<Vec<String>>,

    /// Whether the Service has addresses of one family or of both; the data planes listen on both. Where nothing is
    /// said, one, as Kubernetes has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<IpFamilyPolicy>,

    /// The families of the Service's addresses, the first of which it keeps for good. Where nothing is said, the
    /// cluster chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() < 2 || self[0] != self[1]").message("each family stands once")
    )]
    pub ip_families: Option<Vec<IpFamily>>,
}

/// Types of Service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// Reachable from outside through a load balancer.
    #[default]
    LoadBalancer,
    /// Reachable inside the cluster.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// Reachable at a port of every node.
    NodePort,
}

impl ServiceType {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoadBalancer => "LoadBalancer",
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
        }
    }
}

/// Which pods take connections from outside.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalTrafficPolicy {
    /// All of them.
    Cluster,
    /// Those of the node that the connection arrives at.
    Local,
}

impl ExternalTrafficPolicy {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }
}

/// Of how many families a Service has addresses.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamilyPolicy {
    /// Of one.
    SingleStack,
    /// Of both, where the cluster has both.
    PreferDualStack,
    /// Of both; a cluster that has one alone refuses the Service.
    RequireDualStack,
}

impl IpFamilyPolicy {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SingleStack => "SingleStack",
            Self::PreferDualStack => "PreferDualStack",
            Self::RequireDualStack => "RequireDualStack",
        }
    }
}

/// A family of addresses.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

impl IpFamily {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}
