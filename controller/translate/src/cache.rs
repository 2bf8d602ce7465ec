//! Results by key, each with what it was computed from.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map};
use std::sync::Arc;

use portcullis_ir::Shared;

use crate::NamespacedName;
use crate::recent::{Pass, Recent, Subject};
use crate::world::{Read, Reader, World};

/// `S` is what else follows from a result and the object under the same key.
pub(crate) struct Cache<K, V, S = ()> {
    entries: BTreeMap<K, Entry<V, S>>,
    readers: Readers<K>,
    /// The last pass at whose end all entries held.
    held: Pass,
}

struct Entry<V, S> {
    reads: Box<[Read]>,
    /// The last pass in which all of them were found to hold.
    held: Pass,
    value: Arc<V>,
    follows: Option<Arc<S>>,
}

/// Who looked at a Service, or at its slices.
struct Readers<K>(HashMap<NamespacedName, Who<K>>);

/// Most Services have one.
enum Who<K> {
    One(K),
    Many(BTreeSet<K>),
}

impl<K, V, S> Default for Cache<K, V, S> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), readers: Readers(HashMap::new()), held: 0 }
    }
}

impl<K: Ord + Clone, V: PartialEq, S> Cache<K, V, S> {
    /// The value for `key`: the present one if everything that it was computed from is unchanged, else computed anew.
    /// `compute` is given the old value to share parts with; a result equal to it keeps its `Arc`.
    pub(crate) fn get(
        &mut self,
        world: &World<'_>,
        key: &K,
        compute: impl FnOnce(&Reader<'_, '_>, Option<&V>) -> V,
    ) -> Arc<V> {
        Arc::clone(self.get_with(world, key, compute).0)
    }

    /// `get`, and the place for what follows: empty whenever anything that was looked at has changed.
    pub(crate) fn get_with(
        &mut self,
        world: &World<'_>,
        key: &K,
        compute: impl FnOnce(&Reader<'_, '_>, Option<&V>) -> V,
    ) -> (&Arc<V>, &mut Option<Arc<S>>) {
        let Self { entries, readers, held } = self;
        let entry = match entries.entry(key.clone()) {
            btree_map::Entry::Vacant(place) => {
                let entry = Entry::new(world, |reader| compute(reader, None));
                readers.follow(key, &[], &entry.reads);
                place.insert(entry)
            }
            btree_map::Entry::Occupied(place) => {
                let entry = place.into_mut();
                entry.refresh(world, *held, |old, new| readers.follow(key, old, new), compute);
                entry
            }
        };
        (&entry.value, &mut entry.follows)
    }

    /// [`Self::get_with`] for each of `keys`, in one walk as far as they are in order: of thousands that costs a fraction of
    /// as many look-ups.
    pub(crate) fn each(
        &mut self,
        world: &World<'_>,
        keys: &[K],
        compute: impl Fn(&Reader<'_, '_>, &K, Option<&V>) -> V,
        mut found: impl FnMut(usize, &Arc<V>, &mut Option<Arc<S>>),
    ) where
        K: Shared,
    {
        let Some(first) = keys.first() else { return };
        for key in self.missing(first, keys) {
            let entry = Entry::new(world, |reader| compute(reader, key, None));
            self.readers.follow(key, &[], &entry.reads);
            self.entries.insert(key.clone(), entry);
        }
        let Self { entries, readers, held } = self;
        let mut entries = entries.range_mut(first..);
        let mut walked = 0;
        for key in keys {
            let Some((_, entry)) = entries.by_ref().find(|(held, _)| held.order(key).is_eq()) else { break };
            let follow = |old: &[Read], new: &[Read]| readers.follow(key, old, new);
            entry.refresh(world, *held, follow, |reader, old| compute(reader, key, old));
            found(walked, &entry.value, &mut entry.follows);
            walked += 1;
        }
        // None, where they are in order.
        for (at, key) in keys.iter().enumerate().skip(walked) {
            let (value, follows) = self.get_with(world, key, |reader, old| compute(reader, key, old));
            found(at, value, follows);
        }
    }

    /// Those of `keys` that have no entry.
    fn missing<'k>(&self, first: &K, keys: &'k [K]) -> Vec<&'k K>
    where
        K: Shared,
    {
        let mut held = self.entries.range(first..).map(|(key, _)| key).peekable();
        let mut missing = Vec::new();
        for key in keys {
            let there = loop {
                match held.peek().map(|held| held.order(key)) {
                    Some(Ordering::Less) => drop(held.next()),
                    Some(Ordering::Equal) => break held.next(),
                    Some(Ordering::Greater) | None => break None,
                }
            };
            if there.is_none() {
                missing.push(key);
            }
        }
        missing
    }

    /// The keys of all entries that could come out differently since all of them held. None: any of them could. `own` gives
    /// the key that a subject has itself.
    pub(crate) fn doubtful(&self, recent: &Recent, own: impl Fn(&Subject) -> Option<K>) -> Option<BTreeSet<K>> {
        let mut keys = BTreeSet::new();
        for subject in recent.changes(self.held)? {
            keys.extend(own(subject));
            if let Subject::Service(name) | Subject::Slices(name) = subject {
                match self.readers.0.get(name) {
                    None => {}
                    Some(Who::One(key)) => drop(keys.insert(key.clone())),
                    Some(Who::Many(many)) => keys.extend(many.iter().cloned()),
                }
            }
        }
        Some(keys)
    }

    /// Every entry that is needed has been asked for in this pass, or is not [`Self::doubtful`].
    pub(crate) fn settle(&mut self, recent: &Recent) {
        self.held = recent.pass;
    }

    /// What follows from an entry that is not doubtful.
    pub(crate) fn present(&mut self, key: &K) -> Option<(&Arc<V>, &mut Option<Arc<S>>)> {
        self.entries.get_mut(key).map(|entry| (&entry.value, &mut entry.follows))
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.readers.follow(key, &entry.reads, &[]);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Drops what is not kept. `kept` is how many will be: all of them have been asked for in this pass, so as many as there are
    /// leaves nothing to drop.
    pub(crate) fn retain(&mut self, kept: usize, keep: impl Fn(&K) -> bool) {
        if self.entries.len() != kept {
            let Self { entries, readers, .. } = self;
            entries.retain(|key, entry| {
                let keep = keep(key);
                if !keep {
                    readers.follow(key, &entry.reads, &[]);
                }
                keep
            });
        }
    }
}

