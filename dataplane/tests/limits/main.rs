//! Rate limits over loopback sockets, with real stores.

// As in the tests of HTTP, whose support these share.
#![allow(clippy::unwrap_used, clippy::large_futures, unreachable_pub)]

mod answers;
mod edits;
mod faults;
mod fleet;
mod quotas;
mod redis;
mod same_view;
#[allow(dead_code, unused_imports, reason = "shared with the tests of HTTP, each of which uses a part")]
#[path = "../http/support/mod.rs"]
mod support;
mod upgrades;
mod world;
