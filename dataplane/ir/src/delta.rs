//! What changes between two snapshots.

use serde::Serialize;

use crate::{Resource, ResourceKey, Snapshot};

/// Resources to put and keys to take away; a key stands in at most one of the two lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delta {
    pub upserts: Vec<Resource>,
    pub removals: Vec<ResourceKey>,
}

/// One resource before and after a delta; never `None` on both sides, never equal on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub before: Option<Resource>,
    pub after: Option<Resource>,
}

impl Delta {
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removals.is_empty()
    }
}

impl Change {
    /// The key of whichever side is there.
    pub fn key(&self) -> Option<ResourceKey> {
        self.after.as_ref().or(self.before.as_ref()).map(Resource::key)
    }
}

impl Snapshot {
    /// Applies a delta and returns what really changed, in the delta's order. Work grows with the delta, not with the
    /// snapshot. Removing a key that is not there and putting an equal resource change nothing.
    pub fn apply(&mut self, delta: Delta) -> Vec<Change> {
        let mut changes = Vec::with_capacity(delta.upserts.len() + delta.removals.len());
        for key in delta.removals {
            if let Some(before) = self.remove(&key) {
                changes.push(Change { before: Some(before), after: None });
            }
        }
        for after in delta.upserts {
            let before = self.insert(after.clone());
            if before.as_ref() != Some(&after) {
                changes.push(Change { before, after: Some(after) });
            }
        }
        changes
    }
}
