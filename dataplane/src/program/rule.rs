//! What the data plane knows about one rule beyond the router's view of it; built when the rule is compiled.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_ir as ir;
use portcullis_router::{Router, Rule};

use super::slots::Slots;
use super::{BackendSlot, CompiledCors};
use crate::http::{InvalidSession, Persistence};
use crate::observe::{Metrics, RuleMetrics};
use crate::policy::{PolicyCompiler, RulePolicies, asked_by_route};
use crate::upstream::WeightedPick;

#[derive(Debug)]
pub(crate) struct RuleState {
    /// Counters resolved when compiling: no label is hashed per request.
    pub(crate) metrics: Arc<RuleMetrics>,
    /// Smooth weighted round robin, one state per worker. Kept across swaps while the weights stay the same.
    pub(crate) pick: Arc<WeightedPick>,
    /// In the order of `Action::Forward`; empty for other actions.
    pub(crate) targets: Box<[CompiledTarget]>,
    /// What few rules have: there are thousands.
    extras: Option<Box<Extras>>,
    /// In force at listeners where they differ from the listener's own.
    pub(crate) policies: RulePolicies,
    /// The rule is a GRPCRoute's: its backends are spoken HTTP/2 to.
    pub(crate) grpc: bool,
}

#[derive(Debug, Default)]
struct Extras {
    persistence: Option<Box<Persistence>>,
    /// Mirrors of the rule's own filters, in order.
    mirrors: Box<[CompiledMirror]>,
    /// Mirrors of the filters of each backend, in the order of `targets`; empty if no backend has any.
    backend_mirrors: Box<[Box<[CompiledMirror]>]>,
    /// The CORS filter of the rule's own filters.
    cors: Option<CompiledCors>,
    /// The CORS filter of each backend, in the order of `targets`; empty if no backend has one.
    backend_cors: Box<[Option<CompiledCors>]>,
}

pub(crate) type CompiledMirror = (CompiledTarget, ir::Fraction);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompiledTarget {
    Backend(BackendSlot),
    Fail(ir::Failure),
}

impl RuleState {
    /// None: every request is balanced by itself.
    pub(crate) fn persistence(&self) -> Option<&Persistence> {
        self.extras.as_ref()?.persistence.as_deref()
    }

    /// Mirrors of a request that was picked for a target: the rule's own, and those of its backend.
    pub(crate) fn mirrors_of(&self, target: usize) -> (&[CompiledMirror], &[CompiledMirror]) {
        let Some(extras) = &self.extras else { return (&[], &[]) };
        (&extras.mirrors, extras.backend_mirrors.get(target).map_or(&[], |mirrors| mirrors))
    }

    /// The CORS filter for answers of a target: the rule's before its backend's.
    pub(crate) fn cors_of(&self, target: usize) -> Option<&CompiledCors> {
        let extras = self.extras.as_ref()?;
        let own = || extras.backend_cors.get(target).and_then(Option::as_ref);
        extras.cors.as_ref().or_else(own)
    }

    /// The CORS filter where no target was picked: of several backends with one, the first's.
    pub(crate) fn any_cors(&self) -> Option<&CompiledCors> {
        let extras = self.extras.as_ref()?;
        let own = || extras.backend_cors.iter().flatten().next();
        extras.cors.as_ref().or_else(own)
    }
}

impl Extras {
    fn is_empty(&self) -> bool {
        let Self { persistence, mirrors, backend_mirrors, cors, backend_cors } = self;
        persistence.is_none()
            && mirrors.is_empty()
            && backend_mirrors.is_empty()
            && cors.is_none()
            && backend_cors.is_empty()
    }
}

/// The rules that changes replace or take away, as they are compiled now.
pub(super) fn predecessors(
    router: &Router<RuleState>,
    changes: &[ir::Change],
) -> HashMap<ir::RouteKey, Arc<Rule<RuleState>>> {
    let before = |change: &ir::Change| match &change.before {
        Some(ir::Resource::Route(route)) => Some((route.key.clone(), Arc::clone(router.rule(&route.key)?))),
        _ => None,
    };
    changes.iter().filter_map(before).collect()
}

pub(super) fn compile_target(target: &ir::Target, slots: &Slots) -> CompiledTarget {
    match target {
        // Every key that a rule names has been given a slot before.
        ir::Target::Backend(key) => {
            slots.get(key).map_or(CompiledTarget::Fail(ir::Failure::InvalidBackend), CompiledTarget::Backend)
        }
        ir::Target::Invalid(failure) => CompiledTarget::Fail(*failure),
    }
}

