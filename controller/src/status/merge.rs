//! What is to be written: our entries beside everybody else's, and only where that differs from what is there.

use std::sync::Arc;

use gateway_api::backendtlspolicies::{
    BackendTlsPolicy, BackendTlsPolicyStatus, BackendTlsPolicyStatusAncestors as PolicyAncestor,
};
use gateway_api::gatewayclasses::{GatewayClass, GatewayClassStatus};
use gateway_api::gateways::{Gateway, GatewayStatus};
use gateway_api::listenersets::{ListenerSet, ListenerSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use portcullis_crds::{Backend, BackendStatus, GatewayParameters, GatewayParametersStatus, split_routability};
use portcullis_ir::Table;
use portcullis_translate::{
    ConditionType, Inputs, Kind, NamespacedName, ObjectRef, ParentView, RouteObject, RouteParentStatus, RouteStatus,
    Statuses, XBackend,
};
use serde::Serialize;
use serde_json::Value;

use super::policies::own_policy;

/// Most parents of a route (`RouteStatus.parents`).
const MAX_PARENTS: usize = 32;
/// Most ancestors of a policy (`PolicyStatus.ancestors`).
pub(super) const MAX_ANCESTORS: usize = 16;
/// Most ancestors of an XBackend (`BackendStatus.ancestors`).
const MAX_USERS: usize = 32;

/// One status to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// The version of the object that the status was merged with: if it has moved on, the write is refused.
    pub(crate) resource_version: String,
    pub(crate) status: Value,
}

pub(crate) type Writes = Table<ObjectRef, Write>;

