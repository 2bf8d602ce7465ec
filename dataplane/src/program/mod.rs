//! The program: everything a request needs, immutable, behind one pointer.
//!
//! Structure is shared across swaps: the router and the backend table are persistent, so a one-route change costs the
//! path to that route. What must survive a swap (pick state, endpoint statistics, pools, counters) lives in `Arc`s
//! that the next program takes over by key.

mod compile;
mod cors;
mod lives;
mod names;
mod rule;
mod slots;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_auth::Vault;
use portcullis_ir as ir;
use portcullis_router::{Found, Router, StreamRule, Streams};
use portcullis_wire::{Digests, Version};

pub(crate) use compile::{Compiler, Rejected};
pub(crate) use cors::{Allowed, CompiledCors};
pub(crate) use rule::{CompiledTarget, RuleState};
pub(crate) use stream::StreamState;

use crate::listen::{Facts, Life, Place, TlsTable};
use crate::policy::{ExternalProgram, LimitProgram, ListenerPolicies, Policies};
use crate::upstream::BackendProgram;

/// A dense, stable number for a backend key: the rule's way to its backend without a hash lookup. A slot is reused
/// only after every program that knew its former owner is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BackendSlot(pub(crate) u32);

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) version: Version,
    pub(crate) digests: Digests,
    pub(crate) router: Router<RuleState>,
    pub(crate) streams: Streams<StreamState>,
    pub(crate) tls: TlsTable,
    policies: ListenerPolicies,
    /// What credentials are judged by.
    vault: Vault,
    /// What is wanted to be bound, and what is spoken there.
    pub(crate) binds: Arc<BTreeMap<Place, Facts>>,
    /// Of the listeners whose connections are handed on.
    pub(crate) lives: Arc<BTreeMap<ir::ListenerKey, Life>>,
    backends: imbl::Vector<Option<Arc<BackendProgram>>>,
    /// Where the services stand that policies ask.
    asked: Arc<BTreeMap<ir::BackendKey, BackendSlot>>,
    /// False until the first complete program: nothing is served before.
    pub(crate) complete: bool,
}

impl Program {
    /// The backend in a slot; none if the configuration no longer holds it (its requests get 500).
    pub(crate) fn backend(&self, slot: BackendSlot) -> Option<&Arc<BackendProgram>> {
        self.backends.get(slot.0 as usize).and_then(Option::as_ref)
    }

    /// A backend that a policy names; none if the configuration does not hold it.
    pub(crate) fn backend_of(&self, key: &ir::BackendKey) -> Option<&Arc<BackendProgram>> {
        self.backend(*self.asked.get(key)?)
    }

    /// What is in force for a request that a rule took; none for most.
    #[expect(
        clippy::inline_always,
        reason = "measured: it is asked of every request, and the compiler leaves it a call"
    )]
    #[inline(always)]
    pub(crate) fn policies<'p>(&'p self, found: &Found<'p, RuleState>) -> Option<Policies<'p>> {
        found.rule.payload.policies.at(&found.listener.key, &self.policies, &self.vault)
    }

    /// Whether any listener has services asked before a rule is looked for.
    pub(crate) fn asks_first(&self) -> bool {
        self.policies.any_first()
    }

    /// The services that a listener has asked before a rule is looked for, in order.
    pub(crate) fn asked_first(&self, listener: &ir::ListenerKey) -> &[Arc<ExternalProgram>] {
        self.policies.first(listener)
    }

    /// In force for what a rule takes as it comes; none for most.
    pub(crate) fn stream_limits<'p>(
        &'p self,
        rule: &'p StreamRule<StreamState>,
        listener: &ir::ListenerKey,
    ) -> Option<&'p Arc<LimitProgram>> {
        rule.payload.policies.at(listener, &self.policies, &self.vault)?.limits
    }
}

impl Default for Program {
    /// Serves nothing, and is not complete.
    fn default() -> Self {
        Self {
            version: Version { epoch: 0, number: 0 },
            digests: Digests::default(),
            router: Router::new(),
            streams: Streams::new(),
            tls: TlsTable::default(),
            policies: ListenerPolicies::default(),
            vault: Vault::default(),
            binds: Arc::default(),
            lives: Arc::default(),
            backends: imbl::Vector::new(),
            asked: Arc::default(),
            complete: false,
        }
    }
}
