//! TLS, TCP and UDP handed on as they come: a data plane in this process, clients and backends over loopback sockets.

// The plane is that of the tests of the platform, which use all of it.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../platform/plane.rs"]
mod plane;

mod backends;
mod endings;
mod families;
mod limits;
mod restart;
mod tcp;
mod tls;
mod udp;
mod world;
