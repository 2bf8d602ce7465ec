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
use crate::route::CompiledRoute;
use crate::{
    Inputs, Kind, NamespacedName, ObjectRef, ParentRefView, RouteObject, RouteParentStatus, RouteStatus, Settings,
};

/// Most ancestors of a policy (`PolicyStatus.ancestors`).
const MAX_ANCESTORS: usize = 16;

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
        for (name, status) in &mut self.routes {
            if let Some(old) = previous.routes.get(name) {
                let old = old.parents.iter().map(|parent| (parent.parent_ref.view(), &*parent.conditions));
                settle_route(status, &old.collect::<Vec<_>>());
            }
        }
        for (name, status) in &mut self.backend_tls_policies {
            if let Some(old) = previous.backend_tls_policies.get(name) {
                settle_policy(status, &old.ancestors);
            }
        }
        for (name, status) in &mut self.backends {
            let old = previous.backends.get(name).map(|old| old.conditions.as_slice());
            settle(&mut status.conditions, old.unwrap_or_default());
        }
        for (name, status) in &mut self.gateway_parameters {
            let old = previous.gateway_parameters.get(name).map(|old| old.conditions.as_slice());
            settle(&mut status.conditions, old.unwrap_or_default());
        }
    }
}

/// Collects the statuses of one pass.
pub(crate) struct Recorder<'a> {
    inputs: &'a Inputs,
    settings: &'a Settings,
    pub(crate) statuses: Statuses,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(inputs: &'a Inputs, settings: &'a Settings) -> Self {
        Self { inputs, settings, statuses: Statuses::default() }
    }

    pub(crate) fn class(&mut self, name: &Arc<str>, object: &GatewayClass, plan: &ClassPlan) {
        let installed = &self.inputs.installed;
        let verdicts: Vec<_> = std::iter::once(plan.verdict()).chain(installed.verdict()).collect();
        let mut conditions = self.conditions(object, &verdicts);
        let old = object.status.as_ref().and_then(|status| status.conditions.as_deref());
        settle(&mut conditions, old.unwrap_or_default());
        let features = features::supported(installed).into_iter();
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

    /// A route none of whose parents is ours has a status only if it had one, which is then taken back.
    pub(crate) fn route(&mut self, reference: &ObjectRef, object: &dyn RouteObject, compiled: &CompiledRoute) {
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
            return;
        }
        let mut status = RouteStatus { parents };
        let old = old.iter().map(|parent| (parent.parent_ref, parent.conditions));
        settle_route(&mut status, &old.collect::<Vec<_>>());
        self.statuses.routes.insert(reference.clone(), status);
    }

    /// A policy that no Gateway of ours uses has a status only if it had one, which is then taken back.
    pub(crate) fn tls_policy(
        &mut self,
        name: &NamespacedName,
        object: &BackendTlsPolicy,
        gateways: &BTreeSet<&GatewayKey>,
        verdicts: &[Verdict],
    ) {
        let ancestor = |gateway: &GatewayKey| PolicyAncestor {
            ancestor_ref: AncestorRef {
                group: Some(GATEWAY_GROUP.to_owned()),
                kind: Some("Gateway".to_owned()),
                name: gateway.name.to_string(),
                namespace: Some(gateway.namespace.to_string()),
                port: None,
                section_name: None,
            },
            conditions: self.conditions(object, verdicts),
            controller_name: self.settings.controller_name.clone(),
        };
        let ancestors = gateways.iter().take(MAX_ANCESTORS).map(|gateway| ancestor(gateway)).collect();
        let mut old = object.status.as_ref().map(|status| status.ancestors.clone()).unwrap_or_default();
        old.retain(|ancestor| ancestor.controller_name == self.settings.controller_name);
        if gateways.is_empty() && old.is_empty() {
            return;
        }
        let mut status = BackendTlsPolicyStatus { ancestors };
        settle_policy(&mut status, &old);
        self.statuses.backend_tls_policies.insert(name.clone(), status);
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

    fn conditions(&self, object: &impl Resource, verdicts: &[Verdict]) -> Vec<Condition> {
        self.conditions_of(object.meta(), verdicts)
    }

    fn conditions_of(&self, metadata: &ObjectMeta, verdicts: &[Verdict]) -> Vec<Condition> {
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

fn settle(conditions: &mut [Condition], old: &[Condition]) {
    for condition in conditions {
        let same = |old: &&Condition| old.type_ == condition.type_ && old.status == condition.status;
        if let Some(old) = old.iter().find(same) {
            condition.last_transition_time = old.last_transition_time.clone();
        }
    }
}

fn settle_route<'a>(status: &mut RouteStatus, old: &[(ParentRefView<'a>, &'a [Condition])]) {
    for parent in &mut status.parents {
        if let Some((_, old)) = old.iter().find(|(reference, _)| *reference == parent.parent_ref.view()) {
            settle(&mut parent.conditions, old);
        }
    }
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
