//! The last good program on disk, so that a restart without a controller serves what was served before.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{MAX_FILE, Stored, read_stored, write_change, write_snapshot};
use crate::observe::Metrics;

const CURRENT: &str = "snapshot";
/// The one before with all that changed behind it, for the case that the newest cannot be read.
const PREVIOUS: &str = "snapshot.previous";
const UNFINISHED: &str = "snapshot.unfinished";

/// As many bytes of changes are always written behind a snapshot, however small that is: some thousand of them.
const ROOM: u64 = 1024 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    metrics: Arc<Metrics>,
}

/// The newest snapshot's file, open for what changes.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// Bytes that changes may still take: then a new snapshot is as cheap to write, and quicker to read.
    room: u64,
}

impl Disk {
    /// Creates the folder if it is missing (only the owner may look inside: snapshots hold private keys) and makes sure
    /// that it can be written to.
    pub(crate) fn open(folder: &Path, metrics: Arc<Metrics>) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let disk = Self { folder: folder.to_owned(), metrics };
        // What a crash left behind, and the proof that files can be made.
        drop(disk.create_unfinished()?);
        fs::remove_file(disk.folder.join(UNFINISHED))?;
        Ok(disk)
    }

    /// The stored snapshots, newest first. Those that cannot be read are told in the log and left out.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = (PathBuf, Stored)> + '_ {
        [CURRENT, PREVIOUS].into_iter().filter_map(|name| {
            let path = self.folder.join(name);
            match File::open(&path) {
                Ok(file) => match read_stored(file) {
                    Ok(stored) => {
                        if stored.cut_off {
                            tracing::warn!(path = %path.display(), "the last change in it is not whole and is left out");
                        }
                        Some((path, stored))
                    }
                    Err(error) => {
                        self.refuse(&path, &error.to_string());
                        None
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => {
                    self.refuse(&path, &error.to_string());
                    None
                }
            }
        })
    }

    /// Tells that a stored snapshot is of no use.
    pub(crate) fn refuse(&self, path: &Path, why: &str) {
        self.metrics.disk_failures.increment();
        tracing::warn!(path = %path.display(), why, "stored configuration is refused; it is replaced by the next one");
    }

    /// Replaces the stored snapshot, atomically and durably; the one before is kept. None: it could not be written.
    /// `number` is the version's, for the metric that says what is saved.
    pub(super) fn write(&self, number: u64, snapshot: &[Vec<u8>]) -> Option<Journal> {
        self.told(number, self.try_write(snapshot))
    }

    /// Writes a change behind the snapshot, durably. None: it could not be written, or another snapshot is due: there is enough
    /// behind this one, or none before it.
    pub(super) fn append(&self, number: u64, mut journal: Journal, change: &[Vec<u8>]) -> Option<Journal> {
        let bytes = match write_change(change) {
            Ok(bytes) => bytes,
            Err(error) => return self.told(number, Err(error)),
        };
        journal.room = journal.room.checked_sub(bytes.len() as u64)?;
        let written = journal.file.write_all(&bytes).and_then(|()| journal.file.sync_data());
        self.told(number, written.map(|()| journal))
    }

    fn told(&self, number: u64, written: io::Result<Journal>) -> Option<Journal> {
        match written {
            Ok(journal) => {
                self.metrics.disk_writes.increment();
                self.metrics.config_saved_version.set(number.cast_signed());
                Some(journal)
            }
            Err(error) => {
                self.metrics.disk_failures.increment();
                let path = self.folder.display();
                tracing::warn!(%path, %error, "configuration cannot be stored; a restart would begin without it");
                None
            }
        }
    }

    fn try_write(&self, snapshot: &[Vec<u8>]) -> io::Result<Journal> {
        let bytes = write_snapshot(snapshot)?;
        let mut file = self.create_unfinished()?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        let [current, previous, unfinished] = [CURRENT, PREVIOUS, UNFINISHED].map(|name| self.folder.join(name));
        let alone = match fs::rename(&current, &previous) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => !previous.exists(),
            Err(error) => return Err(error),
        };
        // A crash right here leaves the previous one, which is what is read then.
        fs::rename(&unfinished, &current)?;
        File::open(&self.folder)?.sync_all()?;
        let size = bytes.len() as u64;
        // Until there is a second file to fall back on, a change is worth a whole one.
        let room = if alone { 0 } else { size.max(ROOM).min(MAX_FILE.saturating_sub(size)) };
        Ok(Journal { file, room })
    }

    fn create_unfinished(&self) -> io::Result<File> {
        let path = self.folder.join(UNFINISHED);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn snapshot(text: &str) -> Vec<Vec<u8>> {
        vec![text.as_bytes().to_vec()]
    }

    /// Of each stored snapshot its text, and those of its changes.
    fn read(disk: &Disk) -> Vec<String> {
        let text = |messages: Vec<Vec<u8>>| String::from_utf8(messages.concat()).unwrap();
        let candidates = disk.candidates();
        candidates.map(|(_, stored)| text(stored.snapshot) + &text(stored.changes)).collect()
    }

    #[test]
    fn the_newest_comes_first_and_the_one_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&folder.path().join("state"), Arc::default()).unwrap();
        assert!(read(&disk).is_empty());
        let journal = disk.write(1, &snapshot("0")).unwrap();
        assert!(disk.append(2, journal, &snapshot("1")).is_none(), "nothing is there to fall back on");
        for text in ["a", "b", "c"] {
            let journal = disk.write(1, &snapshot(text)).unwrap();
            let journal = disk.append(2, journal, &snapshot("1")).unwrap();
            disk.append(3, journal, &[b"2".to_vec(), b"3".to_vec()]).unwrap();
        }
        assert_eq!(read(&disk), ["c123", "b123"]);
        assert_eq!(disk.metrics.config_saved_version.value(), 3);
    }

    #[test]
    fn changes_take_so_much_room_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), Arc::default()).unwrap();
        disk.write(1, &snapshot("0")).unwrap();
        let mut journal = disk.write(1, &snapshot("a")).unwrap();
        let (change, mut taken) = (snapshot(&"b".repeat(200_000)), 0);
        while let Some(next) = disk.append(2, journal, &change) {
            (journal, taken) = (next, taken + 1);
        }
        assert_eq!((taken, read(&disk)[0].len()), (5, 1_000_001));
        assert_eq!(disk.metrics.disk_failures.value(), 0);
    }

    #[test]
    fn nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        Disk::open(&state, Arc::default()).unwrap().write(1, &snapshot("a")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state), 0o700);
        assert_eq!(mode(&state.join(CURRENT)), 0o600);
    }
}
