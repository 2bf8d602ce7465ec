//! From messages to the running program, and back to whoever sent them.
//!
//! ```text
//! bytes ─► Assembler (bounds, order, digests) ─► Compiler ─► bind ─► swap ─► Ack / Nack
//!                                                   └─► Disk (behind the swap, at most once a second)
//! ```

mod client;
mod disk;
mod files;
mod findings;
mod format;
mod health;
mod publish;
mod restore;
mod store;
mod stream;

use tokio::sync::mpsc;

pub(crate) use client::Client;
pub(crate) use disk::Disk;
pub use files::{InvalidSnapshotFile, read_snapshot_file, write_snapshot_file};
pub(crate) use stream::Stream;
pub use stream::StreamSettings;

/// Where configuration comes from and answers go to. In-process or fed by a stream: encoded messages either way. The
/// channels are bounded, so that a slow side holds back the other instead of filling memory.
#[derive(Debug)]
pub struct ConfigLink {
    /// Encoded `ServerMessage`s. When its sender is gone the data plane serves what it has.
    pub incoming: mpsc::Receiver<Vec<u8>>,
    /// Encoded `ClientMessage`s.
    pub outgoing: mpsc::Sender<Vec<u8>>,
}
