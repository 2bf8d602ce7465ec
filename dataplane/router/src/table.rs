//! A persistent map from strings (hosts, paths) that is small while it holds little.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;

/// What a table holds: it is made on first use, and dropped when it has become empty.
pub(crate) trait Content: Clone + Default {
    fn is_empty(&self) -> bool;
}

/// One entry is one pointer, so that copying a node of the tree means copying pointers.
#[derive(Clone)]
pub(crate) struct Table<V> {
    /// The lengths of the keys ([`bit`]): most of a request's suffixes and prefixes need no look-up at all.
    lengths: u64,
    store: Store<V>,
}

#[derive(Clone)]
enum Store<V> {
    Few(Vec<Named<V>>),
    Many(Arc<Many<V>>),
}

#[derive(Clone)]
struct Many<V> {
    items: GenericHashMap<Named<V>, (), FixedState, DefaultSharedPtr>,
    /// How many keys have the length of each bit.
    counts: [u32; 64],
}

/// An item, hashed and compared by its key alone.
struct Named<V>(Arc<Item<V>>);

#[derive(Clone)]
struct Item<V> {
    key: Box<str>,
    value: V,
}

/// Up to here comparing is cheaper than hashing.
const FEW: usize = 4;

impl<V: Content> Table<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.lengths == 0
    }

    /// No key is longer.
    pub(crate) fn longest(&self) -> usize {
        match self.lengths.checked_ilog2() {
            None => 0,
            Some(63) => usize::MAX,
            Some(bit @ ..48) => bit as usize,
            Some(bit) => 48 + 64 * (bit as usize - 48) + 63,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        if self.lengths & 1 << bit(key.len()) == 0 {
            return None;
        }
        let item = match &self.store {
            Store::Few(items) => items.iter().find(|item| *item.0.key == *key)?,
            Store::Many(many) => many.items.get_key_value(key)?.0,
        };
        Some(&item.0.value)
    }

    /// Changes the value of a key, which is empty if there is none yet.
    pub(crate) fn edit(&mut self, key: &str, seed: u64, change: impl FnOnce(&mut V)) {
        match &mut self.store {
            Store::Few(items) => {
                match items.iter().position(|item| *item.0.key == *key) {
                    Some(at) => {
                        let item = Arc::make_mut(&mut items[at].0);
                        change(&mut item.value);
                        if item.value.is_empty() {
                            items.swap_remove(at);
                        }
                    }
                    None => {
                        items.reserve_exact(1);
                        items.extend(Named::new(key, change));
                    }
                }
                self.lengths = items.iter().fold(0, |lengths, item| lengths | 1 << bit(item.0.key.len()));
                if items.len() > FEW {
                    let mut many =
                        Many { items: GenericHashMap::with_hasher(FixedState::with_seed(seed)), counts: [0; 64] };
                    for item in items.drain(..) {
                        many.counts[bit(item.0.key.len())] += 1;
                        many.items.insert(item, ());
                    }
                    self.store = Store::Many(Arc::new(many));
                }
            }
            Store::Many(many) => {
                let many = Arc::make_mut(many);
                let count = &mut many.counts[bit(key.len())];
                let item = match many.items.remove_with_key(key) {
                    Some((mut item, ())) => {
                        *count -= 1;
                        let content = Arc::make_mut(&mut item.0);
                        change(&mut content.value);
                        (!content.value.is_empty()).then_some(item)
                    }
                    None => Named::new(key, change),
                };
                if let Some(item) = item {
                    *count += 1;
                    many.items.insert(item, ());
                }
                self.lengths = match *count {
                    0 => self.lengths & !(1 << bit(key.len())),
                    _ => self.lengths | 1 << bit(key.len()),
                };
                if many.items.len() <= FEW / 2 {
                    self.store = Store::Few(many.items.keys().cloned().collect());
                }
            }
        }
    }
}

/// Lengths below 48 have a bit each; 64 share one from there on, and all from 1,008 on.
fn bit(length: usize) -> usize {
    if length < 48 { length } else { 48 + ((length - 48) / 64).min(15) }
}

impl<V: Content> Named<V> {
    /// None if the change leaves the value empty.
    fn new(key: &str, change: impl FnOnce(&mut V)) -> Option<Self> {
        let mut value = V::default();
        change(&mut value);
        (!value.is_empty()).then(|| Self(Arc::new(Item { key: key.into(), value })))
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { lengths: 0, store: Store::Few(Vec::new()) }
    }
}

impl<V> Clone for Named<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> Borrow<str> for Named<V> {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

impl<V> PartialEq for Named<V> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl<V> Eq for Named<V> {}

impl<V> Hash for Named<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    impl Content for Vec<usize> {
        fn is_empty(&self) -> bool {
            self.is_empty()
        }
    }

    /// Keys of many lengths, some of which share a bit.
    fn key(n: usize) -> String {
        format!("{n}{}", "x".repeat(n * 7 % 200))
    }

    #[test]
    fn a_table_agrees_with_a_map_while_it_grows_and_shrinks() {
        let mut table: Table<Vec<usize>> = Table::default();
        let mut map: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for step in 0..4_000_usize {
            // Grows for the first half, shrinks for the second.
            let (n, grows) = (step * 31 % 97, step * 13 % 10 < if step < 2_000 { 7 } else { 2 });
            let before = table.clone();
            table.edit(&key(n), 1, |list| if grows { list.push(step) } else { list.clear() });
            assert_eq!(before.get(&key(n)), map.get(&key(n)), "the old table is untouched");
            if grows {
                map.entry(key(n)).or_default().push(step);
            } else {
                map.remove(&key(n));
            }
            for n in 0..97 {
                assert_eq!(table.get(&key(n)), map.get(&key(n)), "step {step}");
            }
            assert_eq!(table.is_empty(), map.is_empty());
        }
    }

    #[test]
    fn no_key_is_longer_than_the_longest() {
        for length in (0..1_200).chain([1_000_000]) {
            let mut table: Table<Vec<usize>> = Table::default();
            table.edit(&"x".repeat(length), 1, |list| list.push(1));
            table.edit("", 1, |list| list.push(1));
            assert!(table.longest() >= length, "{length}");
            assert!(length > 1_000 || table.longest() < length + 64, "{length}");
        }
    }

    #[test]
    fn an_empty_value_is_not_kept() {
        let mut table: Table<Vec<usize>> = Table::default();
        table.edit("a", 1, |_| {});
        assert!(table.is_empty());
        table.edit("a", 1, |list| list.push(1));
        table.edit("a", 1, Vec::clear);
        assert!(table.is_empty() && table.get("a").is_none());
    }
}