/// The state of the same weights goes on.
pub(super) fn compile_pick(
    weights: &[u32],
    kept: Option<&Arc<WeightedPick>>,
    single: &Arc<WeightedPick>,
    workers: usize,
) -> Arc<WeightedPick> {
    match kept {
        _ if single.same_weights(weights) => Arc::clone(single),
        Some(kept) if kept.same_weights(weights) => Arc::clone(kept),
        _ => Arc::new(WeightedPick::new(weights, workers)),
    }
}

pub(super) fn compile_rule(
    route: &ir::Route,
    kept: Option<&RuleState>,
    slots: &Slots,
    single: &Arc<WeightedPick>,
    metrics: &Metrics,
    policies: &mut PolicyCompiler,
    workers: usize,
) -> RuleState {
    let backends = match &route.action {
        ir::Action::Forward(backends) => backends.as_slice(),
        ir::Action::Redirect(_) | ir::Action::Fail(_) => &[],
    };
    let target = |target: &ir::Target| compile_target(target, slots);
    let compile_mirrors = |filters: &[ir::Filter]| -> Box<[CompiledMirror]> {
        mirrors(filters).map(|mirror| (target(&mirror.target), mirror.share)).collect()
    };
    let weights: Vec<u32> = backends.iter().map(|backend| backend.weight).collect();
    let pick = compile_pick(&weights, kept.map(|kept| &kept.pick), single, workers);
    let mut targets: Box<[CompiledTarget]> = backends.iter().map(|backend| target(&backend.target)).collect();
    let persistence = Persistence::compile(route).unwrap_or_else(|InvalidSession| {
        // Broken means denied: requests of one session would be spread over all endpoints.
        targets.fill(CompiledTarget::Fail(ir::Failure::InvalidFilter));
        None
    });
    let backend_cors: Box<[_]> = backends.iter().map(|backend| cors(&backend.filters)).collect();
    let any_mirror = backends.iter().any(|backend| mirrors(&backend.filters).next().is_some());
    let extras = Extras {
        persistence,
        mirrors: compile_mirrors(&route.filters),
        backend_mirrors: if any_mirror {
            backends.iter().map(|backend| compile_mirrors(&backend.filters)).collect()
        } else {
            Box::default()
        },
        cors: cors(&route.filters),
        backend_cors: if backend_cors.iter().any(Option::is_some) { backend_cors } else { Box::default() },
    };
    RuleState {
        metrics: kept.map_or_else(|| metrics.rule(&route.key), |kept| Arc::clone(&kept.metrics)),
        pick,
        targets,
        extras: (!extras.is_empty()).then(|| Box::new(extras)),
        policies: RulePolicies::compile(route, policies),
        grpc: route.key.kind == ir::RouteKind::GrpcRoute,
    }
}

/// The backends that a rule names, in any of its parts, one entry for each time it names one.
pub(super) fn references(route: &ir::Route) -> impl Iterator<Item = &ir::BackendKey> {
    let backends = match &route.action {
        ir::Action::Forward(backends) => backends.as_slice(),
        ir::Action::Redirect(_) | ir::Action::Fail(_) => &[],
    };
    let targets = backends.iter().map(|backend| &backend.target);
    let own_mirrors = backends.iter().flat_map(|backend| mirrors(&backend.filters)).map(|mirror| &mirror.target);
    let rule_mirrors = mirrors(&route.filters).map(|mirror| &mirror.target);
    let named = targets.chain(own_mirrors).chain(rule_mirrors).filter_map(|target| match target {
        ir::Target::Backend(key) => Some(key),
        ir::Target::Invalid(_) => None,
    });
    named.chain(asked_by_route(route))
}

/// The first CORS filter of a list; the API allows one.
fn cors(filters: &[ir::Filter]) -> Option<CompiledCors> {
    let cors = filters.iter().find_map(|filter| match filter {
        ir::Filter::Cors(cors) => Some(cors),
        ir::Filter::RequestHeaders(_)
        | ir::Filter::ResponseHeaders(_)
        | ir::Filter::UrlRewrite(_)
        | ir::Filter::Mirror(_)
        | ir::Filter::ExternalAuth(_) => None,
    });
    cors.map(CompiledCors::new)
}

fn mirrors(filters: &[ir::Filter]) -> impl Iterator<Item = &ir::Mirror> {
    filters.iter().filter_map(|filter| match filter {
        ir::Filter::Mirror(mirror) => Some(mirror),
        ir::Filter::RequestHeaders(_)
        | ir::Filter::ResponseHeaders(_)
        | ir::Filter::UrlRewrite(_)
        | ir::Filter::Cors(_)
        | ir::Filter::ExternalAuth(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_rule_carries_stays_small() {
        assert!(size_of::<RuleState>() <= 72, "{}", size_of::<RuleState>());
    }
}
