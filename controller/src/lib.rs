//! The controller: Kubernetes objects in, versions and statuses out.
//!
//! ```text
//! API server ─► watch ─► store ─► reconcile (translate ◇) ─► publish ═► data planes
//!     ▲                              │          ▲                 ║
//!     │                              ▼          ╚═══ acks ════════╝
//!     ├──────── status (lease) ◄─ writes
//!     ├──────── fleets (lease) ◄─ wanted: Deployment, Service … of each Gateway
//!     └──────── issuers (lease) ◄─ sources: what is fetched goes into ConfigMaps, which every replica watches
//! ```
//!
//! Every replica watches, translates and serves streams; only the lease holder writes.

mod admin;
mod authority;
mod events;
mod finalizer;
mod fleets;
mod identity;
mod issuers;
mod lane;
mod lease;
mod metrics;
mod pause;
mod provision;
mod reconcile;
mod settings;
mod start;
mod status;
mod store;
mod watch;

pub use lease::Leadership;
pub use settings::Settings;
pub use start::{Controller, Handle};
