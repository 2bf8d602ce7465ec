//! Authentication and authorization through a whole data plane, over loopback sockets: what clients are answered, and what
//! backends see.

// The support modules are shared with other targets, which use other parts of them.
#![allow(clippy::unwrap_used, clippy::large_futures, unreachable_pub, dead_code, unused_imports)]

mod answers;
mod broken;
mod browser;
mod certificates;
mod external;
mod flood;
mod forged;
mod introspection;
mod known;
mod live;
mod login;
mod matrix;
#[path = "../platform/plane.rs"]
mod plane;
mod provider;
#[path = "../../remote/tests/real/mod.rs"]
mod real;
#[path = "../platform/resources.rs"]
mod resources;
mod secrets;
mod spoofing;
#[path = "../http/support/mod.rs"]
mod support;
#[path = "../../auth/tests/judging/tokens.rs"]
mod tokens;
mod world;
