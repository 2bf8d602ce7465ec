//! From a socket to a stream that the proxy loop serves.
//!
//! ```text
//! manager: desired places ─► one socket per worker and place (SO_REUSEPORT)
//! accept ─► PROXY header? ─► TLS: ClientHello ─► listener by SNI ─┬─► HTTPS: handshake ──────┐
//!                        │                                       └─► TLS: handshake, or not ─┼─► Stream ─► stream::serve
//!                        ├─► TCP ────────────────────────────────────────────────────────────┘
//!                        └─► plain: HTTP/2 preface? ─► Stream ─► http::serve
//! UDP sockets ─► stream::UdpAcceptor
//! ```
//! Each step has a deadline, and an unrelated configuration change touches no connection.

mod accept;
mod bind;
mod client_auth;
mod deadline;
mod drain;
mod hello;
mod manager;
mod proxy_protocol;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod shake;
mod stream;
mod tls;

pub(crate) use accept::Acceptor;
pub(crate) use bind::{BindError, Facts, Place, Spoken, facts};
pub(crate) use client_auth::admits;
pub(crate) use deadline::DeadlineTimer;
pub(crate) use drain::{DRAIN_GRACE, DrainSignal, DrainState, Life, LifeGuard};
pub(crate) use manager::Manager;
pub(crate) use stream::{Stream, StreamControl};
pub(crate) use tls::{Inside, TlsTable, install_provider};
