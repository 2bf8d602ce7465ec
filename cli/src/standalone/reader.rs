//! Reads a folder until what was read is not half of a change.

use std::io;
use std::path::PathBuf;

use portcullis_translate::Timestamp;

use super::{Pass, Pipeline};
use crate::load::Loaded;
use crate::watch::Watcher;

/// How often a pass is begun anew because files change all the time. The last one is taken as it is; the next event
/// brings another.
const PATIENCE: usize = 5;

#[derive(Debug)]
pub struct Reader {
    root: PathBuf,
    pipeline: Pipeline,
    watcher: Watcher,
}

/// What a look at the folder came to.
#[derive(Debug)]
pub enum Reading {
    Unchanged,
    Pass(Box<Pass>),
    /// The folder is not there; nothing that was known is forgotten.
    Gone(io::Error),
}

impl Reader {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { pipeline: Pipeline::new(&root), watcher: Watcher::new(&root), root }
    }

    /// Reads at once.
    pub async fn read(&mut self) -> Reading {
        let mut newest: Option<Loaded> = None;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let watcher = &self.watcher;
            let look = match self.pipeline.load(&|path| watcher.is_open(path)) {
                Ok(look) => look,
                Err(error) => {
                    // Watched from above until it comes back.
                    let new = self.watcher.follow(&[self.root.clone()].into());
                    if new && attempt < PATIENCE && self.root.exists() {
                        continue;
                    }
                    return Reading::Gone(error);
                }
            };
            if let Some(mut news) = look.news {
                if let Some(before) = newest {
                    news.changes = before.changes.then(news.changes);
                }
                newest = Some(news);
            }
            let unseen = self.watcher.follow(&look.folders);
            if attempt < PATIENCE && (unseen || self.watcher.is_disturbed()) {
                if self.watcher.is_due() {
                    self.watcher.changed().await;
                }
                continue;
            }
            return match newest {
                Some(loaded) => Reading::Pass(Box::new(self.pipeline.translate(loaded, Timestamp::now()))),
                None => Reading::Unchanged,
            };
        }
    }

    /// Waits until a change may be there to read. Cancelling it loses nothing.
    pub async fn changed(&mut self) {
        self.watcher.changed().await;
    }

    pub fn pipeline(&mut self) -> &mut Pipeline {
        &mut self.pipeline
    }

    pub fn root(&self) -> &std::path::Path {
        &self.root
    }
}
