//! Brings a map from what it was to what it is to be, in one walk over both that touches only what differs: of thousands of
//! entries one is another in most passes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

use imbl::ordmap;
use imbl::shared_ptr::DefaultSharedPtr;
use portcullis_ir::{Shared, Table};

/// What leads from the map that was to the one that is; None: the key goes.
pub(crate) struct Edits<K, V>(Vec<(K, Option<Arc<V>>)>);

/// Makes `table` hold `entries` and nothing else.
pub(crate) fn mend<'v, K, V>(table: &mut Table<K, V>, entries: impl IntoIterator<Item = (&'v K, &'v Arc<V>)>)
where
    K: Ord + Clone + 'v,
    V: 'v,
{
    let entries: BTreeMap<&K, &Arc<V>> = entries.into_iter().collect();
    let gone: Vec<K> = table.keys().filter(|key| !entries.contains_key(key)).cloned().collect();
    for key in &gone {
        table.remove(key);
    }
    for (key, value) in entries {
        set(table, key, Some(value));
    }
}

/// What is the same already is not touched.
pub(crate) fn set<K: Ord + Clone, V>(table: &mut Table<K, V>, key: &K, value: Option<&Arc<V>>) {
    match (table.get(key), value) {
        (Some(is), Some(value)) if Arc::ptr_eq(is, value) => {}
        (None, None) => {}
        (_, Some(value)) => drop(table.insert(key.clone(), Arc::clone(value))),
        (Some(_), None) => drop(table.remove(key)),
    }
}

pub(crate) struct Mending<'m, K, V> {
    was: Peekable<ordmap::Iter<'m, K, Arc<V>, DefaultSharedPtr>>,
    edits: Vec<(K, Option<Arc<V>>)>,
}

impl<'m, K: Shared + Clone, V> Mending<'m, K, V> {
    pub(crate) fn of(map: &'m Table<K, V>) -> Self {
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

impl<K: Ord + Clone, V> Edits<K, V> {
    pub(crate) fn apply(self, map: &mut Table<K, V>) {
        for (key, value) in self.0 {
            match value {
                Some(value) => drop(map.insert(key, value)),
                None => drop(map.remove(&key)),
            }
        }
    }

    /// To be applied one after the other; None: the key goes.
    pub(crate) fn into_list(self) -> Vec<(K, Option<Arc<V>>)> {
        self.0
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
        let was: Table<_, _> = ["a", "b", "c", "e", "g"].map(value).into_iter().collect();
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
        let none = Table::new();
        let mut mending = Mending::of(&none);
        mending.put(&key("a"), &was[&key("a")]);
        let mut map = Table::new();
        mending.finish().apply(&mut map);
        assert_eq!(map.len(), 1);
    }
}
