//! Writes configurations to disk behind their swap: never in the way of an apply, at most once a second, and the less
//! often the more a write costs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_ir::Snapshot;
use portcullis_wire::{Digests, Limits, ServerMessage, Version, snapshot_messages};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Disk;
use super::format::Stored;
use crate::program::Compiler;

const INTERVAL: Duration = Duration::from_secs(1);
/// Writing may take this share of the time at most: 1 in so many.
const SHARE: u32 = 50;

#[derive(Debug)]
pub(super) struct Store {
    disk: Disk,
    changes: watch::Sender<u64>,
    writer: JoinHandle<()>,
}

impl Store {
    /// Must be called on the control runtime.
    pub(super) fn new(disk: Disk, compiler: Arc<Mutex<Compiler>>) -> Self {
        let (changes, receiver) = watch::channel(0);
        let writer = tokio::spawn(write_changes(disk.clone(), compiler, receiver));
        Self { disk, changes, writer }
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// There is something new to write.
    pub(super) fn changed(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    /// Writes what is left.
    pub(super) async fn finish(self) {
        drop(self.changes);
        // A panic of the writer has been counted and told.
        let _ = self.writer.await;
    }
}

async fn write_changes(disk: Disk, compiler: Arc<Mutex<Compiler>>, mut changes: watch::Receiver<u64>) {
    // Seen changes are written even after the sender is gone: `changed` reports the last one first.
    while changes.changed().await.is_ok() {
        let begun = Instant::now();
        let (disk, compiler) = (disk.clone(), Arc::clone(&compiler));
        let written = tokio::task::spawn_blocking(move || {
            let copy = {
                let compiler = compiler.lock().unwrap_or_else(PoisonError::into_inner);
                compiler.version().map(|version| (version, compiler.snapshot().clone()))
            };
            if let Some((version, snapshot)) = copy {
                disk.write(version.number, &stored(version, &snapshot));
            }
        });
        if written.await.is_err() {
            tracing::error!("writing the configuration to disk failed inside; it is tried again with the next one");
        }
        let pause = INTERVAL.max(begun.elapsed() * SHARE);
        // The end of the process does not wait for the pause.
        let _ = tokio::time::timeout(pause, closed(&mut changes)).await;
    }
}

/// Waits until the sender is gone, without taking note of changes.
async fn closed(changes: &mut watch::Receiver<u64>) {
    let mut other = changes.clone();
    while other.changed().await.is_ok() {}
}

pub(super) fn stored(version: Version, snapshot: &Snapshot) -> Stored {
    let messages = snapshot_messages(version, snapshot, Digests::of(snapshot), &Limits::default());
    Stored(messages.into_iter().map(ServerMessage::into_vec).collect())
}
