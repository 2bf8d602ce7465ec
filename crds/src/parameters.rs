//! `GatewayParameters`: what a Gateway or a GatewayClass says about its data plane beyond the Gateway API.
//!
//! A field is added here in the change that honours it, never before.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

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
pub struct GatewayParametersSpec {
    /// Listener ports on which PROXY protocol version 2 is expected before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// PROXY protocol version 2, as load balancers send it to keep the client's address.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Ports of listeners whose connections all start with a PROXY header; connections without one are closed. The
    /// header is believed from the data plane's trusted proxies alone. An empty list switches it off for a Gateway
    /// whose class has it on.
    #[schemars(length(max = 64), inner(range(min = 1, max = 65535)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(p, self.exists_one(q, p == q))").message("ports must be unique")
    )]
    pub ports: Vec<i32>,
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
