//! Conditions of policies and of their targets: times, and the data planes' word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use portcullis_crds::PolicyStatus;
use portcullis_crds::policy::{PolicyAncestorRef, PolicyAncestorStatus};
use portcullis_ir::GatewayKey;

use crate::condition::{ConditionType, Reason, State, Verdict};
use crate::output::ProgrammedOf;
use crate::policy::status::WAITING;
use crate::programmed::{Acks, Standing};
use crate::status::{self, Recorder};
use crate::{Kind, NamespacedName, ObjectRef};

/// Takes over the times of conditions whose status is the same in `previous`.
pub(crate) fn settle(
    kind: Kind,
    statuses: &mut BTreeMap<NamespacedName, PolicyStatus>,
    previous: &BTreeMap<NamespacedName, PolicyStatus>,
    programmed_before: &mut BTreeMap<ProgrammedOf, Condition>,
) {
    for (name, status) in statuses {
        let Some(old) = previous.get(name) else { continue };
        for ancestor in &mut status.ancestors {
            if let Some(old) = old.ancestors.iter().find(|old| old.ancestor_ref == ancestor.ancestor_ref) {
                settle_ancestor(kind, name, ancestor, old, programmed_before);
            }
        }
    }
}

/// As [`settle`], for one entry; what `Programmed` said is remembered for when the data planes' word is known.
pub(crate) fn settle_ancestor(
    kind: Kind,
    policy: &NamespacedName,
    ancestor: &mut PolicyAncestorStatus,
    old: &PolicyAncestorStatus,
    programmed_before: &mut BTreeMap<ProgrammedOf, Condition>,
) {
    status::settle(&mut ancestor.conditions, &old.conditions);
    let programmed = old.conditions.iter().find(|one| one.type_ == ConditionType::Programmed.as_str());
    if let (Some(gateway), Some(programmed)) = (gateway_of(&ancestor.ancestor_ref), programmed) {
        programmed_before.insert(programmed_of(kind, policy, &gateway), programmed.clone());
    }
}

fn programmed_of(kind: Kind, policy: &NamespacedName, gateway: &GatewayKey) -> ProgrammedOf {
    (ObjectRef::namespaced(kind, policy), Some(gateway.to_string()))
}

/// Completes every `Programmed` that waits for the data planes of its Gateway.
pub(crate) fn complete(
    kind: Kind,
    statuses: &mut BTreeMap<NamespacedName, PolicyStatus>,
    programmed_before: &BTreeMap<ProgrammedOf, Condition>,
    acks: &Acks,
) {
    for (name, status) in statuses {
        for ancestor in &mut status.ancestors {
            let gateway = gateway_of(&ancestor.ancestor_ref);
            let Some((gateway, ack)) = gateway.and_then(|key| acks.gateways.get(&key).map(|ack| (key, ack))) else {
                continue;
            };
            let waiting = |one: &&mut Condition| {
                one.type_ == ConditionType::Programmed.as_str() && one.message.starts_with(WAITING)
            };
            let Some(condition) = ancestor.conditions.iter_mut().find(waiting) else { continue };
            let (state, reason, said) = match &ack.standing {
                Standing::AsListeners => (State::True, Reason::Programmed, "in force"),
                Standing::InForce(said) => (State::True, Reason::Programmed, &**said),
                Standing::Waiting(why) => (State::False, Reason::Reconciling, &**why),
                Standing::Partly(why) => (State::False, Reason::PartiallyProgrammed, &**why),
                Standing::Not(_, why) => (State::False, Reason::Reconciling, &**why),
            };
            let old = programmed_before.get(&programmed_of(kind, name, &gateway));
            // What was in force for this generation stays so while something else is on its way: an edit of another
            // object does not make a policy flicker.
            let stays = matches!(ack.standing, Standing::Waiting(_) | Standing::Partly(_));
            if let Some(old) = old
                && stays
                && old.status == State::True.as_str()
                && old.observed_generation == condition.observed_generation
            {
                condition.clone_from(old);
                continue;
            }
            condition.last_transition_time = match old {
                Some(old) if old.status == state.as_str() => old.last_transition_time.clone(),
                _ => Time(acks.now),
            };
            condition.message = condition.message.replacen(WAITING, said, 1);
            condition.status = state.as_str().to_owned();
            condition.reason = reason.as_str().to_owned();
        }
    }
}

fn gateway_of(ancestor: &PolicyAncestorRef) -> Option<GatewayKey> {
    let PolicyAncestorRef { group: _, kind, namespace, name, section_name: None } = ancestor else { return None };
    (kind.as_deref() == Some(Kind::Gateway.as_str()))
        .then(|| GatewayKey::new(namespace.as_deref().unwrap_or_default(), name.as_str()))
}

impl Recorder<'_> {
    /// Adds a condition to what is said of a target: to a Gateway or ListenerSet itself, to a route for each parent of
    /// `gateways`.
    pub(crate) fn at_target(&mut self, target: &ObjectRef, gateways: &BTreeSet<GatewayKey>, verdict: &Verdict) {
        let Some(namespace) = &target.namespace else { return };
        let name = NamespacedName::new(namespace.clone(), target.name.clone());
        let inputs = self.inputs;
        match target.kind {
            Kind::Gateway => {
                let Some(object) = inputs.gateways.get(&name) else { return };
                let mut added = self.conditions(&**object, std::slice::from_ref(verdict));
                let old = object.status.as_ref().and_then(|status| status.conditions.as_deref());
                status::settle(&mut added, old.unwrap_or_default());
                let status = self.statuses.gateways.get_mut(&GatewayKey::from(&name));
                status.into_iter().for_each(|status| status.conditions.get_or_insert_default().append(&mut added));
            }
            Kind::ListenerSet => {
                let Some(object) = inputs.listener_sets.get(&name) else { return };
                let mut added = self.conditions(&**object, std::slice::from_ref(verdict));
                let old = object.status.as_ref().and_then(|status| status.conditions.as_deref());
                status::settle(&mut added, old.unwrap_or_default());
                let status = self.statuses.listener_sets.get_mut(&name);
                status.into_iter().for_each(|status| status.conditions.get_or_insert_default().append(&mut added));
            }
            _ => {
                let Some(object) = inputs.route(target) else { return };
                let added = self.conditions_of(object.metadata(), std::slice::from_ref(verdict));
                let controller = self.controller_name().to_owned();
                let old = object.parents();
                let Some(status) = self.statuses.routes.get_mut(target) else { return };
                for parent in &mut Arc::make_mut(status).parents {
                    let view = parent.parent_ref.view();
                    let own = view.namespace.unwrap_or(namespace);
                    let on = match view.kind.unwrap_or("Gateway") {
                        "ListenerSet" => {
                            let set = NamespacedName::new(own, view.name);
                            self.statuses.gateway_of_sets.get(&set).cloned()
                        }
                        _ => Some(GatewayKey::new(own, view.name)),
                    };
                    if !on.is_some_and(|gateway| gateways.contains(&gateway)) {
                        continue;
                    }
                    let mut added = added.clone();
                    let same = |old: &&crate::ParentView<'_>| {
                        old.controller_name == controller && old.parent_ref == parent.parent_ref.view()
                    };
                    if let Some(old) = old.iter().find(same) {
                        status::settle(&mut added, old.conditions);
                    }
                    parent.conditions.append(&mut added);
                }
            }
        }
    }
}
