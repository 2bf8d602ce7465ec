//! Brings a map from what it was to what it is to be, in one walk over both that touches only what differs: of thousands of
//! entries one is another in most passes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::sync::Arc;

use portcullis_ir::Shared;

/// What leads from the map that was to the one that is; None: the key goes.
pub(crate) struct Edits<K, V>(Vec<(K, Option<Arc<V>>)>);

pub(crate) struct Mending<'m, K, V> {
    was: Peekable<btree_map::Iter<'m, K, Arc<V>>>,
    edits: Vec<(K, Option<Arc<V>>)>,
}

impl<'m, K: Shared + Clone, V> Mending<'m, K, V> {
    pub(crate) fn of(map: &'m BTreeMap<K, Arc<V>>) -> Self {
        Self { was: map.iter().peekable(), edits: Vec::new() }
    }

    /// An entry that is to be. Out of order they come to the same, by a longer way.
    #[inline]
    pub(crate) fn put(&mut self, key: &K, value: &Arc<V>) {
        while let Some((held, before)) = self.was.peek() {
            match held.order(key) {
                Ordering::Less => self.edits.push(((*held).clone(), None)),
                Ordering::Equal => {
                    if !Arc::ptr_eq(before, value) {
                        self.edits.push((key.clone(), Some(Arc::clone(value))));
                    }
                    self.was.next();
                    return;
                }
                Ordering::Greater => break,
            }
            self.was.next();
        }
        self.edits.push((key.clone(), Some(Arc::clone(value))));
    }

    /// There are no others.
    pub(crate) fn finish(mut self) -> Edits<K, V> {
        self.edits.extend(self.was.map(|(gone, _)| (gone.clone(), None)));
        Edits(self.edits)
    }
}

impl<K: Ord, V> Edits<K, V> {
    pub(crate) fn apply(self, map: &mut BTreeMap<K, Arc<V>>) {
        if map.is_empty() {
            // Built at once, a map of thousands costs a fraction of as many inserts.
            *map = self.0.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            return;
        }
        for (key, value) in self.0 {
            match value {
                Some(value) => drop(map.insert(key, value)),
                None => drop(map.remove(&key)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_ir::GatewayKey;

    use super::*;

    fn key(name: &str) -> GatewayKey {
        GatewayKey::new("ns", name)
    }

    #[test]
    fn the_map_becomes_what_was_put_in_whatever_order_and_what_stays_is_not_touched() {
        let value = |name: &str| (key(name), Arc::new(name.to_owned()));
        let was: BTreeMap<_, _> = ["a", "b", "c", "e", "g"].map(value).into();
        for order in [["b", "c", "d", "e"], ["e", "d", "b", "c"]] {
            let is: Vec<_> = order
                .into_iter()
                .map(|name| match name {
                    "b" | "e" => (key(name), Arc::clone(&was[&key(name)])),
                    name => value(name),
                })
                .collect();
            let mut mending = Mending::of(&was);
            is.iter().for_each(|(key, value)| mending.put(key, value));
            let edits = mending.finish();
            if order.is_sorted() {
                assert_eq!(edits.0.len(), 4, "two go, one is new, one is another");
            }
            let mut map = was.clone();
            edits.apply(&mut map);
            assert!(map.len() == 4 && is.iter().all(|(key, value)| Arc::ptr_eq(&map[key], value)));
        }
        let none = BTreeMap::new();
        let mut mending = Mending::of(&none);
        mending.put(&key("a"), &was[&key("a")]);
        let mut map = BTreeMap::new();
        mending.finish().apply(&mut map);
        assert_eq!(map.len(), 1);
    }
}
