//! Writes configurations to disk behind their swap: never in the way of an apply, at most once a second, and the less
//! often the more a write costs. A change costs as much as it is large: it is written behind the snapshot that is there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_ir::Snapshot;
use portcullis_wire::{Digests, Limits, ServerMessage, State, Version, delta_messages, diff, snapshot_messages};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Disk;
use super::disk::Journal;
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

/// What the newest file comes to.
struct Saved {
    journal: Journal,
    state: State,
    snapshot: Snapshot,
}

async fn write_changes(disk: Disk, compiler: Arc<Mutex<Compiler>>, mut changes: watch::Receiver<u64>) {
    // What was there before the process is not written on: it may be cut off.
    let mut saved = None;
    // Seen changes are written even after the sender is gone: `changed` reports the last one first.
    while changes.changed().await.is_ok() {
        let begun = Instant::now();
        let (disk, compiler, before) = (disk.clone(), Arc::clone(&compiler), saved.take());
        let written = tokio::task::spawn_blocking(move || {
            let copy = {
                let compiler = compiler.lock().unwrap_or_else(PoisonError::into_inner);
                compiler.version().map(|version| (version, compiler.snapshot().clone()))
            };
            copy.and_then(|(version, snapshot)| save(&disk, before, version, snapshot))
        });
        match written.await {
            Ok(now) => saved = now,
            Err(_) => {
                tracing::error!("writing the configuration to disk failed inside; it is tried again with the next one")
            }
        }
        let pause = INTERVAL.max(begun.elapsed() * SHARE);
        // The end of the process does not wait for the pause.
        let _ = tokio::time::timeout(pause, closed(&mut changes)).await;
    }
}

/// Writes what differs from what is on disk; all of it, where nothing is or too much has been added to it. None: it could not
/// be written.
fn save(disk: &Disk, before: Option<Saved>, version: Version, snapshot: Snapshot) -> Option<Saved> {
    if let Some(Saved { journal, state, snapshot: mut former }) = before {
        let delta = diff(&former, &snapshot);
        let mut digests = state.digests;
        digests.update(&former.apply(delta.clone()));
        let now = State { version, digests };
        let messages = delta_messages(state, now, &delta, &Limits::default());
        let messages: Vec<_> = messages.into_iter().map(ServerMessage::into_vec).collect();
        if let Some(journal) = disk.append(version.number, journal, &messages) {
            return Some(Saved { journal, state: now, snapshot });
        }
    }
    let digests = Digests::of(&snapshot);
    let journal = disk.write(version.number, &messages(version, &snapshot, digests))?;
    Some(Saved { journal, state: State { version, digests }, snapshot })
}

/// Waits until the sender is gone, without taking note of changes.
async fn closed(changes: &mut watch::Receiver<u64>) {
    let mut other = changes.clone();
    while other.changed().await.is_ok() {}
}

/// A whole snapshot. `digests` are its own.
pub(super) fn messages(version: Version, snapshot: &Snapshot, digests: Digests) -> Vec<Vec<u8>> {
    let messages = snapshot_messages(version, snapshot, digests, &Limits::default());
    messages.into_iter().map(ServerMessage::into_vec).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use portcullis_ir::arbitrary;
    use proptest::prelude::*;

    use super::super::restore::{Restored, restore};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever one snapshot has to do with the next: what is read is what was saved last.
        #[test]
        fn what_is_saved_bit_by_bit_is_read_as_one(
            snapshots in prop::collection::vec((arbitrary::snapshot(), any::<bool>()), 1..6),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let disk = Disk::open(folder.path(), Arc::default()).unwrap();
            let mut saved = None;
            for ((snapshot, same_epoch), number) in snapshots.into_iter().zip(1..) {
                let version = Version { epoch: if same_epoch { 1 } else { number }, number };
                saved = save(&disk, saved, version, snapshot.clone());
                let (_, stored) = disk.candidates().next().unwrap();
                let Restored { version: read, digests, snapshot: restored, left_out, .. } = restore(&stored).unwrap();
                prop_assert_eq!((read, left_out), (version, None));
                prop_assert_eq!(digests, Digests::of(&snapshot));
                prop_assert_eq!(restored, snapshot);
            }
            prop_assert_eq!(disk.candidates().count(), 1, "nothing but the first was written as a whole");
        }
    }
}
