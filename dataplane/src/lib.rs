//! The machine that executes one immutable program at a time.
//!
//! ```text
//! config link ─► config/ (assemble, decode, apply, ack) ─► program/ (compile, bind, swap) ─► one ArcSwap<Program>
//!                                                                                                │ loaded once per request
//! socket ─► listen/ (accept, PROXY, ClientHello, TLS) ─┬► http/ (one loop, a file per phase) ────┤
//!                                                      ├► stream/ (TLS, TCP and UDP as they come) ┘
//!                                                      └──► upstream/ (pick, pool, connect, h1 / h2)
//! ```
//!
//! Threads: N workers, each a current-thread tokio runtime with its own sockets (SO_REUSEPORT) and its own upstream
//! pools; one more runtime for everything off the request path (config, admin, DNS, disk).

mod admin;
#[doc(hidden)]
pub mod bench;
mod config;
mod conn;
mod handle;
mod hex;
mod http;
mod listen;
mod observe;
mod policy;
mod program;
mod settings;
mod shared;
mod state;
mod stream;
mod upstream;
mod worker;

pub use config::{ConfigLink, InvalidSnapshotFile, StreamSettings, read_snapshot_file, write_snapshot_file};
pub use handle::{DataPlane, Drainer, ExitReport, Handle, StartError};
pub use settings::{AccessLog, ExtraPage, HttpLimits, Settings, StreamLimits};
