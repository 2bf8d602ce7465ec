//! Which files a configuration folder holds, and whether they are the ones that were read before.
//!
//! Read are `*.yaml`, `*.yml` and `*.json` at any depth. Names that start with a dot are not: editors keep their swap
//! files there, and a mounted ConfigMap its versions (`..data` and what it points at), which are reached through the
//! links beside them. Links are followed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Problem;

/// Deeper folders are taken for a loop of links.
const MAX_DEPTH: usize = 32;
/// A folder with more files is taken for the wrong folder.
const MAX_FILES: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Device and inode of the root.
    pub(super) identity: (u64, u64),
    /// Sorted by path, so that "first" means the same on every machine.
    pub(super) files: Vec<(PathBuf, Stamp)>,
    /// Where a change of the files can be seen: the folders, and those that links lead to.
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) problems: Vec<Problem>,
}

/// Equal stamps mean an unchanged file, but for one that was just being written (see [`Stamp::is_settled`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Lists the files below `root`; `root` may be a single file too.
///
/// # Errors
/// When `root` itself cannot be read.
pub(super) fn walk(root: &Path) -> io::Result<Tree> {
    let metadata = fs::metadata(root)?;
    let mut tree = Tree { identity: (metadata.dev(), metadata.ino()), ..Tree::default() };
    if metadata.is_file() {
        tree.file(root, &metadata);
        tree.folders.insert(folder_of(root));
        return Ok(tree);
    }
    let mut parents = Vec::new();
    tree.folder(root, &metadata, &mut parents)?;
    tree.files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tree)
}

impl Tree {
    fn folder(&mut self, path: &Path, metadata: &Metadata, parents: &mut Vec<(u64, u64)>) -> io::Result<()> {
        let identity = (metadata.dev(), metadata.ino());
        if parents.contains(&identity) || parents.len() > MAX_DEPTH {
            let message = "leads back to a folder above it";
            self.problems.push(Problem::about_file(path, message, "remove the link"));
            return Ok(());
        }
        self.folders.insert(path.to_owned());
        parents.push(identity);
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type()?.is_symlink() {
                // A link changes when its target is written, or when what stands at its target's place does.
                self.folders.extend(fs::canonicalize(&path).ok().map(|target| folder_of(&target)));
            }
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    if let Err(error) = self.folder(&path, &metadata, parents) {
                        self.unreadable(&path, &error);
                    }
                }
                Ok(metadata) if metadata.is_file() && is_ours(&path) => self.file(&path, &metadata),
                Ok(_) => {}
                // Gone since it was listed; if it is a link, its target is missing.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !entry.file_type()?.is_symlink() => {}
                Err(error) if is_ours(&path) => self.unreadable(&path, &error),
                Err(_) => {}
            }
        }
        parents.pop();
        Ok(())
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) {
        if self.files.len() == MAX_FILES {
            let message = format!("more than {MAX_FILES} files below the configuration folder; the rest is not read");
            self.problems.push(Problem::about_file(path, message, "point --config at the right folder"));
        }
        if self.files.len() < MAX_FILES {
            self.files.push((path.to_owned(), Stamp::of(metadata)));
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.problems.push(Problem::about_file(
            path,
            format!("cannot be read: {error}"),
            "check its permissions and links",
        ));
    }
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file's clock has moved on since it was last written: a second write within one tick of the file
    /// system's clock would leave the stamp as it is. `now` is in seconds since 1970.
    pub(super) fn is_settled(&self, now: i64) -> bool {
        now - self.changed.0.max(self.modified.0) > 2
    }
}

fn is_ours(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// Where a change of `path` itself is seen.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
