//! Verdicts to conditions, and their times: `lastTransitionTime` moves only when a condition's status changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gateway_api::backendtlspolicies::{
    BackendTlsPolicy, BackendTlsPolicyStatus, BackendTlsPolicyStatusAncestors as PolicyAncestor,
    BackendTlsPolicyStatusAncestorsAncestorRef as AncestorRef,
};
use gateway_api::gatewayclasses::{GatewayClass, GatewayClassStatus, GatewayClassStatusSupportedFeatures};
use gateway_api::gateways::{Gateway, GatewayStatus, GatewayStatusListeners, GatewayStatusListenersSupportedKinds};
use gateway_api::listenersets::{
    ListenerSetStatus, ListenerSetStatusListeners, ListenerSetStatusListenersSupportedKinds,
};
use imbl::ordmap::DiffItem;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::Resource;
use portcullis_crds::{Backend, BackendStatus, GatewayParameters, GatewayParametersStatus};
use portcullis_ir::{GatewayKey, ListenerKey};

use crate::backend_object::BackendPlan;
use crate::class::ClassPlan;
use crate::condition::{ConditionType, Verdict};
use crate::features;
use crate::gateway::GatewayPlan;
use crate::listener::GATEWAY_GROUP;
use crate::listener_plan::ListenerPlan;
use crate::listener_set::SetPlan;
use crate::output::{ProgrammedOf, Statuses};
use crate::parameters;
use crate::policy_status;
use crate::route::CompiledRoute;
use crate::route_table::Settled;
use crate::{
    Inputs, Kind, NamespacedName, ObjectRef, ParentRefView, RouteObject, RouteParentStatus, RouteStatus, Settings,
    XBackend,
};

/// Most ancestors of a policy (`PolicyStatus.ancestors`).
pub(crate) const MAX_ANCESTORS: usize = 16;
/// Most ancestors of an XBackend (`BackendStatus.ancestors`).
const MAX_USERS: usize = 32;

impl Statuses {
    /// Takes over the times of conditions whose status is the same in `previous`. Where objects carry their own status
    /// (in a cluster) `translate` has done so already; whoever reads them from files keeps the last pass's statuses
    /// and calls this before [`crate::programmed`].
    pub fn settle(&mut self, previous: &Self) {
        for (name, status) in &mut self.gateway_classes {
            let old = previous.gateway_classes.get(name).and_then(|old| old.conditions.as_deref());
            settle(status.conditions.as_deref_mut().unwrap_or_default(), old.unwrap_or_default());
        }
        for (key, status) in &mut self.gateways {
            if let Some(old) = previous.gateways.get(key) {
                settle_gateway(&mut self.programmed_before, key, status, old);
            }
        }
        for (name, status) in &mut self.listener_sets {
            if let Some(old) = previous.listener_sets.get(name) {
                settle_listener_set(&mut self.programmed_before, name, status, old);
            }
        }
        let differing: Vec<_> = (previous.routes.diff(&self.routes))
            .filter_map(|item| match item {
                DiffItem::Update { old: (_, old), new: (name, _) } => Some((name.clone(), Arc::clone(old))),
                DiffItem::Add(..) | DiffItem::Remove(..) => None,
            })
            .collect();
        for (name, old) in differing {
            if let Some(status) = self.routes.get_mut(&name) {
                let old = old.parents.iter().map(|parent| (parent.parent_ref.view(), &*parent.conditions));
                settle_route(Arc::make_mut(status), &old.collect::<Vec<_>>());
            }
        }
        for (name, status) in &mut self.backend_tls_policies {
            if let Some(old) = previous.backend_tls_policies.get(name) {
                settle_policy(status, &old.ancestors);
            }
        }
        let before = &mut self.programmed_before;
        let (now, old) = (&mut self.rate_limit_policies, &previous.rate_limit_policies);
        policy_status::settle(Kind::RateLimitPolicy, now, old, before);
        policy_status::settle(Kind::AuthPolicy, &mut self.auth_policies, &previous.auth_policies, before);
        for (name, status) in &mut self.backends {
            let old = previous.backends.get(name).map(|old| old.conditions.as_slice());
            settle(&mut status.conditions, old.unwrap_or_default());
        }
        for (name, status) in &mut self.x_backends {
            if let Some(old) = previous.x_backends.get(name) {
                settle_policy(status, &old.ancestors);
            }
        }
        for (name, status) in &mut self.gateway_parameters {
            let old = previous.gateway_parameters.get(name).map(|old| old.conditions.as_slice());
            settle(&mut status.conditions, old.unwrap_or_default());
        }
    }
}

