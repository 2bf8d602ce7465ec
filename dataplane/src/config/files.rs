//! Snapshot files for people and tests: the same format as the state directory's.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use portcullis_ir::Snapshot;
use portcullis_wire::{Digests, Version};

use super::format::{InvalidFile, Stored, read_stored, write_snapshot};
use super::store::messages;

/// A file that holds no usable snapshot.
#[derive(Debug, thiserror::Error)]
#[error("{0}; write it anew")]
pub struct InvalidSnapshotFile(#[from] InvalidFile);

/// The messages of a snapshot file, in the order in which a server would send them.
///
/// # Errors
/// [`InvalidSnapshotFile`] when the file cannot be read, is corrupted, or was written by another version of the format.
pub fn read_snapshot_file(path: &Path) -> Result<Vec<Vec<u8>>, InvalidSnapshotFile> {
    let file = File::open(path).map_err(InvalidFile::from)?;
    let Stored { mut snapshot, changes, cut_off: _ } = read_stored(file)?;
    snapshot.extend(changes);
    Ok(snapshot)
}

/// Writes a snapshot as [`read_snapshot_file`] and the state directory expect it; readable by its owner only.
///
/// # Errors
/// When the file cannot be written.
pub fn write_snapshot_file(path: &Path, version: Version, snapshot: &Snapshot) -> io::Result<()> {
    fs::write(path, write_snapshot(&messages(version, snapshot, Digests::of(snapshot)))?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}
