//! What has changed lately among the objects of which there are thousands. A result that rests on a dozen looks at the world would else take a
//! dozen searches to be found still right, for every route in every pass.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use gateway_api::experimental::httproutes::HttpRoute;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use portcullis_ir::Shared;

use crate::{Inputs, NamespacedName};

/// Names that are remembered; of changes before them nothing is known, and whoever asks must look himself.
const REMEMBERED: usize = 64;

/// Counts passes, of both lanes.
pub(crate) type Pass = u64;

/// Kept from pass to pass.
#[derive(Default)]
pub(crate) struct Recent {
    pub(crate) pass: Pass,
    pub(crate) http_routes: Seen<HttpRoute>,
    pub(crate) services: Seen<Service>,
    /// By the Service that they belong to.
    pub(crate) slices: Seen<EndpointSlice>,
}

impl Recent {
    /// Begins a pass over `inputs`. `service_of` names the Service of a slice.
    pub(crate) fn begin(
        &mut self,
        inputs: &Inputs,
        service_of: impl Fn(&NamespacedName, &EndpointSlice) -> Option<NamespacedName>,
    ) {
        self.pass += 1;
        let own = |name: &NamespacedName| Some(name.clone());
        self.http_routes.look(self.pass, &inputs.http_routes, |name, _| own(name));
        self.services.look(self.pass, &inputs.services, |name, _| own(name));
        self.slices.look(self.pass, &inputs.endpoint_slices, service_of);
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("pass", &self.pass).finish_non_exhaustive()
    }
}

/// The objects of one kind as the last pass saw them, and what has changed in the passes before. Holding them keeps an address from becoming
/// another object's.
pub(crate) struct Seen<T> {
    objects: BTreeMap<NamespacedName, Arc<T>>,
    /// The newest last.
    changes: VecDeque<(Pass, NamespacedName)>,
    /// Of changes in this pass and before not all are known.
    forgotten: Pass,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), changes: VecDeque::new(), forgotten: 0 }
    }
}

impl<T> Seen<T> {
    /// Whether nothing by that name has changed after `since`. False if that is not known.
    pub(crate) fn is_as_in(&self, since: Pass, name: &NamespacedName) -> bool {
        let after = self.changes.iter().rev().take_while(|(pass, _)| *pass > since);
        since >= self.forgotten && !after.into_iter().any(|(_, changed)| changed == name)
    }

    /// Walks once over what was and what is; `of` gives the name under which a change counts.
    fn look(
        &mut self,
        pass: Pass,
        now: &BTreeMap<NamespacedName, Arc<T>>,
        of: impl Fn(&NamespacedName, &T) -> Option<NamespacedName>,
    ) {
        for (name, is) in differing(&self.objects, now) {
            let was = match is {
                Some(is) => self.objects.insert(name.clone(), is),
                None => self.objects.remove(&name),
            };
            // Under the name that it had, and under the name that it has.
            let names = [was.as_ref(), self.objects.get(&name)].map(|one| one.and_then(|one| of(&name, one)));
            self.changes.extend(names.into_iter().flatten().map(|name| (pass, name)));
        }
        while self.changes.len() > REMEMBERED
            && let Some((pass, _)) = self.changes.pop_front()
        {
            self.forgotten = pass;
        }
    }
}

/// What is not the same object in both, with what it is now.
fn differing<T>(
    before: &BTreeMap<NamespacedName, Arc<T>>,
    after: &BTreeMap<NamespacedName, Arc<T>>,
) -> Vec<(NamespacedName, Option<Arc<T>>)> {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    let mut found = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.order(new),
        };
        let was = if order == Ordering::Greater { None } else { old.next() };
        let is = if order == Ordering::Less { None } else { new.next() };
        match (was, is) {
            (Some((_, was)), Some((_, is))) if Arc::ptr_eq(was, is) => {}
            (_, Some((name, is))) => found.push((name.clone(), Some(Arc::clone(is)))),
            (Some((name, _)), None) => found.push((name.clone(), None)),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> NamespacedName {
        NamespacedName::new("ns", name)
    }

    fn own(name: &NamespacedName, _: &u32) -> Option<NamespacedName> {
        Some(name.clone())
    }

    #[test]
    fn a_change_is_known_by_name_to_whoever_looked_before_it() {
        let (mut seen, mut now) =
            (Seen::default(), BTreeMap::from([(name("a"), Arc::new(1)), (name("b"), Arc::new(1))]));
        seen.look(1, &now, own);
        now.insert(name("a"), Arc::new(1));
        seen.look(2, &now, own);
        assert!(!seen.is_as_in(1, &name("a")) && seen.is_as_in(2, &name("a")) && seen.is_as_in(1, &name("b")));
        now.remove(&name("b"));
        seen.look(3, &now, own);
        assert!(!seen.is_as_in(2, &name("b")) && seen.is_as_in(2, &name("a")));
    }

    #[test]
    fn what_was_forgotten_counts_as_changed() {
        let mut now: BTreeMap<_, _> = (0..5u32).map(|number| (name(&number.to_string()), Arc::new(number))).collect();
        let mut seen = Seen::default();
        seen.look(1, &now, own);
        now.extend((0..1000).map(|number| (name(&number.to_string()), Arc::new(number))));
        seen.look(2, &now, own);
        assert!(!seen.is_as_in(1, &name("elsewhere")));
        assert!(seen.is_as_in(2, &name("elsewhere")));
    }

    #[test]
    fn an_object_that_moves_to_another_name_changes_both() {
        let by_value = |_: &NamespacedName, value: &u32| Some(name(&value.to_string()));
        let (mut seen, mut now) = (Seen::default(), BTreeMap::from([(name("slice"), Arc::new(7))]));
        seen.look(1, &now, by_value);
        now.insert(name("slice"), Arc::new(8));
        seen.look(2, &now, by_value);
        assert!(!seen.is_as_in(1, &name("7")) && !seen.is_as_in(1, &name("8")) && seen.is_as_in(1, &name("9")));
    }
}
