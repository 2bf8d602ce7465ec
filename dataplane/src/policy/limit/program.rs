//! The limits in force at one place, with the way to their counters and stores.

use std::sync::Arc;
use std::time::Instant;

use portcullis_ir::{self as ir, LimitScope, Precision};
use portcullis_limits::{Phase, Program, Rule, Shape, Time};

use super::State;
use super::store;

/// What a rule of the fleet is counted in.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) book: Arc<store::Book>,
    pub(super) link: Arc<store::Link>,
}

/// What is decided without waiting for anybody. Its rules are enforced and ask nothing of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtOnce {
    Nothing,
    /// All: this replica counts every rule for itself.
    Own,
    /// The only rule, while units that were leased are in hand.
    Leased,
}

#[derive(Debug)]
pub(crate) struct LimitProgram {
    pub(super) rules: Program,
    /// What is held of the stores, by rule; none where a replica counts for itself.
    pub(super) fleets: Box<[Option<Fleet>]>,
    /// A quota of the calendar is among the limits.
    calendar: bool,
    pub(super) at_once: AtOnce,
    /// Clients are told where they stand.
    pub(super) tells: bool,
    state: Arc<State>,
}

impl AtOnce {
    fn of(rules: &Program) -> Self {
        let replica = |rule: &Rule| matches!(rule.scope, LimitScope::Replica);
        if !rules.phase(Phase::Late).is_empty() || rules.rules().iter().any(|rule| rule.shadow) {
            return Self::Nothing;
        }
        match rules.rules() {
            all if all.iter().all(replica) => Self::Own,
            [Rule { scope: LimitScope::Fleet(scope), .. }]
                if scope.precision == Precision::Leased && scope.local_guard.is_none() =>
            {
                Self::Leased
            }
            _ => Self::Nothing,
        }
    }
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
        let tells = rules.rules().iter().any(|rule| rule.response.headers != ir::LimitHeaders::None);
        let at_once = AtOnce::of(&rules);
        let program = Arc::new(Self { rules, fleets, calendar, at_once, tells, state: Arc::clone(state) });
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
