//! What a pass leaves for the next one. It only ever saves work: a result taken from here is the result that would be
//! computed (`tests/laws` holds it to that).

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::sync::Arc;

use portcullis_ir::{BackendKey, ListenerKey};

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
        let reader = Reader::new(world);
        let entry = match self.entries.entry(key.clone()) {
            btree_map::Entry::Vacant(place) => {
                let value = Arc::new(compute(&reader, None));
                place.insert(Entry { reads: reader.into_reads(), held: world.recent.pass, value, follows: None })
            }
            btree_map::Entry::Occupied(place) => {
                let entry = place.into_mut();
                if !entry.reads.iter().all(|read| read.holds(world, entry.held)) {
                    let value = compute(&reader, Some(&entry.value));
                    if *entry.value != value {
                        entry.value = Arc::new(value);
                    }
                    (entry.reads, entry.follows) = (reader.into_reads(), None);
                }
                entry.held = world.recent.pass;
                entry
            }
        };
        (Arc::clone(&entry.value), &mut entry.follows)
    }

    /// Drops what is not kept. `kept` is how many will be: all of them have been asked for in this pass, so as many as there are
    /// leaves nothing to drop.
    pub(crate) fn retain(&mut self, kept: usize, keep: impl Fn(&K) -> bool) {
        if self.entries.len() != kept {
            self.entries.retain(|key, _| keep(key));
        }
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
