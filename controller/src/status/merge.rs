//! What is to be written: our entries beside everybody else's, and only where that differs from what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::backendtlspolicies::{
    BackendTlsPolicy, BackendTlsPolicyStatus, BackendTlsPolicyStatusAncestors as PolicyAncestor,
};
use gateway_api::gatewayclasses::{GatewayClass, GatewayClassStatus};
use gateway_api::gateways::{Gateway, GatewayStatus};
use gateway_api::listenersets::{ListenerSet, ListenerSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use portcullis_crds::{Backend, BackendStatus, GatewayParameters, GatewayParametersStatus};
use portcullis_translate::{
    ConditionType, Inputs, Kind, NamespacedName, ObjectRef, ParentView, RouteObject, RouteParentStatus, RouteStatus,
    Statuses,
};
use serde::Serialize;
use serde_json::Value;

/// Most parents of a route (`RouteStatus.parents`).
const MAX_PARENTS: usize = 32;
/// Most ancestors of a policy (`PolicyStatus.ancestors`).
const MAX_ANCESTORS: usize = 16;

/// One status to write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Write {
    /// The version of the object that the status was merged with: if it has moved on, the write is refused.
    pub(crate) resource_version: String,
    pub(crate) status: Value,
}

pub(crate) type Writes = BTreeMap<ObjectRef, Write>;

/// Every status that is not yet as it should be. `controller_name` tells our parents of a route from others'.
pub(crate) fn writes(inputs: &Inputs, statuses: &Statuses, gateways: &Statuses, controller_name: &str) -> Writes {
    let mut writes = Writes::new();
    for (name, ours) in &statuses.gateway_classes {
        if let Some(object) = inputs.gateway_classes.get(name) {
            put(
                &mut writes,
                ObjectRef::cluster(Kind::GatewayClass, Arc::clone(name)),
                object.meta(),
                class(object, ours),
            );
        }
    }
    for (key, ours) in &gateways.gateways {
        let name = NamespacedName::from(key);
        if let Some(object) = inputs.gateways.get(&name) {
            put(&mut writes, ObjectRef::namespaced(Kind::Gateway, &name), object.meta(), gateway(object, ours));
        }
    }
    for (name, ours) in &gateways.listener_sets {
        if let Some(object) = inputs.listener_sets.get(name) {
            let reference = ObjectRef::namespaced(Kind::ListenerSet, name);
            put(&mut writes, reference, object.meta(), listener_set(object, ours));
        }
    }
    for (reference, ours) in &statuses.routes {
        if let Some(object) = inputs.route(reference) {
            put(&mut writes, reference.clone(), object.metadata(), route(object, ours, controller_name));
        }
    }
    for (name, ours) in &statuses.backend_tls_policies {
        if let Some(object) = inputs.backend_tls_policies.get(name) {
            let status = policy(object, ours, controller_name);
            put(&mut writes, ObjectRef::namespaced(Kind::BackendTlsPolicy, name), object.meta(), status);
        }
    }
    for (name, ours) in &statuses.backends {
        if let Some(object) = inputs.backends.get(name) {
            put(&mut writes, ObjectRef::namespaced(Kind::Backend, name), object.meta(), backend(object, ours));
        }
    }
    for (name, ours) in &statuses.gateway_parameters {
        if let Some(object) = inputs.gateway_parameters.get(name) {
            let status = parameters(object, ours);
            put(&mut writes, ObjectRef::namespaced(Kind::GatewayParameters, name), object.meta(), status);
        }
    }
    writes
}

fn put<T: Serialize>(writes: &mut Writes, reference: ObjectRef, meta: &ObjectMeta, status: Option<T>) {
    let Some(status) = status else { return };
    // A status of ours always serializes; if it did not, leaving the old one is the least harm.
    if let (Ok(status), Some(resource_version)) = (serde_json::to_value(status), meta.resource_version.clone()) {
        writes.insert(reference, Write { resource_version, status });
    }
}

fn class(object: &GatewayClass, ours: &GatewayClassStatus) -> Option<GatewayClassStatus> {
    let old = object.status.as_ref();
    let conditions = conditions(old.and_then(|old| old.conditions.as_deref()), ours.conditions.as_deref());
    let GatewayClassStatus { conditions: _, supported_features } = ours;
    let new = GatewayClassStatus { conditions: Some(conditions), supported_features: supported_features.clone() };
    (old != Some(&new)).then_some(new)
}

