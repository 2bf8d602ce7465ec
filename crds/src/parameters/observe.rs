//! What a data plane believes of its peers, and what it tells.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// Which requests are logged, as JSON on standard output.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.sample) || self.mode == 'Sampled'").message("sample goes with mode Sampled")
)]
pub struct AccessLog {
    /// `Off`, `Sampled` (one request in `sample`, and those that failed) or `All`.
    pub mode: AccessLogMode,

    /// With mode `Sampled`: one request in this many; 100 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub sample: Option<i32>,
}

/// Which requests are logged.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLogMode {
    /// None.
    Off,
    /// One in `sample`.
    #[default]
    Sampled,
    /// Every one.
    All,
}