/// Collects the statuses of one pass.
pub(crate) struct Recorder<'a> {
    pub(crate) inputs: &'a Inputs,
    settings: &'a Settings,
    pub(crate) statuses: Statuses,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(inputs: &'a Inputs, settings: &'a Settings) -> Self {
        Self { inputs, settings, statuses: Statuses::default() }
    }

    pub(crate) fn controller_name(&self) -> &str {
        &self.settings.controller_name
    }

    pub(crate) fn class(&mut self, name: &Arc<str>, object: &GatewayClass, plan: &ClassPlan) {
        let installed = &self.inputs.installed;
        let verdicts: Vec<_> = std::iter::once(plan.verdict()).chain(installed.verdict()).collect();
        let mut conditions = self.conditions(object, &verdicts);
        let old = object.status.as_ref().and_then(|status| status.conditions.as_deref());
        settle(&mut conditions, old.unwrap_or_default());
        let features = features::supported(installed, &self.inputs.absent).into_iter();
        let features = features.map(|name| GatewayClassStatusSupportedFeatures { name: name.to_owned() }).collect();
        let status = GatewayClassStatus { conditions: Some(conditions), supported_features: Some(features) };
        self.statuses.gateway_classes.insert(Arc::clone(name), status);
    }

    pub(crate) fn gateway(&mut self, object: &Gateway, plan: &GatewayPlan, attached: &HashMap<ListenerKey, i32>) {
        let listener = |listener: &ListenerPlan| {
            let kind = |kind: &&str| GatewayStatusListenersSupportedKinds {
                group: Some(GATEWAY_GROUP.to_owned()),
                kind: (*kind).to_owned(),
            };
            GatewayStatusListeners {
                attached_routes: attached.get(&listener.key).copied().unwrap_or_default(),
                conditions: self.conditions(object, &listener.verdicts),
                name: listener.key.name.to_string(),
                supported_kinds: Some(listener.supported_kinds.iter().map(kind).collect()),
            }
        };
        let mut status = GatewayStatus {
            addresses: None,
            attached_listener_sets: attached_sets(&plan.sets),
            conditions: Some(self.conditions(object, &plan.verdicts)),
            listeners: Some(plan.listeners.iter().map(listener).collect()),
        };
        if let Some(old) = &object.status {
            settle_gateway(&mut self.statuses.programmed_before, &plan.key, &mut status, old);
        }
        self.statuses.gateways.insert(plan.key.clone(), status);
    }

    /// Only of a ListenerSet whose Gateway is ours: nothing in its status says whose it is, so of others' nothing is
    /// written, and nothing is taken back.
    pub(crate) fn listener_set(&mut self, gateway: &GatewayKey, plan: &SetPlan, attached: &HashMap<ListenerKey, i32>) {
        let Some(object) = self.inputs.listener_sets.get(&plan.name) else { return };
        let listener = |listener: &ListenerPlan| {
            let kind = |kind: &&str| ListenerSetStatusListenersSupportedKinds {
                group: Some(GATEWAY_GROUP.to_owned()),
                kind: (*kind).to_owned(),
            };
            ListenerSetStatusListeners {
                attached_routes: attached.get(&listener.key).copied().unwrap_or_default(),
                conditions: self.conditions(&**object, &listener.verdicts),
                name: listener.key.name.to_string(),
                supported_kinds: Some(listener.supported_kinds.iter().map(kind).collect()),
            }
        };
        let mut status = ListenerSetStatus {
            conditions: Some(self.conditions(&**object, &plan.verdicts)),
            listeners: Some(plan.listeners.iter().map(listener).collect()),
        };
        if let Some(old) = &object.status {
            settle_listener_set(&mut self.statuses.programmed_before, &plan.name, &mut status, old);
        }
        self.statuses.gateway_of_sets.insert(plan.name.clone(), gateway.clone());
        self.statuses.listener_sets.insert(plan.name.clone(), status);
    }

    /// A route none of whose parents is ours has a status only if it had one, which is then taken back. `settled` is its status if
    /// neither the object nor `compiled` have changed since, and the time of the pass does not matter to it.
    pub(crate) fn route(
        &self,
        object: &dyn RouteObject,
        compiled: &CompiledRoute,
        settled: &mut Option<Arc<RouteStatus>>,
    ) -> Option<Settled> {
        if let Some(status) = settled {
            return Some(Settled { status: Arc::clone(status), dated: true });
        }
        let parents: Vec<_> = (compiled.parents.iter())
            .map(|parent| RouteParentStatus {
                conditions: self.conditions_of(object.metadata(), &parent.verdicts),
                controller_name: self.settings.controller_name.clone(),
                parent_ref: parent.reference.clone(),
            })
            .collect();
        let mut old = object.parents();
        old.retain(|parent| parent.controller_name == self.settings.controller_name);
        if parents.is_empty() && old.is_empty() {
            return None;
        }
        let mut status = RouteStatus { parents };
        let old = old.iter().map(|parent| (parent.parent_ref, parent.conditions));
        let dated = settle_route(&mut status, &old.collect::<Vec<_>>());
        let status = Arc::new(status);
        if dated {
            *settled = Some(Arc::clone(&status));
        }
        Some(Settled { status, dated })
    }

    pub(crate) fn tls_policy(
        &mut self,
        name: &NamespacedName,
        object: &BackendTlsPolicy,
        gateways: &BTreeSet<&GatewayKey>,
        verdicts: &[Verdict],
    ) {
        let old = object.status.as_ref().map(|status| status.ancestors.clone()).unwrap_or_default();
        if let Some(status) = self.ancestors(object.meta(), old, MAX_ANCESTORS, gateways, verdicts) {
            self.statuses.backend_tls_policies.insert(name.clone(), status);
        }
    }

    pub(crate) fn x_backend(
        &mut self,
        name: &NamespacedName,
        object: &XBackend,
        gateways: &BTreeSet<&GatewayKey>,
        verdicts: &[Verdict],
    ) {
        let status = self.ancestors(object.meta(), object.ancestors(), MAX_USERS, gateways, verdicts);
        if let Some(status) = status {
            self.statuses.x_backends.insert(name.clone(), status);
        }
    }

    /// One entry for each Gateway. What no Gateway of ours uses has a status only if it had one, which is then taken
    /// back.
    fn ancestors(
        &self,
        metadata: &ObjectMeta,
        mut old: Vec<PolicyAncestor>,
        most: usize,
        gateways: &BTreeSet<&GatewayKey>,
        verdicts: &[Verdict],
    ) -> Option<BackendTlsPolicyStatus> {
        let ancestor = |gateway: &GatewayKey| PolicyAncestor {
            ancestor_ref: AncestorRef {
                group: Some(GATEWAY_GROUP.to_owned()),
                kind: Some("Gateway".to_owned()),
                name: gateway.name.to_string(),
                namespace: Some(gateway.namespace.to_string()),
                port: None,
                section_name: None,
            },
            conditions: self.conditions_of(metadata, verdicts),
            controller_name: self.settings.controller_name.clone(),
        };
        let ancestors = gateways.iter().take(most).map(|gateway| ancestor(gateway)).collect();
        old.retain(|ancestor| ancestor.controller_name == self.settings.controller_name);
        if gateways.is_empty() && old.is_empty() {
            return None;
        }
        let mut status = BackendTlsPolicyStatus { ancestors };
        settle_policy(&mut status, &old);
        Some(status)
    }

    pub(crate) fn backend(&mut self, name: &NamespacedName, object: &Backend, plan: &BackendPlan) {
        let mut conditions = self.conditions(object, &plan.verdicts());
        settle(&mut conditions, object.status.as_ref().map(|old| &*old.conditions).unwrap_or_default());
        self.statuses.backends.insert(name.clone(), BackendStatus { conditions });
    }

    pub(crate) fn parameters(&mut self, name: &NamespacedName, object: &GatewayParameters) {
        let mut conditions = self.conditions(object, &[parameters::verdict(object)]);
        settle(&mut conditions, object.status.as_ref().map(|old| &*old.conditions).unwrap_or_default());
        self.statuses.gateway_parameters.insert(name.clone(), GatewayParametersStatus { conditions });
    }

    pub(crate) fn conditions(&self, object: &impl Resource, verdicts: &[Verdict]) -> Vec<Condition> {
        self.conditions_of(object.meta(), verdicts)
    }

    pub(crate) fn conditions_of(&self, metadata: &ObjectMeta, verdicts: &[Verdict]) -> Vec<Condition> {
        let now = Time(self.inputs.now);
        let condition = |verdict: &Verdict| {
            let Verdict { kind, state, reason, message } = verdict;
            Condition {
                last_transition_time: now.clone(),
                message: bounded(message),
                observed_generation: metadata.generation,
                reason: reason.as_str().to_owned(),
                status: state.as_str().to_owned(),
                type_: kind.as_str().to_owned(),
            }
        };
        verdicts.iter().map(condition).collect()
    }
}

