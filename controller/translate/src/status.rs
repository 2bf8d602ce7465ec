//! Verdicts to conditions, and their times: `lastTransitionTime` moves only when a condition's status changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gateway_api::gatewayclasses::{GatewayClass, GatewayClassStatus, GatewayClassStatusSupportedFeatures};
use gateway_api::gateways::{Gateway, GatewayStatus, GatewayStatusListeners, GatewayStatusListenersSupportedKinds};
use gateway_api::httproutes::{HttpRoute, HttpRouteStatus, HttpRouteStatusParents};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;
use portcullis_crds::{Backend, BackendStatus, GatewayParameters, GatewayParametersStatus};
use portcullis_ir::{GatewayKey, ListenerKey};

use crate::backend_object::BackendPlan;
use crate::class::{ClassPlan, SUPPORTED_FEATURES};
use crate::condition::{ConditionType, Verdict};
use crate::gateway::GatewayPlan;
use crate::listener::GATEWAY_GROUP;
use crate::listener_plan::ListenerPlan;
use crate::output::{ProgrammedOf, Statuses};
use crate::parameters;
use crate::route::CompiledRoute;
use crate::{Inputs, NamespacedName, Settings};

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
        for (name, status) in &mut self.http_routes {
            if let Some(old) = previous.http_routes.get(name) {
                settle_route(status, old);
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
        let mut conditions = self.conditions(object, &[plan.verdict()]);
        let old = object.status.as_ref().and_then(|status| status.conditions.as_deref());
        settle(&mut conditions, old.unwrap_or_default());
        let features = SUPPORTED_FEATURES.map(|name| GatewayClassStatusSupportedFeatures { name: name.to_owned() });
        let status = GatewayClassStatus { conditions: Some(conditions), supported_features: Some(features.to_vec()) };
        self.statuses.gateway_classes.insert(Arc::clone(name), status);
    }

    pub(crate) fn gateway(&mut self, object: &Gateway, plan: &GatewayPlan, attached: &HashMap<ListenerKey, i32>) {
        let listener = |listener: &ListenerPlan| {
            let kind = |kind: &&str| GatewayStatusListenersSupportedKinds {
                group: Some(GATEWAY_GROUP.to_owned()),
                kind: (*kind).to_owned(),
            };
            let key = ListenerKey::new(plan.key.clone(), Arc::clone(&listener.name));
            GatewayStatusListeners {
                attached_routes: attached.get(&key).copied().unwrap_or_default(),
                conditions: self.conditions(object, &listener.verdicts),
                name: listener.name.to_string(),
                supported_kinds: Some(listener.supported_kinds.iter().map(kind).collect()),
            }
        };
        let mut status = GatewayStatus {
            addresses: None,
            attached_listener_sets: None,
            conditions: Some(self.conditions(object, &plan.verdicts)),
            listeners: Some(plan.listeners.iter().map(listener).collect()),
        };
        if let Some(old) = &object.status {
            settle_gateway(&mut self.statuses.programmed_before, &plan.key, &mut status, old);
        }
        self.statuses.gateways.insert(plan.key.clone(), status);
    }

    /// A route none of whose parents is ours has a status only if it had one, which is then taken back.
    pub(crate) fn route(&mut self, name: &NamespacedName, object: &HttpRoute, compiled: &CompiledRoute) {
        let parents: Vec<_> = (compiled.parents.iter())
            .map(|parent| HttpRouteStatusParents {
                conditions: self.conditions(object, &parent.verdicts),
                controller_name: self.settings.controller_name.clone(),
                parent_ref: parent.reference.clone(),
            })
            .collect();
        let mut old = HttpRouteStatus { parents: Vec::new() };
        if let Some(status) = &object.status {
            let ours = |parent: &&HttpRouteStatusParents| parent.controller_name == self.settings.controller_name;
            old.parents.extend(status.parents.iter().filter(ours).cloned());
        }
        if parents.is_empty() && old.parents.is_empty() {
            return;
        }
        let mut status = HttpRouteStatus { parents };
        settle_route(&mut status, &old);
        self.statuses.http_routes.insert(name.clone(), status);
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
        let now = Time(self.inputs.now);
        let condition = |verdict: &Verdict| {
            let Verdict { kind, state, reason, message } = verdict;
            Condition {
                last_transition_time: now.clone(),
                message: bounded(message),
                observed_generation: object.meta().generation,
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

fn settle_route(status: &mut HttpRouteStatus, old: &HttpRouteStatus) {
    for parent in &mut status.parents {
        let same = |old: &&HttpRouteStatusParents| {
            old.controller_name == parent.controller_name && old.parent_ref == parent.parent_ref
        };
        if let Some(old) = old.parents.iter().find(same) {
            settle(&mut parent.conditions, &old.conditions);
        }
    }
}

fn settle_gateway(
    programmed_before: &mut BTreeMap<ProgrammedOf, Condition>,
    key: &GatewayKey,
    status: &mut GatewayStatus,
    old: &GatewayStatus,
) {
    let mut remember = |of: Option<&str>, conditions: &[Condition]| {
        let programmed = conditions.iter().find(|one| one.type_ == ConditionType::Programmed.as_str());
        if let Some(programmed) = programmed {
            programmed_before.insert((key.clone(), of.map(str::to_owned)), programmed.clone());
        }
    };
    let old_conditions = old.conditions.as_deref().unwrap_or_default();
    remember(None, old_conditions);
    settle(status.conditions.as_deref_mut().unwrap_or_default(), old_conditions);
    for listener in status.listeners.iter_mut().flatten() {
        if let Some(old) = old.listeners.iter().flatten().find(|old| old.name == listener.name) {
            remember(Some(&listener.name), &old.conditions);
            settle(&mut listener.conditions, &old.conditions);
        }
    }
}
