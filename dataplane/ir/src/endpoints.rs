//! Addresses behind a backend. Live: they never wait for a configuration version.

use std::net::SocketAddr;

use serde::Serialize;

use crate::BackendKey;

/// All addresses of one backend, sorted by address without duplicates (so that equal sets are equal values).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    pub key: BackendKey,
    pub endpoints: Vec<Endpoint>,
}

/// One address. What is neither ready nor serving is left out by `translate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// False: terminating but still serving; used only when no endpoint is ready.
    pub ready: bool,
}