/// `Condition.message` takes 32,768 characters; names in ours come from users.
fn bounded(message: &str) -> String {
    const MAX_CHARS: usize = 4096;
    match message.char_indices().nth(MAX_CHARS) {
        None => message.to_owned(),
        Some((end, _)) => format!("{}…", &message[..end]),
    }
}

/// Whether every time was taken over.
pub(crate) fn settle(conditions: &mut [Condition], old: &[Condition]) -> bool {
    let mut all = true;
    for condition in conditions {
        let same = |old: &&Condition| old.type_ == condition.type_ && old.status == condition.status;
        match old.iter().find(same) {
            Some(old) => condition.last_transition_time = old.last_transition_time.clone(),
            None => all = false,
        }
    }
    all
}

/// Whether every time was taken over: then the pass's own is in none of them.
fn settle_route<'a>(status: &mut RouteStatus, old: &[(ParentRefView<'a>, &'a [Condition])]) -> bool {
    let mut all = true;
    for parent in &mut status.parents {
        let old = old.iter().find(|(reference, _)| *reference == parent.parent_ref.view());
        all &= settle(&mut parent.conditions, old.map(|(_, old)| *old).unwrap_or_default());
    }
    all
}

/// None where no ListenerSet names the Gateway.
fn attached_sets(sets: &[SetPlan]) -> Option<i32> {
    let accepted = sets.iter().filter(|set| set.is_accepted()).count();
    (!sets.is_empty()).then(|| i32::try_from(accepted).unwrap_or(i32::MAX))
}

