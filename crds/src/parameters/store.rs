//! The store that data planes count in together.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Checked, within, wrong};
use crate::backend::CaCertificateRef;

/// A Redis or Valkey, for rules of scope `Fleet`. A Gateway's own replaces its class's as a whole: half of each would be
/// a third one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.sentinelMaster) == (self.mode == 'Sentinel')").message("sentinelMaster goes with mode Sentinel, which needs it"),
    validation = Rule::new("!has(self.database) || self.mode != 'Cluster' || self.database == 0").message("a cluster has database 0 alone")
)]
pub struct CounterStore {
    /// What runs at the addresses.
    #[serde(default)]
    pub mode: CounterStoreMode,

    /// `host:port` or `[address]:port`: of the server, of the sentinels, or of some nodes of the cluster.
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(min = 3, max = 262),
            regex(pattern = r"^([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub addresses: Vec<String>,

    /// The name under which the sentinels know the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub sentinel_master: Option<String>,

    /// Speak TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<CounterStoreTls>,

    /// A Secret beside the GatewayParameters: its key `password` holds the password, `username` the ACL user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_secret_ref: Option<CounterStoreSecretRef>,

    /// The database; 0 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1023))]
    pub database: Option<i32>,
}

/// What runs at the addresses.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterStoreMode {
    /// One server.
    #[default]
    Single,
    /// Sentinels that know the master.
    Sentinel,
    /// Nodes of a cluster.
    Cluster,
}

/// TLS to the store; its certificate must carry the name or address that is dialled.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CounterStoreTls {
    /// ConfigMaps beside the GatewayParameters whose key `ca.crt` holds trusted certificates in PEM form; what the
    /// system trusts where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ca_certificate_refs: Vec<CaCertificateRef>,
}

/// Names a Secret beside the GatewayParameters.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CounterStoreSecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl CounterStore {
    pub(super) fn check(&self) -> Checked {
        let Self { mode, addresses, sentinel_master, tls: _, auth_secret_ref: _, database } = self;
        if addresses.is_empty() || addresses.len() > 16 {
            return wrong("spec.counterStore.addresses needs 1 to 16 entries; give host:port".to_owned());
        }
        for address in addresses {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if port.and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
                return wrong(format!(
                    "spec.counterStore.addresses holds {address:?}, which is no address; write it like redis.example:6379"
                ));
            }
        }
        if sentinel_master.is_some() != (*mode == CounterStoreMode::Sentinel) {
            let why = "spec.counterStore.sentinelMaster goes with mode Sentinel, which needs it; add or remove it";
            return wrong(why.to_owned());
        }
        let most = if *mode == CounterStoreMode::Cluster { 0 } else { 1023 };
        within("spec.counterStore.database", database.map(i64::from), 0, most)
    }
}
