//! What is handed on as it comes: TLS (opened or not), TCP and UDP.
//!
//! ```text
//! listen ─► connection ─► rule ─► pick (backend by weight, endpoint, connect) ─► copy, both ways
//! socket ─► udp: datagram ─► session of its client ─► pick, once ─► endpoint; answers go back by the same socket
//! session: counted and logged once, whatever became of it
//! ```
//! What goes nowhere is refused in the way of its kind: a connection is reset, a datagram is dropped. A configuration
//! that changes a rule touches nothing that is established; one that takes the listener away drains it.

mod connection;
mod pick;
mod session;
mod udp;

pub(crate) use connection::{no_route, serve};
pub(crate) use session::Protocol;
pub(crate) use udp::UdpAcceptor;
