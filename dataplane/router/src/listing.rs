//! A sorted list that stays cheap to change however long it grows.

use imbl::OrdSet;

use crate::entry::Entry;

/// Entries, greatest precedence first.
pub(crate) enum Listing<T> {
    Few(Vec<Entry<T>>),
    /// A persistent tree: rules that differ in nothing that could be hashed (regular expressions, duplicates).
    Many(OrdSet<Entry<T>>),
}

/// Up to here a list is copied as a whole.
const FEW: usize = 16;

impl<T> Listing<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(entries) => entries.len(),
            Self::Many(entries) => entries.len(),
        }
    }

    /// The first entry that `accepts`.
    pub(crate) fn find(&self, mut accepts: impl FnMut(&Entry<T>) -> bool) -> Option<&Entry<T>> {
        match self {
            Self::Few(entries) => entries.iter().find(|entry| accepts(entry)),
            Self::Many(entries) => entries.iter().find(|entry| accepts(entry)),
        }
    }

    pub(crate) fn insert(&mut self, entry: Entry<T>) {
        match self {
            Self::Few(entries) => match entries.binary_search(&entry) {
                Ok(at) => entries[at] = entry,
                Err(at) => {
                    entries.reserve_exact(1);
                    entries.insert(at, entry);
                    if entries.len() > FEW {
                        *self = Self::Many(entries.drain(..).collect());
                    }
                }
            },
            Self::Many(entries) => {
                entries.insert(entry);
            }
        }
    }

    /// Returns whether it was there.
    pub(crate) fn remove(&mut self, entry: &Entry<T>) -> bool {
        match self {
            Self::Few(entries) => match entries.binary_search(entry) {
                Ok(at) => {
                    entries.remove(at);
                    true
                }
                Err(_) => false,
            },
            Self::Many(entries) => {
                let removed = entries.remove(entry).is_some();
                if entries.len() <= FEW / 2 {
                    *self = Self::Few(entries.iter().cloned().collect());
                }
                removed
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        let (few, many) = match self {
            Self::Few(entries) => (Some(entries.iter()), None),
            Self::Many(entries) => (None, Some(entries.iter())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<T> Clone for Listing<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Few(entries) => Self::Few(entries.clone()),
            Self::Many(entries) => Self::Many(entries.clone()),
        }
    }
}
