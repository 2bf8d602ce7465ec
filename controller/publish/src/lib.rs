//! From snapshots to data planes: versions, sessions, the stream's server, and who may ask for what. Knows nothing of
//! Kubernetes; the lead hands snapshots in and takes acknowledgements out.
//!
//! ```text
//!                  ┌────────────── Publisher ──────────────┐
//! translate ──────►│ publish ─► Book ─► target(pod)        │    server::serve (rustls, gRPC)
//!                  │             │ (versions by difference)│◄──► Issue      token + CSR ─► client certificate
//!                  │             └─► Session per stream ◄──┼───► Subscribe  Hello, Ack, Nack ⇄ Snapshot, Delta
//! status writer ◄──│ fleet ◄─ what each pod said           │◄─── Report     the pods of the other replicas
//!                  └───────────────────────────────────────┘
//! Identify (TokenReview) ─► PodIdentity ─► Pki (CA, certificates in memory)
//! ```
//!
//! * A [`Publisher`] is one epoch. [`Publisher::publish`] pre-flights, compares digests and numbers the config lane; the
//!   live lane has no number. Each pod is told *its* target, which need not be the newest.
//! * A session has one unacknowledged update in flight; what comes meanwhile is sent together afterwards. A pod that
//!   holds the target already, whichever replica gave it, is sent nothing.
//! * [`Fleet`] is what the pods said, those of peer replicas included ([`report_to`]); [`Fleet::outcome`] answers whether
//!   a version is in force.
//! * Only pods that [`Identify`] vouches for get a certificate, and with it the configuration of their own Gateway.
//!   The token is looked at when a stream begins, not while it lives: a revoked one ends with its stream.

mod book;
mod chain;
mod codec;
mod fleet;
mod gate;
mod identity;
#[cfg(test)]
mod laws;
mod pki;
mod publisher;
mod report;
mod server;
mod session;
mod stats;

pub use fleet::{Fleet, Laggard, Outcome, Pod};
pub use identity::{Denied, Identify, PodIdentity};
pub use pki::{Ca, CaMaterial, InvalidCa, InvalidRequest, Pki};
pub use publisher::{Published, Publisher, Selector};
pub use report::{PodReport, report_to};
pub use server::{ServeError, serve};
pub use stats::{DeniedReason, Stats};
