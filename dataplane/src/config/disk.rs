//! The last good program on disk, so that a restart without a controller serves what was served before.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{Stored, read_stored, write_stored};
use crate::observe::Metrics;

const CURRENT: &str = "snapshot";
/// The one before, for the case that the newest cannot be read.
const PREVIOUS: &str = "snapshot.previous";
const UNFINISHED: &str = "snapshot.unfinished";

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    metrics: Arc<Metrics>,
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
                    Ok(stored) => Some((path, stored)),
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

    /// Replaces the stored snapshot, atomically and durably; the one before is kept.
    /// `number` is the version's, for the metric that says what is saved.
    pub(crate) fn write(&self, number: u64, stored: &Stored) {
        match self.try_write(stored) {
            Ok(()) => {
                self.metrics.disk_writes.increment();
                self.metrics.config_saved_version.set(number.cast_signed());
            }
            Err(error) => {
                self.metrics.disk_failures.increment();
                let path = self.folder.display();
                tracing::warn!(%path, %error, "configuration cannot be stored; a restart would begin without one");
            }
        }
    }

    fn try_write(&self, stored: &Stored) -> io::Result<()> {
        let bytes = write_stored(stored)?;
        let mut file = self.create_unfinished()?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        drop(file);
        let [current, previous, unfinished] = [CURRENT, PREVIOUS, UNFINISHED].map(|name| self.folder.join(name));
        match fs::rename(&current, &previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A crash right here leaves the previous one, which is what is read then.
        fs::rename(&unfinished, &current)?;
        File::open(&self.folder)?.sync_all()
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

    fn stored(text: &str) -> Stored {
        Stored(vec![text.as_bytes().to_vec()])
    }

    fn read(disk: &Disk) -> Vec<Stored> {
        disk.candidates().map(|(_, stored)| stored).collect()
    }

    #[test]
    fn the_newest_comes_first_and_the_one_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&folder.path().join("state"), Arc::default()).unwrap();
        assert_eq!(read(&disk), []);
        for text in ["a", "b", "c"] {
            disk.write(1, &stored(text));
        }
        assert_eq!(read(&disk), [stored("c"), stored("b")]);
    }

    #[test]
    fn nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        Disk::open(&state, Arc::default()).unwrap().write(1, &stored("a"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state), 0o700);
        assert_eq!(mode(&state.join(CURRENT)), 0o600);
    }

    #[test]
    fn a_corrupted_file_gives_way_to_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::default());
        let disk = Disk::open(folder.path(), Arc::clone(&metrics)).unwrap();
        disk.write(1, &stored("a"));
        disk.write(1, &stored("b"));
        fs::write(folder.path().join(CURRENT), b"PCULLIS\0 and then nonsense").unwrap();
        assert_eq!(read(&disk), [stored("a")]);
        assert_eq!(metrics.disk_failures.value(), 1);
    }
}
