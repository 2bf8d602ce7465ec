//! What is held of a kind, and what has to be fetched: decisions only, no I/O.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use portcullis_translate::{Kind, ObjectRef};

use super::Change;

/// Of one object one fetch is under way at most, and what happens to the object meanwhile makes it stale again: an
/// answer that was overtaken is never the last one.
#[derive(Debug)]
pub(super) struct Holder {
    kind: Kind,
    wanted: BTreeSet<ObjectRef>,
    /// Of what is held: the version that was fetched.
    versions: BTreeMap<ObjectRef, Option<String>>,
    /// Wanted, and not fetched since it changed.
    stale: BTreeSet<ObjectRef>,
    under_way: HashSet<ObjectRef>,
}

impl Holder {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            wanted: BTreeSet::new(),
            versions: BTreeMap::new(),
            stale: BTreeSet::new(),
            under_way: HashSet::new(),
        }
    }

    /// Of all that is referred to now, what is of our kind; says what is no longer held.
    pub(super) fn want(&mut self, all: &BTreeSet<ObjectRef>) -> Vec<Change> {
        let now: BTreeSet<ObjectRef> = all.iter().filter(|one| one.kind == self.kind).cloned().collect();
        self.stale.extend(now.difference(&self.wanted).cloned());
        self.stale.retain(|one| now.contains(one));
        self.wanted = now;
        let dropped: Vec<ObjectRef> = self.versions.keys().filter(|one| !self.wanted.contains(one)).cloned().collect();
        dropped.into_iter().filter_map(|reference| self.drop_held(reference)).collect()
    }

    /// The object is there, in this version.
    pub(super) fn seen(&mut self, reference: ObjectRef, version: Option<&str>) {
        let held = self.versions.get(&reference).and_then(Option::as_deref);
        let is_news = self.under_way.contains(&reference) || held.is_none() || held != version;
        if is_news && self.wanted.contains(&reference) {
            self.stale.insert(reference);
        }
    }

    /// The object is deleted.
    pub(super) fn deleted(&mut self, reference: ObjectRef) -> Option<Change> {
        if self.under_way.contains(&reference) {
            // Its fetch may still bring it; then another must find it gone.
            self.stale.insert(reference.clone());
        } else {
            self.stale.remove(&reference);
        }
        self.drop_held(reference)
    }

    /// These are all there are.
    pub(super) fn only(&mut self, listed: &HashSet<ObjectRef>) -> Vec<Change> {
        let gone: Vec<ObjectRef> = self.versions.keys().filter(|one| !listed.contains(one)).cloned().collect();
        gone.into_iter().filter_map(|reference| self.deleted(reference)).collect()
    }

    /// The next object to fetch; counts as under way from now on.
    pub(super) fn next_fetch(&mut self) -> Option<ObjectRef> {
        let next = self.stale.iter().find(|one| !self.under_way.contains(*one)).cloned()?;
        self.stale.remove(&next);
        self.under_way.insert(next.clone());
        Some(next)
    }

    /// A fetch has ended: with the version that was found, or with nothing. Whether that is to be told.
    pub(super) fn fetched(&mut self, reference: &ObjectRef, found: Option<Option<String>>) -> bool {
        self.under_way.remove(reference);
        if !self.wanted.contains(reference) {
            return false;
        }
        match found {
            Some(version) => self.versions.insert(reference.clone(), version),
            None => self.versions.remove(reference),
        };
        true
    }

    fn drop_held(&mut self, reference: ObjectRef) -> Option<Change> {
        self.versions.remove(&reference).map(|_| Change::Remove(reference))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_translate::NamespacedName;

    use super::*;

    fn secret(name: &str) -> ObjectRef {
        ObjectRef::namespaced(Kind::Secret, &NamespacedName::new("ns", name))
    }

    fn wanting(name: &str) -> Holder {
        let mut holder = Holder::new(Kind::Secret);
        assert!(holder.want(&[secret(name)].into()).is_empty());
        holder
    }

    fn version(number: u32) -> Option<Option<String>> {
        Some(Some(number.to_string()))
    }

    #[test]
    fn only_what_is_wanted_is_fetched_and_only_when_it_changes() {
        let mut holder = wanting("a");
        holder.seen(secret("b"), Some("1"));
        assert_eq!(holder.next_fetch(), Some(secret("a")));
        assert_eq!(holder.next_fetch(), None);
        assert!(holder.fetched(&secret("a"), version(1)));
        holder.seen(secret("a"), Some("1"));
        assert_eq!(holder.next_fetch(), None);
        holder.seen(secret("a"), Some("2"));
        assert_eq!(holder.next_fetch(), Some(secret("a")));
    }

    #[test]
    fn a_change_during_a_fetch_is_fetched_after_it_and_never_beside_it() {
        let mut holder = wanting("a");
        holder.next_fetch().unwrap();
        holder.seen(secret("a"), Some("2"));
        assert_eq!(holder.next_fetch(), None, "two answers could come in either order");
        holder.fetched(&secret("a"), version(1));
        assert_eq!(holder.next_fetch(), Some(secret("a")));
    }

    #[test]
    fn a_deletion_during_a_fetch_is_looked_for_again() {
        let mut holder = wanting("a");
        holder.next_fetch().unwrap();
        assert!(holder.deleted(secret("a")).is_none());
        assert!(holder.fetched(&secret("a"), version(1)), "the answer is older than the deletion");
        assert_eq!(holder.next_fetch(), Some(secret("a")));
        assert!(holder.fetched(&secret("a"), None), "that it is gone is told");
        assert_eq!(holder.next_fetch(), None);
    }

    #[test]
    fn what_is_no_longer_referred_to_is_dropped_whatever_comes_later() {
        let mut holder = wanting("a");
        holder.next_fetch().unwrap();
        holder.fetched(&secret("a"), version(1));
        holder.seen(secret("a"), Some("2"));
        holder.next_fetch().unwrap();
        assert!(matches!(&holder.want(&BTreeSet::new())[..], [Change::Remove(_)]));
        assert!(!holder.fetched(&secret("a"), version(2)));
    }
}