fn gateway(object: &Gateway, ours: &GatewayStatus) -> Option<GatewayStatus> {
    let old = object.status.as_ref();
    let mut new = ours.clone();
    new.conditions = Some(conditions(old.and_then(|old| old.conditions.as_deref()), ours.conditions.as_deref()));
    for listener in new.listeners.iter_mut().flatten() {
        let old = old.and_then(|old| old.listeners.iter().flatten().find(|old| old.name == listener.name));
        listener.conditions = conditions(old.map(|old| &*old.conditions), Some(&listener.conditions));
    }
    // Nothing and an empty list say the same; what is there must not be written again and again.
    let comparable = |status: &GatewayStatus| {
        let mut status = status.clone();
        status.addresses = status.addresses.filter(|addresses| !addresses.is_empty());
        status.attached_listener_sets = status.attached_listener_sets.filter(|count| *count > 0);
        status.listeners = status.listeners.filter(|listeners| !listeners.is_empty());
        status
    };
    if old.map(comparable).as_ref() == Some(&comparable(&new)) {
        return None;
    }
    // A merge patch leaves out what is none; what is gone must be said.
    new.addresses.get_or_insert_default();
    new.attached_listener_sets.get_or_insert_default();
    new.listeners.get_or_insert_default();
    Some(new)
}

fn listener_set(object: &ListenerSet, ours: &ListenerSetStatus) -> Option<ListenerSetStatus> {
    let old = object.status.as_ref();
    let mut new = ours.clone();
    new.conditions = Some(conditions(old.and_then(|old| old.conditions.as_deref()), ours.conditions.as_deref()));
    for listener in new.listeners.iter_mut().flatten() {
        let old = old.and_then(|old| old.listeners.iter().flatten().find(|old| old.name == listener.name));
        listener.conditions = conditions(old.map(|old| &*old.conditions), Some(&listener.conditions));
    }
    let comparable = |status: &ListenerSetStatus| {
        let mut status = status.clone();
        status.listeners = status.listeners.filter(|listeners| !listeners.is_empty());
        status
    };
    if old.map(comparable).as_ref() == Some(&comparable(&new)) {
        return None;
    }
    // As with a Gateway: entries that are gone must be said.
    new.listeners.get_or_insert_default();
    Some(new)
}

fn route(object: &dyn RouteObject, ours: &RouteStatus, controller_name: &str) -> Option<RouteStatus> {
    let old = object.parents();
    let before = |parent: &RouteParentStatus| {
        old.iter().find(|old| old.controller_name == controller_name && old.parent_ref == parent.parent_ref.view())
    };
    // Looked at for every route after every answer of a data plane, so nothing is copied before something differs.
    let is_there = old.iter().filter(|old| old.controller_name == controller_name).count() == ours.parents.len()
        && ours.parents.iter().all(|parent| before(parent).is_some_and(|old| hold(old.conditions, &parent.conditions)));
    if is_there && object.has_status() {
        return None;
    }
    let others = old.iter().filter(|old| old.controller_name != controller_name);
    let mut parents: Vec<_> = others.map(ParentView::to_owned).collect();
    for parent in &ours.parents {
        let mut parent = parent.clone();
        parent.conditions = conditions(before(&parent).map(|old| old.conditions), Some(&parent.conditions));
        parents.push(parent);
    }
    parents.truncate(MAX_PARENTS);
    Some(RouteStatus { parents })
}

/// "If this slice is full, implementations MUST NOT add further entries": of too many, ours are left out.
fn policy(
    object: &BackendTlsPolicy,
    ours: &BackendTlsPolicyStatus,
    controller_name: &str,
) -> Option<BackendTlsPolicyStatus> {
    let old = object.status.as_ref().map(|status| status.ancestors.as_slice()).unwrap_or_default();
    let before = |ancestor: &PolicyAncestor| {
        let own = old.iter().filter(|old| old.controller_name == controller_name);
        own.into_iter().find(|old| old.ancestor_ref == ancestor.ancestor_ref)
    };
    let others = old.iter().filter(|old| old.controller_name != controller_name);
    let mut ancestors: Vec<_> = others.cloned().collect();
    let room = MAX_ANCESTORS.saturating_sub(ancestors.len());
    let ours = &ours.ancestors[..ours.ancestors.len().min(room)];
    let is_there = old.len() == ancestors.len() + ours.len()
        && ours.iter().all(|one| before(one).is_some_and(|old| hold(&old.conditions, &one.conditions)));
    if is_there && (object.status.is_some() || ours.is_empty()) {
        return None;
    }
    for ancestor in ours {
        let mut ancestor = ancestor.clone();
        let there = before(&ancestor).map(|old| old.conditions.as_slice());
        ancestor.conditions = conditions(there, Some(&ancestor.conditions));
        ancestors.push(ancestor);
    }
    Some(BackendTlsPolicyStatus { ancestors })
}

