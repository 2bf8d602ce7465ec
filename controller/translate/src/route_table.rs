//! The routes of all kinds from pass to pass: what each comes to, its status, and how often each listener is attached to. A
//! pass looks at those alone that may come out differently, as far as it is known which these are.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_ir::{ListenerKey, Table};

use crate::mend::{Edits, Mending, set};
use crate::route::CompiledRoute;
use crate::{ObjectRef, RouteStatus};

/// What each route comes to.
pub(crate) type Routes = Table<ObjectRef, CompiledRoute>;

#[derive(Default)]
pub(crate) struct RouteTable {
    pub(crate) compiled: Routes,
    pub(crate) statuses: Table<ObjectRef, RouteStatus>,
    /// Routes whose status has the time of the pass in it: it is another in each, until it has been written.
    pub(crate) undated: BTreeSet<ObjectRef>,
    /// How many routes each listener counts; none of those that count none.
    pub(crate) attached: HashMap<ListenerKey, i32>,
}

/// A route that comes out differently.
pub(crate) struct RouteChange {
    pub(crate) before: Option<Arc<CompiledRoute>>,
    pub(crate) after: Option<Arc<CompiledRoute>>,
}

/// The status of a route.
pub(crate) struct Settled {
    pub(crate) status: Arc<RouteStatus>,
    /// No time of the pass is in it.
    pub(crate) dated: bool,
}

/// All routes, in the order of their names.
pub(crate) struct Whole<'t> {
    compiled: Mending<'t, ObjectRef, CompiledRoute>,
    statuses: Mending<'t, ObjectRef, RouteStatus>,
    undated: BTreeSet<ObjectRef>,
}

/// What leads from a table to the next.
pub(crate) struct Replacement {
    compiled: Edits<ObjectRef, CompiledRoute>,
    statuses: Edits<ObjectRef, RouteStatus>,
    undated: BTreeSet<ObjectRef>,
}

impl RouteTable {
    /// Puts one route in its place; none if it is gone.
    pub(crate) fn put(
        &mut self,
        reference: &ObjectRef,
        compiled: Option<&Arc<CompiledRoute>>,
        status: Option<&Settled>,
    ) -> Option<RouteChange> {
        self.undated.remove(reference);
        if status.is_some_and(|settled| !settled.dated) {
            self.undated.insert(reference.clone());
        }
        set(&mut self.statuses, reference, status.map(|settled| &settled.status));
        let before = self.compiled.get(reference);
        if before.map(Arc::as_ptr) == compiled.map(Arc::as_ptr) {
            return None;
        }
        let before = match compiled {
            Some(now) => self.compiled.insert(reference.clone(), Arc::clone(now)),
            None => self.compiled.remove(reference),
        };
        let change = RouteChange { before, after: compiled.cloned() };
        self.count(&change);
        Some(change)
    }

    pub(crate) fn whole(&self) -> Whole<'_> {
        Whole { compiled: Mending::of(&self.compiled), statuses: Mending::of(&self.statuses), undated: BTreeSet::new() }
    }

    /// What all routes came to, and no others: returns those that come out differently.
    pub(crate) fn replace(&mut self, replacement: Replacement) -> Vec<RouteChange> {
        let Replacement { compiled, statuses, undated } = replacement;
        statuses.apply(&mut self.statuses);
        self.undated = undated;
        let mut changes = Vec::new();
        for (reference, after) in compiled.into_list() {
            let before = match &after {
                Some(now) => self.compiled.insert(reference, Arc::clone(now)),
                None => self.compiled.remove(&reference),
            };
            let change = RouteChange { before, after };
            self.count(&change);
            changes.push(change);
        }
        changes
    }

    fn count(&mut self, RouteChange { before, after }: &RouteChange) {
        for listener in before.iter().flat_map(|route| &route.attached) {
            if let Some(count) = self.attached.get_mut(listener) {
                *count -= 1;
                if *count == 0 {
                    self.attached.remove(listener);
                }
            }
        }
        for listener in after.iter().flat_map(|route| &route.attached) {
            match self.attached.get_mut(listener) {
                Some(count) => *count += 1,
                None => drop(self.attached.insert(listener.clone(), 1)),
            }
        }
    }
}

impl Whole<'_> {
    pub(crate) fn put(&mut self, reference: &ObjectRef, compiled: &Arc<CompiledRoute>, status: Option<Settled>) {
        self.compiled.put(reference, compiled);
        if let Some(Settled { status, dated }) = status {
            if !dated {
                self.undated.insert(reference.clone());
            }
            self.statuses.put(reference, &status);
        }
    }

    pub(crate) fn finish(self) -> Replacement {
        let Self { compiled, statuses, undated } = self;
        Replacement { compiled: compiled.finish(), statuses: statuses.finish(), undated }
    }
}
