//! What the data plane knows about one rule beyond the router's view of it; built when the rule is compiled.

use std::sync::Arc;

use portcullis_ir as ir;

use super::{BackendSlot, CompiledCors};
use crate::http::Persistence;
use crate::observe::RuleMetrics;
use crate::upstream::WeightedPick;

#[derive(Debug)]
pub(crate) struct RuleState {
    /// Counters resolved when compiling: no label is hashed per request.
    pub(crate) metrics: Arc<RuleMetrics>,
    /// Smooth weighted round robin, one state per worker. Kept across swaps while the weights stay the same.
    pub(crate) pick: Arc<WeightedPick>,
    /// None: every request is balanced by itself.
    pub(crate) persistence: Option<Box<Persistence>>,
    /// In the order of `Action::Forward`; empty for other actions.
    pub(crate) targets: Box<[CompiledTarget]>,
    /// Mirrors of the rule's own filters, in order.
    pub(crate) mirrors: Box<[CompiledMirror]>,
    /// Mirrors of the filters of each backend, in the order of `targets`; empty if no backend has any.
    pub(crate) backend_mirrors: Box<[Box<[CompiledMirror]>]>,
    /// The CORS filter of the rule's own filters.
    pub(crate) cors: Option<Box<CompiledCors>>,
    /// The CORS filter of each backend, in the order of `targets`; empty if no backend has one.
    pub(crate) backend_cors: Box<[Option<Box<CompiledCors>>]>,
    /// The rule is a GRPCRoute's: its backends are spoken HTTP/2 to.
    pub(crate) grpc: bool,
}

pub(crate) type CompiledMirror = (CompiledTarget, ir::Fraction);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompiledTarget {
    Backend(BackendSlot),
    Fail(ir::Failure),
}

impl RuleState {
    /// The mirrors that a request picked for a target has beyond the rule's own.
    pub(crate) fn mirrors_of(&self, target: usize) -> &[CompiledMirror] {
        self.backend_mirrors.get(target).map_or(&[], |mirrors| mirrors)
    }

    /// The CORS filter for answers of a target: the rule's before its backend's.
    pub(crate) fn cors_of(&self, target: usize) -> Option<&CompiledCors> {
        let own = || self.backend_cors.get(target).and_then(Option::as_deref);
        self.cors.as_deref().or_else(own)
    }

    /// The CORS filter where no target was picked: of several backends with one, the first's.
    pub(crate) fn any_cors(&self) -> Option<&CompiledCors> {
        let own = || self.backend_cors.iter().flatten().next().map(Box::as_ref);
        self.cors.as_deref().or_else(own)
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
    targets.chain(own_mirrors).chain(rule_mirrors).filter_map(|target| match target {
        ir::Target::Backend(key) => Some(key),
        ir::Target::Invalid(_) => None,
    })
}

/// The first CORS filter of a list; the API allows one.
pub(super) fn cors(filters: &[ir::Filter]) -> Option<Box<CompiledCors>> {
    let cors = filters.iter().find_map(|filter| match filter {
        ir::Filter::Cors(cors) => Some(cors),
        ir::Filter::RequestHeaders(_)
        | ir::Filter::ResponseHeaders(_)
        | ir::Filter::UrlRewrite(_)
        | ir::Filter::Mirror(_) => None,
    });
    cors.map(|cors| Box::new(CompiledCors::new(cors)))
}

pub(super) fn mirrors(filters: &[ir::Filter]) -> impl Iterator<Item = &ir::Mirror> {
    filters.iter().filter_map(|filter| match filter {
        ir::Filter::Mirror(mirror) => Some(mirror),
        ir::Filter::RequestHeaders(_)
        | ir::Filter::ResponseHeaders(_)
        | ir::Filter::UrlRewrite(_)
        | ir::Filter::Cors(_) => None,
    })
}
