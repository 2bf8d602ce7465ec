//! The limits in force at one place, with the way to their counters and stores.

use std::sync::Arc;
use std::time::Instant;

use portcullis_ir::{self as ir, LimitScope};
use portcullis_limits::{Phase, Program, Rule, Shape, Time};

use super::State;
use super::store;

/// What a rule of the fleet is counted in.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) book: Arc<store::Book>,
    pub(super) link: Arc<store::Link>,
}

#[derive(Debug)]
pub(crate) struct LimitProgram {
    pub(super) rules: Program,
    /// What is held of the stores, by rule; none where a replica counts for itself.
    pub(super) fleets: Box<[Option<Fleet>]>,
    /// A quota of the calendar is among the limits.
    calendar: bool,
    /// Every rule is enforced, counted by this replica for itself, and asks nothing of identity: nobody has to be waited for.
    pub(super) immediate: bool,
    /// Clients are told where they stand.
    pub(super) tells: bool,
    state: Arc<State>,
}

impl LimitProgram {
    pub(crate) fn compile(limits: &ir::Limits, state: &Arc<State>) -> Arc<Self> {
        let (rules, inert) = Program::compile(limits, &mut state.registry());
        for rule in inert {
            tracing::warn!("{rule}");
        }
        let fleets = rules.rules().iter().map(|rule| match &rule.scope {
            LimitScope::Replica => None,
            LimitScope::Fleet(scope) => {
                let link = state.stores.link(&scope.store)?;
                link.wait_for(scope.store_timeout);
                Some(Fleet { book: state.stores.book(&rule.counters, &scope.store), link })
            }
        });
        let fleets = fleets.collect();
        let shapes = rules.rules().iter().flat_map(|rule| rule.plans()).flat_map(|(_, plan)| &plan.shapes);
        let calendar = shapes.into_iter().any(|shape| matches!(shape, Shape::Calendar(_)));
        let alone = |rule: &Rule| !rule.shadow && matches!(rule.scope, LimitScope::Replica);
        let immediate = rules.phase(Phase::Late).is_empty() && rules.rules().iter().all(alone);
        let tells = rules.rules().iter().any(|rule| rule.response.headers != ir::LimitHeaders::None);
        let program = Arc::new(Self { rules, fleets, calendar, immediate, tells, state: Arc::clone(state) });
        state.compiled(&program);
        program
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Windows follow the clock that requests are stamped with; the wall is only looked at for the calendar.
    #[inline]
    pub(super) fn time(&self, now: Instant) -> Time {
        self.state.time(now, self.calendar)
    }
}
