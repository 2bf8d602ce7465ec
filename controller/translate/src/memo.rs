//! What a pass leaves for the next one. It only ever saves work: a result taken from here is the result that would be
//! computed (`tests/laws` holds it to that).

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::sync::Arc;

use portcullis_ir::{BackendKey, GatewayKey, ListenerKey, Shared, Snapshot};

use crate::backend::CompiledBackend;
use crate::backend_object::BackendPlan;
use crate::client_validation::ParsedRoots;
use crate::gateway::AttachPoints;
use crate::introduce::Introduced;
use crate::policy::apply::PolicyMemo;
use crate::policy::{AuthPlan, LimitPlan};
use crate::recent::{Pass, Recent};
use crate::route::CompiledRoute;
use crate::tls::ParsedSecrets;
use crate::tls_policy::PolicyPlan;
use crate::world::{Read, Reader, World};
use crate::{NamespacedName, ObjectRef, RouteStatus};

/// Start with `Memo::default()` and hand the same one to every pass. As large as the world, no larger: what a pass did
/// not need is dropped at its end.
#[derive(Default)]
pub struct Memo {
    pub(crate) secrets: ParsedSecrets,
    pub(crate) roots: ParsedRoots,
    pub(crate) tls_policies: Cache<NamespacedName, PolicyPlan>,
    pub(crate) backend_objects: Cache<NamespacedName, BackendPlan>,
    pub(crate) x_backends: Cache<NamespacedName, BackendPlan>,
    pub(crate) attach_points: BTreeMap<NamespacedName, Arc<AttachPoints>>,
    pub(crate) set_points: BTreeMap<NamespacedName, Arc<AttachPoints>>,
    pub(crate) listeners: BTreeMap<ListenerKey, Arc<portcullis_ir::Listener>>,
    /// Of all kinds.
    pub(crate) routes: Cache<ObjectRef, CompiledRoute, RouteStatus>,
    pub(crate) backends: Cache<BackendKey, CompiledBackend>,
    pub(crate) introduced: Introduced,
    pub(crate) rate_limit_policies: Cache<NamespacedName, LimitPlan>,
    pub(crate) auth_policies: Cache<NamespacedName, AuthPlan>,
    pub(crate) policies: PolicyMemo,
    pub(crate) recent: Recent,
    /// What the last pass came to, to be mended.
    pub(crate) snapshots: BTreeMap<GatewayKey, Snapshot>,
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").field("routes", &self.routes.entries.len()).finish_non_exhaustive()
    }
}

/// Results by key, each with what it was computed from. `S` is what else follows from a result and the object under the same key.
pub(crate) struct Cache<K, V, S = ()> {
    entries: BTreeMap<K, Entry<V, S>>,
}

struct Entry<V, S> {
    reads: Vec<Read>,
    /// The last pass in which all of them held.
    held: Pass,
    value: Arc<V>,
    follows: Option<Arc<S>>,
}

impl<K, V, S> Default for Cache<K, V, S> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
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
        self.get_with(world, key, compute).0
    }

    /// `get`, and the place for what follows: empty whenever anything that was looked at has changed.
    pub(crate) fn get_with(
        &mut self,
        world: &World<'_>,
        key: &K,
        compute: impl FnOnce(&Reader<'_, '_>, Option<&V>) -> V,
    ) -> (Arc<V>, &mut Option<Arc<S>>) {
        let entry = match self.entries.entry(key.clone()) {
            btree_map::Entry::Vacant(place) => place.insert(Entry::new(world, |reader| compute(reader, None))),
            btree_map::Entry::Occupied(place) => {
                let entry = place.into_mut();
                entry.refresh(world, compute);
                entry
            }
        };
        (Arc::clone(&entry.value), &mut entry.follows)
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
            self.entries.insert(key.clone(), entry);
        }
        let mut entries = self.entries.range_mut(first..);
        let mut walked = 0;
        for key in keys {
            let Some((_, entry)) = entries.by_ref().find(|(held, _)| held.order(key).is_eq()) else { break };
            entry.refresh(world, |reader, old| compute(reader, key, old));
            found(walked, &entry.value, &mut entry.follows);
            walked += 1;
        }
        // None, where they are in order.
        for (at, key) in keys.iter().enumerate().skip(walked) {
            let (value, follows) = self.get_with(world, key, |reader, old| compute(reader, key, old));
            found(at, &value, follows);
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

    /// Drops what is not kept. `kept` is how many will be: all of them have been asked for in this pass, so as many as there are
    /// leaves nothing to drop.
    pub(crate) fn retain(&mut self, kept: usize, keep: impl Fn(&K) -> bool) {
        if self.entries.len() != kept {
            self.entries.retain(|key, _| keep(key));
        }
    }
}

impl<V: PartialEq, S> Entry<V, S> {
    fn new(world: &World<'_>, compute: impl FnOnce(&Reader<'_, '_>) -> V) -> Self {
        let reader = Reader::new(world);
        let value = Arc::new(compute(&reader));
        Self { reads: reader.into_reads(), held: world.recent.pass, value, follows: None }
    }

    /// Computes anew what may come out differently. A result equal to the old one keeps its `Arc`.
    fn refresh(&mut self, world: &World<'_>, compute: impl FnOnce(&Reader<'_, '_>, Option<&V>) -> V) {
        if !self.reads.iter().all(|read| read.holds(world, self.held)) {
            let reader = Reader::new(world);
            let value = compute(&reader, Some(&self.value));
            if *self.value != value {
                self.value = Arc::new(value);
            }
            (self.reads, self.follows) = (reader.into_reads(), None);
        }
        self.held = world.recent.pass;
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
