//! The proxy loop over loopback sockets: every trap of the protocol that was ever paid for, closed and shown to be.
//!
//! Backends are written here, byte by byte, because what matters is what they see and how they misbehave.

#![allow(clippy::unwrap_used)]

mod bodies;
mod framing;
mod h1_connection;
mod h2_pairs;
mod limits;
mod local_answers;
mod responses;
mod retries;
mod support;
mod timeouts;
mod upgrades;
