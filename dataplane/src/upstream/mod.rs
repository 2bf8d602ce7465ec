//! Backends: picking one, picking an endpoint, and speaking to it.
//!
//! ```text
//! rule ─► WeightedPick (per worker) ─► BackendProgram ─► EndpointSet::pick (P2C) ─► Upstreams::connect
//!                                                                                     │
//!               pool (per worker; keyed by address and identity) ◄── release ── Upstream (h1 | h2 stream)
//!                                                                                     │
//!                                                    connect (deadline) ─► TCP ─► TLS (policy) ─► ALPN
//! ```
//!
//! Upstream sessions are not shared between workers. What a connection is pooled under names everything that
//! authenticates it, so a connection made under one CA is never used under another.

mod backend;
mod balance;
mod connect;
mod dns;
mod endpoints;
mod error;
mod gate;
mod http1;
mod http2;
mod pool;
mod raw;
mod retries;
mod session;
mod sticky;
mod stream;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tls;
mod upgraded;
mod upstreams;
mod verify;
mod weighted;
mod wire;

pub(crate) use backend::{BackendProgram, Upkeep};
pub(crate) use endpoints::{Endpoint, EndpointRef};
#[cfg(test)]
pub(crate) use error::TlsReason;
pub(crate) use error::{ConnectError, UpstreamError, UpstreamErrorKind};
pub(crate) use gate::WRITE_BEHIND_HIGH;
pub(crate) use raw::{Carry, Raw};
pub(crate) use retries::RetryToken;
pub(crate) use session::Upstream;
pub(crate) use sticky::{Seal, Token, backend_mark};
pub(crate) use upgraded::Upgraded;
pub(crate) use upstreams::{CONNECT_BOUND, Upstreams, Want};
pub(crate) use weighted::WeightedPick;
