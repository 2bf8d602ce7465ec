//! Writes configurations to disk behind their swap: never in the way of an apply or of a request, at most once a second, and the
//! less often the more a write costs. A change costs as much as it is large: it is written behind the snapshot that is there.

use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_ir::Snapshot;
use portcullis_wire::{Digests, Limits, ServerMessage, State, Version, delta_messages, diff, snapshot_messages};
use tokio::sync::oneshot;

use super::Disk;
use super::disk::Journal;
use crate::program::Compiler;

const INTERVAL: Duration = Duration::from_secs(1);
/// Writing may take this share of the time at most: 1 in so many.
const SHARE: u32 = 50;
/// A whole table takes longer than a request may wait: who serves requests on the same core goes first.
const NICENESS: i32 = 19;

#[derive(Debug)]
pub(super) struct Store {
    disk: Disk,
    changes: SyncSender<()>,
    /// Dropped, it ends the writer's pause.
    going_on: SyncSender<Infallible>,
    /// Dropped by the writer at its end.
    written: oneshot::Receiver<Infallible>,
}

impl Store {
    /// Starts the writer.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn new(disk: Disk, compiler: Arc<Mutex<Compiler>>) -> io::Result<Self> {
        // What is written is what there is then: one word that waits stands for all.
        let (changes, changed) = sync_channel(1);
        let (going_on, ending) = sync_channel(1);
        let (done, written) = oneshot::channel();
        let writer = disk.clone();
        thread::Builder::new().name("disk".to_owned()).spawn(move || {
            let _done = done;
            // Of this thread alone. Where it is not allowed, writing is as urgent as all else.
            let _ = rustix::process::nice(NICENESS);
            write_changes(&writer, &compiler, &changed, &ending);
        })?;
        Ok(Self { disk, changes, going_on, written })
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// There is something new to write.
    pub(super) fn changed(&self) {
        // Full: the writer has not begun with what came before.
        let _ = self.changes.try_send(());
    }

    /// Writes what is left.
    pub(super) async fn finish(self) {
        let Self { disk: _, changes, going_on, written } = self;
        drop((changes, going_on));
        let _ = written.await;
    }
}

/// What the newest file comes to.
struct Saved {
    journal: Journal,
    state: State,
    snapshot: Snapshot,
}

fn write_changes(disk: &Disk, compiler: &Mutex<Compiler>, changed: &Receiver<()>, ending: &Receiver<Infallible>) {
    // What was there before the process is not written on: it may be cut off.
    let mut saved = None;
    // A word that waits is had even after the sender is gone.
    while changed.recv().is_ok() {
        let begun = Instant::now();
        let before = saved.take();
        match catch_unwind(AssertUnwindSafe(|| save_newest(disk, compiler, before))) {
            Ok(now) => saved = now,
            Err(_) => {
                tracing::error!("writing the configuration to disk failed inside; it is tried again with the next one");
            }
        }
        // The end of the process does not wait for the pause.
        let _ = ending.recv_timeout(INTERVAL.max(begun.elapsed() * SHARE));
    }
}

fn save_newest(disk: &Disk, compiler: &Mutex<Compiler>, before: Option<Saved>) -> Option<Saved> {
    let (version, snapshot) = {
        let compiler = compiler.lock().unwrap_or_else(PoisonError::into_inner);
        (compiler.version()?, compiler.snapshot().clone())
    };
    save(disk, before, version, snapshot)
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
                prop_assert_eq!(stored.changes.is_empty(), number <= 2, "all but the first two are written as changes");
                let Restored { version: read, digests, snapshot: restored, left_out, .. } = restore(&stored).unwrap();
                prop_assert_eq!((read, left_out), (version, None));
                prop_assert_eq!(digests, Digests::of(&snapshot));
                prop_assert_eq!(restored, snapshot);
            }
        }
    }
}