/// Every status that is not yet as it should be, but for those of routes, of which there are too many to look at each time: `routes` holds
/// theirs ([`route_write`]).
pub(crate) fn writes(
    inputs: &Inputs,
    statuses: &Statuses,
    gateways: &Statuses,
    routes: &Writes,
    controller_name: &str,
) -> Writes {
    let mut writes = routes.clone();
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
            put(
                &mut writes,
                ObjectRef::namespaced(Kind::Gateway, &name),
                object.meta(),
                gateway(object, ours).map(|status| as_written(&status)),
            );
        }
    }
    for (name, ours) in &gateways.listener_sets {
        if let Some(object) = inputs.listener_sets.get(name) {
            let reference = ObjectRef::namespaced(Kind::ListenerSet, name);
            put(&mut writes, reference, object.meta(), listener_set(object, ours));
        }
    }
    for (name, ours) in &statuses.backend_tls_policies {
        if let Some(object) = inputs.backend_tls_policies.get(name) {
            let status = policy(object, ours, controller_name);
            put(&mut writes, ObjectRef::namespaced(Kind::BackendTlsPolicy, name), object.meta(), status);
        }
    }
    for (name, ours) in &gateways.rate_limit_policies {
        if let Some(object) = inputs.rate_limit_policies.get(name) {
            let status = own_policy(object.status.as_ref(), ours, controller_name);
            put(&mut writes, ObjectRef::namespaced(Kind::RateLimitPolicy, name), object.meta(), status);
        }
    }
    for (name, ours) in &gateways.auth_policies {
        if let Some(object) = inputs.auth_policies.get(name) {
            let status = own_policy(object.status.as_ref(), ours, controller_name);
            put(&mut writes, ObjectRef::namespaced(Kind::AuthPolicy, name), object.meta(), status);
        }
    }
    for (name, ours) in &statuses.backends {
        if let Some(object) = inputs.backends.get(name) {
            put(&mut writes, ObjectRef::namespaced(Kind::Backend, name), object.meta(), backend(object, ours));
        }
    }
    for (name, ours) in &statuses.x_backends {
        if let Some(object) = inputs.x_backends.get(name) {
            let status = x_backend(object, ours, controller_name);
            put(&mut writes, ObjectRef::namespaced(Kind::XBackend, name), object.meta(), status);
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

/// What is to be written of one route, if anything: decided by the object and by what its status should be, and by nothing else.
/// `controller_name` tells our parents from others'.
pub(crate) fn route_write(
    inputs: &Inputs,
    statuses: &Statuses,
    reference: &ObjectRef,
    controller_name: &str,
) -> Option<Arc<Write>> {
    let (ours, object) = (statuses.routes.get(reference)?, inputs.route(reference)?);
    let mut writes = Writes::new();
    put(&mut writes, reference.clone(), object.metadata(), route(object, ours, controller_name));
    writes.values().next().cloned()
}

fn put<T: Serialize>(writes: &mut Writes, reference: ObjectRef, meta: &ObjectMeta, status: Option<T>) {
    let Some(status) = status else { return };
    // A status of ours always serializes; if it did not, leaving the old one is the least harm.
    if let (Ok(status), Some(resource_version)) = (serde_json::to_value(status), meta.resource_version.clone()) {
        writes.insert(reference, Arc::new(Write { resource_version, status }));
    }
}

fn class(object: &GatewayClass, ours: &GatewayClassStatus) -> Option<GatewayClassStatus> {
    let old = object.status.as_ref();
    let conditions = conditions(old.and_then(|old| old.conditions.as_deref()), ours.conditions.as_deref());
    let GatewayClassStatus { conditions: _, supported_features } = ours;
    let new = GatewayClassStatus { conditions: Some(conditions), supported_features: supported_features.clone() };
    (old != Some(&new)).then_some(new)
}

/// As an API server takes it: what our types have no field for is where it belongs.
fn as_written(status: &GatewayStatus) -> Value {
    // A status of ours always serializes.
    let mut value = serde_json::to_value(status).unwrap_or_default();
    let addresses = value.get_mut("addresses").and_then(Value::as_array_mut);
    for address in addresses.into_iter().flatten() {
        let marked = address["type"].as_str().map(str::to_owned);
        if let (kind, Some(routability)) = split_routability(marked.as_deref()) {
            address["type"] = kind.into();
            address["routability"] = routability.into();
        }
    }
    value
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

fn policy(
    object: &BackendTlsPolicy,
    ours: &BackendTlsPolicyStatus,
    controller_name: &str,
) -> Option<BackendTlsPolicyStatus> {
    let old = object.status.as_ref().map(|status| status.ancestors.as_slice());
    ancestors(old, ours, controller_name, MAX_ANCESTORS)
}

fn x_backend(object: &XBackend, ours: &BackendTlsPolicyStatus, controller_name: &str) -> Option<Value> {
    let old = object.status.as_ref().map(|_| object.ancestors());
    let status = ancestors(old.as_deref(), ours, controller_name, MAX_USERS)?;
    Some(object.status_as_written(&status))
}

/// "If this slice is full, implementations MUST NOT add further entries": of too many, ours are left out. `old` is none
/// where there is no status.
fn ancestors(
    old: Option<&[PolicyAncestor]>,
    ours: &BackendTlsPolicyStatus,
    controller_name: &str,
    most: usize,
) -> Option<BackendTlsPolicyStatus> {
    let has_status = old.is_some();
    let old = old.unwrap_or_default();
    let before = |ancestor: &PolicyAncestor| {
        let own = old.iter().filter(|old| old.controller_name == controller_name);
        own.into_iter().find(|old| old.ancestor_ref == ancestor.ancestor_ref)
    };
    let others = old.iter().filter(|old| old.controller_name != controller_name);
    let mut ancestors: Vec<_> = others.cloned().collect();
    let room = most.saturating_sub(ancestors.len());
    let ours = &ours.ancestors[..ours.ancestors.len().min(room)];
    let is_there = old.len() == ancestors.len() + ours.len()
        && ours.iter().all(|one| before(one).is_some_and(|old| hold(&old.conditions, &one.conditions)));
    if is_there && (has_status || ours.is_empty()) {
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
pub(super) fn hold(old: &[Condition], ours: &[Condition]) -> bool {
    let known = |condition: &&Condition| ConditionType::ALL.iter().any(|one| one.as_str() == condition.type_);
    old.iter().filter(known).count() == ours.len() && ours.iter().all(|one| old.contains(one))
}

/// Ours, each where it stood before, and every type that we do not know.
pub(super) fn conditions(old: Option<&[Condition]>, ours: Option<&[Condition]>) -> Vec<Condition> {
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
#[path = "merge_tests.rs"]
mod tests;
