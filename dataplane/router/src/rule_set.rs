//! The rules at one path, found by what else they ask for.

use std::sync::Arc;

use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::entry::Entry;
use crate::hash::BuildIdentity;
use crate::listing::Listing;
use crate::predicate::Probe;
use crate::signature::Signature;
use crate::table::Content;

/// A few rules are tried one after the other; more are sorted into classes by [`Signature`] and hashed, so that a
/// thousand rules `/` with `x-version: N` cost what one costs.
pub(crate) enum RuleSet<T> {
    Few(Vec<Entry<T>>),
    Many(Arc<Classes<T>>),
}

pub(crate) struct Classes<T> {
    entries: usize,
    /// Greatest rank first.
    classes: Vec<Class<T>>,
}

struct Class<T> {
    signature: Arc<Signature>,
    by_hash: GenericHashMap<u64, Arc<Listing<T>>, BuildIdentity, DefaultSharedPtr>,
}

/// Up to here trying is cheaper than hashing.
const FEW: usize = 4;

impl<T> RuleSet<T> {
    /// The entry of greatest precedence that the request meets.
    pub(crate) fn find(&self, probe: &Probe<'_>, seed: u64) -> Option<&Entry<T>> {
        match self {
            Self::Few(entries) => entries.iter().find(|entry| probe.meets(entry.matched())),
            Self::Many(classes) => classes.find(probe, seed),
        }
    }

    pub(crate) fn insert(&mut self, entry: Entry<T>, seed: u64) {
        match self {
            Self::Few(entries) => match entries.binary_search(&entry) {
                Ok(at) => entries[at] = entry,
                Err(at) => {
                    entries.reserve_exact(1);
                    entries.insert(at, entry);
                    if entries.len() > FEW {
                        let mut classes = Classes { entries: 0, classes: Vec::new() };
                        entries.drain(..).for_each(|entry| classes.insert(entry, seed));
                        *self = Self::Many(Arc::new(classes));
                    }
                }
            },
            Self::Many(classes) => Arc::make_mut(classes).insert(entry, seed),
        }
    }

    pub(crate) fn remove(&mut self, entry: &Entry<T>, seed: u64) {
        match self {
            Self::Few(entries) => entries.retain(|present| present != entry),
            Self::Many(classes) => {
                let classes = Arc::make_mut(classes);
                classes.remove(entry, seed);
                if classes.entries <= FEW / 2 {
                    let mut entries: Vec<_> = classes.iter().cloned().collect();
                    entries.sort();
                    *self = Self::Few(entries);
                }
            }
        }
    }
}

impl<T> Classes<T> {
    fn find(&self, probe: &Probe<'_>, seed: u64) -> Option<&Entry<T>> {
        let mut best: Option<(&Class<T>, &Entry<T>)> = None;
        for class in &self.classes {
            if best.is_some_and(|(above, _)| above.signature.rank() > class.signature.rank()) {
                break;
            }
            let found = (class.signature.hash(probe, seed))
                .and_then(|hash| class.by_hash.get(&hash))
                .and_then(|listing| listing.find(|entry| probe.meets(entry.matched())));
            if let Some(entry) = found
                && best.is_none_or(|(_, present)| entry < present)
            {
                best = Some((class, entry));
            }
        }
        best.map(|(_, entry)| entry)
    }

    fn insert(&mut self, entry: Entry<T>, seed: u64) {
        let (signature, hash) = Signature::of(entry.matched(), seed);
        let at = self.position(&signature).unwrap_or_else(|at| {
            let class = Class { signature: Arc::new(signature), by_hash: GenericHashMap::default() };
            self.classes.insert(at, class);
            at
        });
        let by_hash = &mut self.classes[at].by_hash;
        match by_hash.get_mut(&hash) {
            Some(listing) => {
                let listing = Arc::make_mut(listing);
                let before = listing.len();
                listing.insert(entry);
                self.entries += listing.len() - before;
            }
            None => {
                let mut listing = Listing::default();
                listing.insert(entry);
                by_hash.insert(hash, Arc::new(listing));
                self.entries += 1;
            }
        }
    }

    fn remove(&mut self, entry: &Entry<T>, seed: u64) {
        let (signature, hash) = Signature::of(entry.matched(), seed);
        let Ok(at) = self.position(&signature) else { return };
        let by_hash = &mut self.classes[at].by_hash;
        let Some(listing) = by_hash.get_mut(&hash) else { return };
        let listing = Arc::make_mut(listing);
        if listing.remove(entry) {
            self.entries -= 1;
        }
        if listing.is_empty() {
            by_hash.remove(&hash);
        }
        if by_hash.is_empty() {
            self.classes.remove(at);
        }
    }

    /// Where a class is, or where it belongs: after all of greater rank.
    fn position(&self, signature: &Signature) -> Result<usize, usize> {
        let start = self.classes.partition_point(|class| class.signature.rank() > signature.rank());
        let same_rank = self.classes[start..].iter().take_while(|class| class.signature.rank() == signature.rank());
        match same_rank.clone().position(|class| *class.signature == *signature) {
            Some(at) => Ok(start + at),
            None => Err(start + same_rank.count()),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        self.classes.iter().flat_map(|class| class.by_hash.values()).flat_map(|listing| listing.iter())
    }
}

impl<T> Content for RuleSet<T> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Few(entries) => entries.is_empty(),
            Self::Many(classes) => classes.entries == 0,
        }
    }
}

impl<T> Default for RuleSet<T> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<T> Clone for RuleSet<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Few(entries) => Self::Few(entries.clone()),
            Self::Many(classes) => Self::Many(Arc::clone(classes)),
        }
    }
}

impl<T> Clone for Classes<T> {
    fn clone(&self) -> Self {
        Self { entries: self.entries, classes: self.classes.clone() }
    }
}

impl<T> Clone for Class<T> {
    fn clone(&self) -> Self {
        Self { signature: Arc::clone(&self.signature), by_hash: self.by_hash.clone() }
    }
}
