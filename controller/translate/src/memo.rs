//! What a pass leaves for the next one. It only ever saves work: a result taken from here is the result that would be
//! computed (`tests/laws` holds it to that).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use portcullis_ir::{BackendKey, ListenerKey};

use crate::backend::CompiledBackend;
use crate::backend_object::BackendPlan;
use crate::client_validation::ParsedRoots;
use crate::gateway::AttachPoints;
use crate::introduce::Introduced;
use crate::route::CompiledRoute;
use crate::tls::ParsedSecrets;
use crate::tls_policy::PolicyPlan;
use crate::world::{Read, Reader, World};
use crate::{NamespacedName, ObjectRef};

/// Start with `Memo::default()` and hand the same one to every pass. As large as the world, no larger: what a pass did
/// not need is dropped at its end.
#[derive(Default)]
pub struct Memo {
    pub(crate) secrets: ParsedSecrets,
    pub(crate) roots: ParsedRoots,
    pub(crate) tls_policies: Cache<NamespacedName, PolicyPlan>,
    pub(crate) backend_objects: Cache<NamespacedName, BackendPlan>,
    pub(crate) attach_points: BTreeMap<NamespacedName, Arc<AttachPoints>>,
    pub(crate) set_points: BTreeMap<NamespacedName, Arc<AttachPoints>>,
    pub(crate) listeners: BTreeMap<ListenerKey, Arc<portcullis_ir::Listener>>,
    /// Of all kinds.
    pub(crate) routes: Cache<ObjectRef, CompiledRoute>,
    pub(crate) backends: Cache<BackendKey, CompiledBackend>,
    pub(crate) introduced: Introduced,
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").field("routes", &self.routes.entries.len()).finish_non_exhaustive()
    }
}

/// Results by key, each with what it was computed from.
pub(crate) struct Cache<K, V> {
    entries: BTreeMap<K, Entry<V>>,
}

struct Entry<V> {
    reads: Vec<Read>,
    value: Arc<V>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, V: PartialEq> Cache<K, V> {
    /// The value for `key`: the present one if everything that it was computed from is unchanged, else computed anew.
    /// `compute` is given the old value to share parts with; a result equal to it keeps its `Arc`.
    pub(crate) fn get(
        &mut self,
        world: &World<'_>,
        key: &K,
        compute: impl FnOnce(&Reader<'_, '_>, Option<&V>) -> V,
    ) -> Arc<V> {
        let present = self.entries.get(key);
        if let Some(entry) = present
            && entry.reads.iter().all(|read| read.holds(world))
        {
            return Arc::clone(&entry.value);
        }
        let old = present.map(|entry| Arc::clone(&entry.value));
        let reader = Reader::new(world);
        let value = compute(&reader, old.as_deref());
        let value = match old {
            Some(old) if *old == value => old,
            _ => Arc::new(value),
        };
        self.entries.insert(key.clone(), Entry { reads: reader.into_reads(), value: Arc::clone(&value) });
        value
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.entries.retain(|key, _| keep(key));
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
