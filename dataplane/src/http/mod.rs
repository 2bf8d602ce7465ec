//! The proxy loop: one connection from its first byte to its last.
//!
//! ```text
//! conn ─► h1 (keep-alive loop) ─┐                       ┌─► local (answers of our own)
//!      └► h2 (a task per stream)┴► request ─► head ─► client ─► route ─┼─► forward ─► retry?
//!                                                       │         └► exchange ─► respond
//!                                                       │   (session)    └► upgrade (after a 101)
//!                                                       └─► mirror (a copy, on the side)
//! cors: around all of it, for rules that have the filter; grpc: what gRPC asks of any of them
//! log: once per request, whatever became of it
//! ```
//! `downstream/` hides which HTTP the client speaks; `crate::upstream::Upstream` hides the backend's.

mod client;
mod conn;
mod cors;
mod downstream;
mod exchange;
mod first;
mod forward;
mod grpc;
mod h1;
mod h2;
mod head;
mod headers;
mod idle;
mod io;
mod local;
mod log;
mod mirror;
mod outgoing;
mod reply;
mod request;
mod respond;
mod retry;
mod route;
mod session;
mod timer;
mod upgrade;

use std::sync::Arc;

use crate::conn::ConnInfo;
use crate::listen::{DrainSignal, Stream};
use crate::worker::Worker;

pub(crate) use session::{InvalidSession, Persistence};

/// Serves one accepted (and TLS-finished) connection until it ends.
pub(crate) async fn serve(stream: Stream, info: Arc<ConnInfo>, worker: Arc<Worker>, drain: DrainSignal) {
    conn::serve(stream, info, worker, drain).await;
}