fn settle_policy(status: &mut BackendTlsPolicyStatus, old: &[PolicyAncestor]) {
    for ancestor in &mut status.ancestors {
        if let Some(old) = old.iter().find(|old| old.ancestor_ref == ancestor.ancestor_ref) {
            settle(&mut ancestor.conditions, &old.conditions);
        }
    }
}

fn settle_gateway(
    programmed_before: &mut BTreeMap<ProgrammedOf, Condition>,
    key: &GatewayKey,
    status: &mut GatewayStatus,
    old: &GatewayStatus,
) {
    let of = ObjectRef::namespaced(Kind::Gateway, &NamespacedName::from(key));
    let conditions = status.conditions.as_deref_mut().unwrap_or_default();
    settle_programmed(programmed_before, (of.clone(), None), conditions, old.conditions.as_deref().unwrap_or_default());
    for listener in status.listeners.iter_mut().flatten() {
        if let Some(old) = old.listeners.iter().flatten().find(|old| old.name == listener.name) {
            let of = (of.clone(), Some(listener.name.clone()));
            settle_programmed(programmed_before, of, &mut listener.conditions, &old.conditions);
        }
    }
}

fn settle_listener_set(
    programmed_before: &mut BTreeMap<ProgrammedOf, Condition>,
    name: &NamespacedName,
    status: &mut ListenerSetStatus,
    old: &ListenerSetStatus,
) {
    let of = ObjectRef::namespaced(Kind::ListenerSet, name);
    let conditions = status.conditions.as_deref_mut().unwrap_or_default();
    settle_programmed(programmed_before, (of.clone(), None), conditions, old.conditions.as_deref().unwrap_or_default());
    for listener in status.listeners.iter_mut().flatten() {
        if let Some(old) = old.listeners.iter().flatten().find(|old| old.name == listener.name) {
            let of = (of.clone(), Some(listener.name.clone()));
            settle_programmed(programmed_before, of, &mut listener.conditions, &old.conditions);
        }
    }
}

/// As [`settle`], and `Programmed` is remembered for when the data plane's word is known.
fn settle_programmed(
    programmed_before: &mut BTreeMap<ProgrammedOf, Condition>,
    of: ProgrammedOf,
    conditions: &mut [Condition],
    old: &[Condition],
) {
    if let Some(programmed) = old.iter().find(|one| one.type_ == ConditionType::Programmed.as_str()) {
        programmed_before.insert(of, programmed.clone());
    }
    settle(conditions, old);
}
