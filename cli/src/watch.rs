//! Notices that a configuration folder has changed, and whether a change is complete.
//!
//! What arrives during a pass is taken together by the next one; there is no debounce timer. Two things are waited for,
//! because acting on them at once would serve half of what was meant:
//!
//! * a file that is being written counts as it was until its writer closes it ([`Watcher::is_open`]);
//! * a file that is gone is missed for a moment, because editors replace by "move away, write anew", and `rm -r` takes
//!   a folder's files before it takes the folder.
//!
//! Network file systems send no events: a look around every few seconds finds what those changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use notify::Watcher as _;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode};
use tokio::sync::mpsc;

/// How often is looked without being told.
const RESCAN: Duration = Duration::from_secs(3);
/// How long a file is missed before it counts as removed.
const GRACE: Duration = Duration::from_millis(100);
/// How long a writer may pause before its file is read as it is.
const OPEN_FOR_LONG: Duration = Duration::from_secs(2);
/// Events that wait; what does not fit is made up for by a look around.
const QUEUE: usize = 4096;

#[derive(Debug)]
pub struct Watcher {
    inner: Option<RecommendedWatcher>,
    events: mpsc::Receiver<Event>,
    overflowed: Arc<AtomicBool>,
    /// Folders with the identity that they had when they were watched: another folder may stand in their place.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    /// The folders whose entries matter; the others are watched only for what leads here.
    folders: BTreeSet<PathBuf>,
    root: PathBuf,
    /// Written to and not closed yet, since when.
    open: HashMap<PathBuf, Instant>,
    missed: HashMap<PathBuf, Instant>,
    /// Something happened that is a reason to read.
    due: bool,
    complained: bool,
}

impl Watcher {
    /// For the folder (or the file) `root`, of which nothing is watched before the first [`Watcher::follow`].
    pub fn new(root: &Path) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let overflowed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&overflowed);
        let inner = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let lost = match event {
                Ok(event) if is_noise(&event.kind) => false,
                Ok(event) => event.need_rescan() || sender.try_send(event).is_err(),
                Err(_) => true,
            };
            if lost {
                flag.store(true, Ordering::Release);
            }
        });
        let inner =
            inner.map_err(|error| tracing::warn!(%error, "files cannot be watched; they are looked at every 3 s")).ok();
        Self {
            inner,
            events,
            overflowed,
            watched: BTreeMap::new(),
            folders: BTreeSet::new(),
            root: absolute(root),
            open: HashMap::new(),
            missed: HashMap::new(),
            due: false,
            complained: false,
        }
    }

    /// Watches these folders, and what is left of the way to the root. True if a watch is new: what changed before it
    /// was there went unseen, so that the files must be read once more.
    pub fn follow(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        self.folders = folders.iter().map(|path| absolute(path)).collect();
        let Some(inner) = &mut self.inner else { return false };
        let mut wanted = self.folders.clone();
        // A folder that is moved away or comes back is seen from above only.
        wanted.extend(self.root.ancestors().skip(1).find(|above| above.is_dir()).map(Path::to_owned));
        let gone: Vec<PathBuf> = self.watched.keys().filter(|path| !wanted.contains(*path)).cloned().collect();
        for path in gone {
            self.watched.remove(&path);
            // Fails if the folder is gone, and its watch with it.
            let _ = inner.unwatch(&path);
        }
        let mut new = false;
        for path in &wanted {
            let Some(identity) = identity(path) else {
                if self.watched.remove(path).is_some() {
                    let _ = inner.unwatch(path);
                }
                continue;
            };
            if self.watched.get(path) == Some(&identity) {
                continue;
            }
            if self.watched.remove(path).is_some() {
                let _ = inner.unwatch(path);
            }
            match inner.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone(), identity);
                    new = true;
                }
                Err(error) if !self.complained => {
                    self.complained = true;
                    let path = path.display();
                    tracing::warn!(%path, %error, "folder cannot be watched; it is looked at every 3 s; raise fs.inotify.max_user_watches");
                }
                Err(_) => {}
            }
        }
        new
    }

    /// Waits until there is something to read anew. Spurious wake-ups are cheap: an unchanged folder costs a listing.
    /// Cancelling it loses nothing.
    pub async fn changed(&mut self) {
        let rescan = tokio::time::sleep(RESCAN);
        tokio::pin!(rescan);
        loop {
            self.drain();
            self.missed.retain(|path, _| !exists(path));
            let now = Instant::now();
            let grace = self.missed.values().max().map(|since| (*since + GRACE).saturating_duration_since(now));
            if self.due && grace.is_none_or(|left| left.is_zero()) {
                self.missed.clear();
                self.due = false;
                return;
            }
            let wait = grace.unwrap_or(RESCAN);
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.note(&event),
                    // No watcher: the look around is all there is.
                    None => {
                        rescan.as_mut().await;
                        return;
                    }
                },
                () = tokio::time::sleep(wait), if self.due => {}
                () = &mut rescan, if !self.due => return,
            }
        }
    }

    /// Whether something happened since the pass began, so that what it read may be half of a change: read again,
    /// after [`Watcher::changed`] if that [`Watcher::is_due`].
    pub fn is_disturbed(&mut self) -> bool {
        self.drain() || self.due || !self.missed.is_empty()
    }

    pub fn is_due(&self) -> bool {
        self.due
    }

    /// Whether somebody is writing this file right now.
    pub fn is_open(&self, path: &Path) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let since = self.open.get(&absolute(path)).or_else(|| self.open.get(&fs::canonicalize(path).ok()?));
        since.is_some_and(|since| since.elapsed() < OPEN_FOR_LONG)
    }

    /// Takes the events that wait. True if there was one that matters.
    fn drain(&mut self) -> bool {
        let mut any = self.overflowed.swap(false, Ordering::AcqRel);
        self.due |= any;
        while let Ok(event) = self.events.try_recv() {
            any |= event.paths.iter().any(|path| self.matters(path));
            self.note(&event);
        }
        any
    }

    fn matters(&self, path: &Path) -> bool {
        self.root.starts_with(path)
            || self.folders.contains(path)
            || path.parent().is_some_and(|parent| self.folders.contains(parent))
    }

    fn note(&mut self, event: &Event) {
        self.open.retain(|_, since| since.elapsed() < OPEN_FOR_LONG);
        let now = Instant::now();
        for path in &event.paths {
            if !self.matters(path) {
                continue;
            }
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) if cfg!(target_os = "linux") => {
                    self.open.insert(path.clone(), now);
                }
                // An empty new file is about to be written. A link is whole at once.
                EventKind::Create(CreateKind::File) if cfg!(target_os = "linux") && is_empty_file(path) => {
                    self.open.entry(path.clone()).or_insert(now);
                }
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                    self.open.remove(path);
                    self.missed.insert(path.clone(), now);
                    self.due = true;
                }
                _ => {
                    self.open.remove(path);
                    self.due = true;
                }
            }
        }
    }
}

/// Reading is no change; neither is opening.
fn is_noise(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

fn is_empty_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
}

/// Without touching the file system: events name files as they were watched.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
