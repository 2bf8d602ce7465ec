//! What is to be written: our entries beside everybody else's, and only where that differs from what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::gatewayclasses::{GatewayClass, GatewayClassStatus};
use gateway_api::gateways::{Gateway, GatewayStatus};
use gateway_api::httproutes::{HttpRoute, HttpRouteStatus, HttpRouteStatusParents};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use portcullis_crds::{Backend, BackendStatus, GatewayParameters, GatewayParametersStatus};
use portcullis_translate::{ConditionType, Inputs, Kind, NamespacedName, ObjectRef, Statuses};
use serde::Serialize;
use serde_json::Value;

/// Most parents of a route (`RouteStatus.parents`).
const MAX_PARENTS: usize = 32;

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
    for (name, ours) in &statuses.http_routes {
        if let Some(object) = inputs.http_routes.get(name) {
            let status = route(object, ours, controller_name);
            put(&mut writes, ObjectRef::namespaced(Kind::HttpRoute, name), object.meta(), status);
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
        status.listeners = status.listeners.filter(|listeners| !listeners.is_empty());
        status
    };
    if old.map(comparable).as_ref() == Some(&comparable(&new)) {
        return None;
    }
    // A merge patch leaves out what is none; addresses that are gone must be said.
    new.addresses.get_or_insert_default();
    new.listeners.get_or_insert_default();
    Some(new)
}

fn route(object: &HttpRoute, ours: &HttpRouteStatus, controller_name: &str) -> Option<HttpRouteStatus> {
    let old = object.status.as_ref().map(|old| &*old.parents).unwrap_or_default();
    let before = |parent: &HttpRouteStatusParents| {
        old.iter().find(|old| old.controller_name == controller_name && old.parent_ref == parent.parent_ref)
    };
    // Looked at for every route after every answer of a data plane, so nothing is copied before something differs.
    let is_there = old.iter().filter(|old| old.controller_name == controller_name).count() == ours.parents.len()
        && ours
            .parents
            .iter()
            .all(|parent| before(parent).is_some_and(|old| hold(&old.conditions, &parent.conditions)));
    if is_there && object.status.is_some() {
        return None;
    }
    let mut parents: Vec<_> = old.iter().filter(|old| old.controller_name != controller_name).cloned().collect();
    for parent in &ours.parents {
        let mut parent = parent.clone();
        parent.conditions = conditions(before(&parent).map(|old| &*old.conditions), Some(&parent.conditions));
        parents.push(parent);
    }
    parents.truncate(MAX_PARENTS);
    Some(HttpRouteStatus { parents })
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
        route(&object, &ours, CONTROLLER_NAME).map(|status| serde_json::to_value(status).unwrap())
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
