//! From a socket to a stream that the proxy loop serves.
//!
//! ```text
//! manager: desired binds ─► one socket per worker and bind (SO_REUSEPORT)
//! accept ─► PROXY header? ─► TLS: ClientHello ─► listener by SNI ─► handshake ─┐
//!                        └─► plain: HTTP/2 preface? ──────────────────────────┴─► Stream ─► http::serve
//! ```
//! Each step has a deadline, and an unrelated configuration change touches no connection.

mod accept;
mod bind;
mod deadline;
mod drain;
mod hello;
mod manager;
mod proxy_protocol;
mod stream;
mod tls;

pub(crate) use accept::Acceptor;
pub(crate) use bind::{BindError, Facts, facts};
pub(crate) use drain::{DrainSignal, DrainState};
pub(crate) use manager::Manager;
pub(crate) use stream::{Stream, StreamControl};
pub(crate) use tls::{TlsTable, install_provider};
