//! The store that replicas count in together. Live: how it is reached follows its Secret and the number of replicas.

use std::fmt;

use serde::Serialize;

use crate::{GatewayKey, Secret};

/// Names the store of a Gateway.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey {
    pub gateway: GatewayKey,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Store {
    pub key: StoreKey,
    /// Ready data planes of the Gateway, at least 1: what a limit is divided by while the store is away.
    pub replicas: u32,
    /// None: what was written names no store that can be reached; it counts as one that is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<StoreConnection>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreConnection {
    pub mode: StoreMode,
    /// `host:port` or `[address]:port`, 1 to 16: of the server, of the sentinels, or of some nodes of the cluster.
    pub addresses: Vec<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<StoreTls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// 0 for a cluster.
    pub database: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StoreMode {
    Single,
    /// The name under which the sentinels know the master.
    Sentinel(Box<str>),
    Cluster,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreTls {
    /// DER; none: the system's.
    #[serde(serialize_with = "crate::serialize::certificates")]
    pub roots: Vec<Box<[u8]>>,
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.gateway.fmt(f)
    }
}
