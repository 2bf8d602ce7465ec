//! The proxy loop over loopback sockets: every trap of the protocol that was ever paid for, closed and shown to be.
//!
//! Backends are written here, byte by byte, because what matters is what they see and how they misbehave.

// The support modules are shared with other targets, which use other parts of them.
#![allow(dead_code)]
// Buffers live in the futures of the support module: a test runs one of them.
// Everything of the support module is for the modules beside it, which no lint of a test binary sees.
#![allow(clippy::unwrap_used, clippy::large_futures, unreachable_pub)]

mod bodies;
mod client_address;
mod cors;
mod external;
mod first;
mod framing;
mod grpc;
mod h1_connection;
mod h2_connection;
mod h2_pairs;
mod limits;
mod local_answers;
mod mirrors;
mod responses;
mod retries;
mod retry_policies;
mod routing;
mod sessions;
mod support;
mod timeouts;
mod tls_backends;
mod upgrades;
