//! What the data plane knows about one rule of bytes or datagrams beyond the router's view of it.

use std::sync::Arc;

use portcullis_ir as ir;

use super::{BackendSlot, CompiledTarget, Program};
use crate::observe::StreamMetrics;
use crate::policy::RulePolicies;
use crate::upstream::{BackendProgram, WeightedPick};

#[derive(Debug)]
pub(crate) struct StreamState {
    pub(crate) metrics: Arc<StreamMetrics>,
    /// As in [`super::RuleState`], once per connection or session.
    pub(crate) pick: Arc<WeightedPick>,
    /// In the order of the route's backends.
    pub(crate) targets: Box<[CompiledTarget]>,
    /// In force at listeners where they differ from the listener's own.
    pub(crate) policies: RulePolicies,
}

/// What a rule of bytes and datagrams keeps from program to program; one of requests finds it in its predecessor.
#[derive(Debug)]
pub(super) struct Retained {
    pub(super) metrics: Arc<StreamMetrics>,
    pub(super) pick: Arc<WeightedPick>,
}

impl StreamState {
    /// The backend whose turn it is on a worker; none if the turn is that of an invalid one, or nobody's. `program` must
    /// be the one that holds this rule.
    pub(crate) fn pick<'p>(&self, program: &'p Program, worker: usize) -> Option<&'p Arc<BackendProgram>> {
        let slot = match self.targets.get(self.pick.pick(worker)?)? {
            CompiledTarget::Backend(slot) => *slot,
            CompiledTarget::Fail(_) => return None,
        };
        usable(program, slot)
    }

    /// Whether a backend is (still) one of the rule's.
    pub(crate) fn names(&self, program: &Program, key: &ir::BackendKey) -> bool {
        self.targets.iter().any(|target| match target {
            CompiledTarget::Backend(slot) => usable(program, *slot).is_some_and(|backend| backend.backend.key == *key),
            CompiledTarget::Fail(_) => false,
        })
    }
}

fn usable(program: &Program, slot: BackendSlot) -> Option<&Arc<BackendProgram>> {
    program.backend(slot).filter(|backend| backend.backend.broken.is_none())
}

/// The backends that a rule names, one entry for each time it names one.
pub(super) fn references(route: &ir::StreamRoute) -> impl Iterator<Item = &ir::BackendKey> {
    route.backends.iter().filter_map(|backend| match &backend.target {
        ir::Target::Backend(key) => Some(key),
        ir::Target::Invalid(_) => None,
    })
}