fn backend(object: &Backend, ours: &BackendStatus) -> Option<BackendStatus> {
    let old = object.status.as_ref();
    let new = BackendStatus { conditions: conditions(old.map(|old| &*old.conditions), Some(&ours.conditions)) };
    (old != Some(&new)).then_some(new)
}

fn parameters(object: &GatewayParameters, ours: &GatewayParametersStatus) -> Option<GatewayParametersStatus> {
    let old = object.status.as_ref();
    let new =
        GatewayParametersStatus { conditions: conditions(old.map(|old| &*old.conditions), Some(&ours.conditions)) };
    (old != Some(&new)).then_some(new)
}

/// Whether ours stand there as they should, and none of ours beside them.
fn hold(old: &[Condition], ours: &[Condition]) -> bool {
    let known = |condition: &&Condition| ConditionType::ALL.iter().any(|one| one.as_str() == condition.type_);
    old.iter().filter(known).count() == ours.len() && ours.iter().all(|one| old.contains(one))
}

/// Ours, each where it stood before, and every type that we do not know.
fn conditions(old: Option<&[Condition]>, ours: Option<&[Condition]>) -> Vec<Condition> {
    let (old, ours) = (old.unwrap_or_default(), ours.unwrap_or_default());
    let is_ours = |condition: &Condition| ConditionType::ALL.iter().any(|one| one.as_str() == condition.type_);
    let ours_of = |type_: &str| ours.iter().find(|one| one.type_ == type_);
    let kept = old.iter().filter_map(|old| match ours_of(&old.type_) {
        Some(ours) => Some(ours.clone()),
        None if is_ours(old) => None,
        None => Some(old.clone()),
    });
    let mut merged: Vec<Condition> = kept.collect();
    let new: Vec<_> = ours.iter().filter(|one| !merged.iter().any(|kept| kept.type_ == one.type_)).cloned().collect();
    merged.extend(new);
    merged
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_translate::{CONTROLLER_NAME, Object};
    use serde_json::json;

    use super::*;

    fn condition(kind: &str, status: &str) -> Value {
        json!({ "type": kind, "status": status, "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1 })
    }

    fn parent(controller: &str, conditions: &[Value]) -> Value {
        json!({ "controllerName": controller, "parentRef": { "name": "g" }, "conditions": conditions })
    }

    fn written(there: &Value, ours: &[Value]) -> Option<Value> {
        let object = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": {},
            "metadata": { "namespace": "ns", "name": "r" }, "status": there });
        let Object::HttpRoute(object) = Object::parse(object).unwrap() else { panic!() };
        let ours = serde_json::from_value(json!({ "parents": ours })).unwrap();
        route(&*object, &ours, CONTROLLER_NAME).map(|status| serde_json::to_value(status).unwrap())
    }

    #[test]
    fn entries_and_conditions_of_others_survive_and_stale_ones_of_ours_do_not() {
        let foreign = parent("example.com/other", &[condition("Accepted", "False")]);
        let there = json!({ "parents": [foreign, parent(CONTROLLER_NAME, &[condition("Accepted", "False"), condition("example.com/Mine", "True"), condition("PartiallyInvalid", "True")])] });
        let status = written(
            &there,
            &[parent(CONTROLLER_NAME, &[condition("Accepted", "True"), condition("ResolvedRefs", "True")])],
        )
        .unwrap();
        assert_eq!(status["parents"][0], foreign);
        let types: Vec<_> =
            status["parents"][1]["conditions"].as_array().unwrap().iter().map(|one| one["type"].clone()).collect();
        assert_eq!(types, ["Accepted", "example.com/Mine", "ResolvedRefs"]);
        assert_eq!(status["parents"][1]["conditions"][0]["status"], "True");
    }

    fn ancestor(controller: &str, gateway: &str, conditions: &[Value]) -> Value {
        json!({ "controllerName": controller, "conditions": conditions,
            "ancestorRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "ns", "name": gateway } })
    }

    fn written_policy(there: &Value, ours: &[Value]) -> Option<Value> {
        let object = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
            "spec": { "targetRefs": [], "validation": { "hostname": "a.example" } },
            "metadata": { "namespace": "ns", "name": "p" }, "status": there });
        let Object::BackendTlsPolicy(object) = Object::parse(object).unwrap() else { panic!() };
        let ours = serde_json::from_value(json!({ "ancestors": ours })).unwrap();
        policy(&object, &ours, CONTROLLER_NAME).map(|status| serde_json::to_value(status).unwrap())
    }

    #[test]
    fn ancestors_of_others_survive_byte_for_byte_and_ours_follow_them() {
        let (yes, no) = (condition("Accepted", "True"), condition("Accepted", "False"));
        let foreign = ancestor("example.com/other", "unmanaged", std::slice::from_ref(&no));
        let stale = ancestor(CONTROLLER_NAME, "gone", std::slice::from_ref(&yes));
        let mine = condition("example.com/Mine", "True");
        let old = ancestor(CONTROLLER_NAME, "a", &[mine.clone(), no]);
        let ours = [ancestor(CONTROLLER_NAME, "a", std::slice::from_ref(&yes)), ancestor(CONTROLLER_NAME, "b", &[])];
        let status = written_policy(&json!({ "ancestors": [stale, foreign, old] }), &ours).unwrap();
        let merged = ancestor(CONTROLLER_NAME, "a", &[mine, yes]);
        assert_eq!(status, json!({ "ancestors": [foreign, merged, ours[1]] }));
        assert_eq!(written_policy(&status, &ours), None, "what is there is not written again");
        let taken_back = written_policy(&status, &[]).unwrap();
        assert_eq!(taken_back, json!({ "ancestors": [foreign] }));
        assert_eq!(written_policy(&taken_back, &[]), None);
        assert_eq!(written_policy(&json!(null), &[]), None);
    }

    #[test]
    fn a_list_of_ancestors_that_is_full_takes_no_more_of_ours() {
        let others: Vec<Value> = (0..15).map(|at| ancestor("example.com/other", &format!("g{at}"), &[])).collect();
        let ours = ["a", "b"].map(|name| ancestor(CONTROLLER_NAME, name, &[condition("Accepted", "True")]));
        let status = written_policy(&json!({ "ancestors": others }), &ours).unwrap();
        let ancestors = status["ancestors"].as_array().unwrap();
        assert_eq!((ancestors.len(), &ancestors[..15], &ancestors[15]), (16, &others[..], &ours[0]));
        assert_eq!(written_policy(&status, &ours), None);
    }

    #[test]
    fn of_a_listener_set_only_what_is_ours_is_written_and_only_once() {
        let ours = json!({ "conditions": [condition("Accepted", "True"), condition("Programmed", "True")],
            "listeners": [{ "name": "a", "attachedRoutes": 1, "supportedKinds": [], "conditions": [condition("Accepted", "True")] }] });
        let there = json!({ "conditions": [condition("example.com/Mine", "True"), condition("Accepted", "Unknown")],
            "listeners": [
                { "name": "gone", "attachedRoutes": 1, "conditions": [condition("Accepted", "True")] },
                { "name": "a", "attachedRoutes": 0, "conditions": [condition("example.com/Mine", "True"), condition("Conflicted", "True")] },
            ] });
        let written = |there: &Value, ours: &Value| {
            let object = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
                "spec": { "parentRef": { "name": "g" }, "listeners": [] }, "metadata": { "namespace": "ns", "name": "s" }, "status": there });
            let Object::ListenerSet(object) = Object::parse(object).unwrap() else { panic!() };
            listener_set(&object, &serde_json::from_value(ours.clone()).unwrap())
                .map(|status| serde_json::to_value(status).unwrap())
        };
        let first = written(&there, &ours).unwrap();
        let types = |conditions: &Value| -> Vec<String> {
            conditions.as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(types(&first["conditions"]), ["example.com/Mine", "Accepted", "Programmed"]);
        assert_eq!(first["listeners"].as_array().unwrap().len(), 1);
        assert_eq!(types(&first["listeners"][0]["conditions"]), ["example.com/Mine", "Accepted"]);
        assert_eq!(written(&first, &ours), None);
        let refused = written(&first, &json!({ "conditions": [condition("Accepted", "False"), condition("Programmed", "False")], "listeners": [] })).unwrap();
        assert_eq!(refused["listeners"], json!([]));
        assert_eq!(
            written(
                &refused,
                &json!({ "conditions": [condition("Accepted", "False"), condition("Programmed", "False")] })
            ),
            None
        );
    }

    #[test]
    fn what_is_there_already_is_not_written_whatever_stands_beside_it() {
        let ours = parent(CONTROLLER_NAME, &[condition("Accepted", "True"), condition("ResolvedRefs", "True")]);
        let there = parent(
            CONTROLLER_NAME,
            &[condition("ResolvedRefs", "True"), condition("example.com/Mine", "True"), condition("Accepted", "True")],
        );
        let others = parent("example.com/other", &[]);
        assert_eq!(written(&json!({ "parents": [there, others] }), std::slice::from_ref(&ours)), None);
        assert!(
            written(&json!({ "parents": [there] }), &[]).is_some(),
            "an entry of ours that is no longer meant goes"
        );
        assert!(written(&json!(null), &[ours]).is_some());
    }
}