impl<V: PartialEq, S> Entry<V, S> {
    fn new(world: &World<'_>, compute: impl FnOnce(&Reader<'_, '_>) -> V) -> Self {
        let reader = Reader::new(world);
        let value = Arc::new(compute(&reader));
        Self { reads: reader.into_reads(), held: world.recent.pass, value, follows: None }
    }

    /// Computes anew what may come out differently. A result equal to the old one keeps its `Arc`. `all_held` is a pass in which
    /// this entry was right, as all others.
    fn refresh(
        &mut self,
        world: &World<'_>,
        all_held: Pass,
        follow: impl FnOnce(&[Read], &[Read]),
        compute: impl FnOnce(&Reader<'_, '_>, Option<&V>) -> V,
    ) {
        let since = self.held.max(all_held);
        if !self.reads.iter().all(|read| read.holds(world, since)) {
            let reader = Reader::new(world);
            let value = compute(&reader, Some(&self.value));
            if *self.value != value {
                self.value = Arc::new(value);
            }
            let reads = reader.into_reads();
            follow(&self.reads, &reads);
            (self.reads, self.follows) = (reads, None);
        }
        self.held = world.recent.pass;
    }
}

impl<K: Ord + Clone> Readers<K> {
    fn follow(&mut self, key: &K, before: &[Read], after: &[Read]) {
        let services =
            |reads: &'_ [Read]| -> BTreeSet<NamespacedName> { reads.iter().filter_map(service).cloned().collect() };
        let (before, after) = (services(before), services(after));
        for gone in before.difference(&after) {
            self.remove(gone, key);
        }
        for new in after.difference(&before) {
            self.insert(new, key);
        }
    }

    fn insert(&mut self, service: &NamespacedName, key: &K) {
        match self.0.get_mut(service) {
            None => drop(self.0.insert(service.clone(), Who::One(key.clone()))),
            Some(Who::Many(many)) => drop(many.insert(key.clone())),
            Some(who) => {
                if let Who::One(one) = who {
                    *who = Who::Many([one.clone(), key.clone()].into());
                }
            }
        }
    }

    fn remove(&mut self, service: &NamespacedName, key: &K) {
        let nobody = match self.0.get_mut(service) {
            None => false,
            Some(Who::One(one)) => one == key,
            Some(Who::Many(many)) => {
                many.remove(key);
                many.is_empty()
            }
        };
        if nobody {
            self.0.remove(service);
        }
    }
}

/// The Service that was looked at, or whose slices were.
fn service(read: &Read) -> Option<&NamespacedName> {
    match read {
        Read::Service(name, _) | Read::Slices(name, _) => Some(name),
        _ => None,
    }
}

/// `value`, or the old `Arc` if that holds an equal one.
pub(crate) fn share<K: Ord + Clone, V: PartialEq>(map: &mut BTreeMap<K, Arc<V>>, key: &K, value: V) -> Arc<V> {
    match map.get(key) {
        Some(old) if **old == value => Arc::clone(old),
        _ => {
            let value = Arc::new(value);
            map.insert(key.clone(), Arc::clone(&value));
            value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Read {
        Read::Service(NamespacedName::new("ns", name), None)
    }

    fn readers_of(readers: &Readers<u8>, name: &str) -> Vec<u8> {
        match readers.0.get(&NamespacedName::new("ns", name)) {
            None => Vec::new(),
            Some(Who::One(one)) => vec![*one],
            Some(Who::Many(many)) => many.iter().copied().collect(),
        }
    }

    #[test]
    fn a_service_knows_its_readers_until_the_last_is_gone() {
        let mut readers = Readers(HashMap::new());
        readers.follow(&1, &[], &[read("a"), read("b"), Read::Slices(NamespacedName::new("ns", "a"), Vec::new())]);
        readers.follow(&2, &[], &[read("a")]);
        assert_eq!((readers_of(&readers, "a"), readers_of(&readers, "b")), (vec![1, 2], vec![1]));
        readers.follow(&1, &[read("a"), read("b")], &[read("b"), read("c")]);
        assert_eq!((readers_of(&readers, "a"), readers_of(&readers, "b")), (vec![2], vec![1]));
        readers.follow(&2, &[read("a")], &[]);
        readers.follow(&3, &[read("b")], &[]);
        assert_eq!((readers_of(&readers, "a"), readers_of(&readers, "b")), (vec![], vec![1]), "3 never read it");
        readers.follow(&1, &[read("b"), read("c")], &[]);
        assert!(readers.0.is_empty());
    }
}
