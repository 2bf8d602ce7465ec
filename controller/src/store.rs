//! The world as far as it is known, and whether that is far enough to act on.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use kube::Resource;
use portcullis_translate::{Inputs, Kind, NamespacedName, Object, ObjectRef, references};

use crate::watch::{Change, FOLLOWED, is_optional};

/// What a change calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Nothing,
    /// Only statuses changed, most often by our own hand: nothing is compiled, and what was written is compared.
    Status,
    /// Only endpoints changed: no route is looked at.
    Endpoints,
    Full,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    inputs: Inputs,
    listed: BTreeSet<Kind>,
    missing: BTreeSet<Kind>,
    /// Secrets and ConfigMaps that are referred to.
    wanted: Arc<BTreeSet<ObjectRef>>,
    /// Those of them that were asked for, found or not.
    answered: HashSet<ObjectRef>,
}

impl Store {
    pub(crate) fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    pub(crate) fn inputs_mut(&mut self) -> &mut Inputs {
        &mut self.inputs
    }

    pub(crate) fn apply(&mut self, change: Change) -> Lane {
        match change {
            Change::Apply(object) => {
                let reference = object.reference();
                self.answer(&reference);
                if self.is_known(&object) {
                    return Lane::Nothing;
                }
                let lane = if self.means_the_same(&object) { Lane::Status } else { lane_of(reference.kind) };
                self.inputs.insert(object);
                lane
            }
            Change::Invalid(reference, why) => {
                self.answer(&reference);
                self.inputs.insert_invalid(reference, why);
                Lane::Full
            }
            Change::Remove(reference) => {
                self.answer(&reference);
                self.inputs.remove(&reference);
                lane_of(reference.kind)
            }
            Change::Listed(kind, present) => {
                self.missing.remove(&kind);
                let news = self.listed.insert(kind);
                let gone = self.forget(kind, |reference| !present.contains(reference));
                if news || gone { Lane::Full } else { Lane::Nothing }
            }
            Change::Missing(kind) => {
                let news = self.missing.insert(kind) | self.listed.remove(&kind);
                let gone = self.forget(kind, |_| true);
                if news || gone { Lane::Full } else { Lane::Nothing }
            }
        }
    }

    /// The Secrets and ConfigMaps that are referred to now; the same `Arc` as before if they are the same.
    pub(crate) fn wanted(&mut self) -> Arc<BTreeSet<ObjectRef>> {
        let now = references(&self.inputs);
        if *self.wanted != now {
            self.answered.retain(|reference| now.contains(reference));
            self.wanted = Arc::new(now);
        }
        Arc::clone(&self.wanted)
    }

    /// Kinds that were not listed yet, nor found to be absent.
    pub(crate) fn unlisted(&self) -> Vec<Kind> {
        FOLLOWED.into_iter().filter(|kind| !self.listed.contains(kind) && !self.missing.contains(kind)).collect()
    }

    /// Kinds that the controller cannot work without and the API server does not have.
    pub(crate) fn uninstalled(&self) -> Vec<Kind> {
        self.missing.iter().copied().filter(|kind| !is_optional(*kind)).collect()
    }

    /// Whether every Secret and ConfigMap that is referred to was looked for.
    pub(crate) fn is_answered(&self) -> bool {
        self.wanted.iter().all(|reference| self.answered.contains(reference))
    }

    fn answer(&mut self, reference: &ObjectRef) {
        if self.wanted.contains(reference) {
            self.answered.insert(reference.clone());
        }
    }

    fn forget(&mut self, kind: Kind, is_gone: impl Fn(&ObjectRef) -> bool) -> bool {
        let gone: Vec<ObjectRef> = self.inputs.references(kind).into_iter().filter(is_gone).collect();
        for reference in &gone {
            self.inputs.remove(reference);
        }
        !gone.is_empty()
    }

    /// Whether only the status differs from what is there.
    fn means_the_same(&self, object: &Object) -> bool {
        fn same<T: Resource, S: PartialEq>(old: Option<&Arc<T>>, new: &T, spec: impl Fn(&T) -> &S) -> bool {
            let Some(old) = old else { return false };
            let (before, after) = (old.meta(), new.meta());
            before.uid == after.uid
                && before.generation == after.generation
                && before.deletion_timestamp == after.deletion_timestamp
                && before.labels == after.labels
                && before.annotations == after.annotations
                && spec(old) == spec(new)
        }
        let ObjectRef { kind: _, namespace, name } = object.reference();
        let of_namespace = NamespacedName { namespace: namespace.unwrap_or_default(), name: Arc::clone(&name) };
        let inputs = &self.inputs;
        match object {
            Object::GatewayClass(one) => same(inputs.gateway_classes.get(&name), one, |one| &one.spec),
            Object::Gateway(one) => same(inputs.gateways.get(&of_namespace), one, |one| &one.spec),
            Object::HttpRoute(one) => same(inputs.http_routes.get(&of_namespace), one, |one| &one.spec),
            Object::GatewayParameters(one) => same(inputs.gateway_parameters.get(&of_namespace), one, |one| &one.spec),
            Object::Backend(one) => same(inputs.backends.get(&of_namespace), one, |one| &one.spec),
            _ => false,
        }
    }

    /// Whether the very same version is there already, as after a list that came again.
    fn is_known(&self, object: &Object) -> bool {
        fn same<T: Resource, K: Ord>(map: &std::collections::BTreeMap<K, Arc<T>>, key: &K, object: &T) -> bool {
            let version = |object: &T| object.meta().resource_version.clone();
            map.get(key).is_some_and(|old| version(old).is_some() && version(old) == version(object))
        }
        let ObjectRef { kind: _, namespace, name } = object.reference();
        let namespaced =
            portcullis_translate::NamespacedName { namespace: namespace.unwrap_or_default(), name: name.clone() };
        let Inputs {
            now: _,
            gateway_classes,
            gateways,
            http_routes,
            reference_grants,
            namespaces,
            services,
            endpoint_slices,
            secrets,
            config_maps,
            gateway_parameters,
            backends,
            invalid: _,
        } = &self.inputs;
        match object {
            Object::GatewayClass(one) => same(gateway_classes, &name, one),
            Object::Namespace(one) => same(namespaces, &name, one),
            Object::Gateway(one) => same(gateways, &namespaced, one),
            Object::HttpRoute(one) => same(http_routes, &namespaced, one),
            Object::ReferenceGrant(one) => same(reference_grants, &namespaced, one),
            Object::Service(one) => same(services, &namespaced, one),
            Object::EndpointSlice(one) => same(endpoint_slices, &namespaced, one),
            Object::Secret(one) => same(secrets, &namespaced, one),
            Object::ConfigMap(one) => same(config_maps, &namespaced, one),
            Object::GatewayParameters(one) => same(gateway_parameters, &namespaced, one),
            Object::Backend(one) => same(backends, &namespaced, one),
        }
    }
}

fn lane_of(kind: Kind) -> Lane {
    if kind == Kind::EndpointSlice { Lane::Endpoints } else { Lane::Full }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn object(value: Value) -> Change {
        Change::Apply(Object::parse(value).unwrap())
    }

    fn slice(version: &str) -> Change {
        object(
            json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [],
            "metadata": { "namespace": "ns", "name": "s", "resourceVersion": version } }),
        )
    }

    fn gateway(secret: &str) -> Change {
        object(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": { "namespace": "ns", "name": "g" },
            "spec": { "gatewayClassName": "c", "listeners": [{ "name": "l", "port": 443, "protocol": "HTTPS",
                "tls": { "certificateRefs": [{ "name": secret }] } }] } }))
    }

    #[test]
    fn only_endpoints_take_the_short_lane_and_the_same_version_takes_none() {
        let mut store = Store::default();
        assert_eq!(store.apply(slice("1")), Lane::Endpoints);
        assert_eq!(store.apply(slice("1")), Lane::Nothing);
        assert_eq!(store.apply(slice("2")), Lane::Endpoints);
        assert_eq!(store.apply(gateway("a")), Lane::Full);
    }

    #[test]
    fn a_status_that_comes_back_compiles_nothing() {
        let route = |version: &str, generation: u64, status: Value| {
            object(
                json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": { "rules": [] }, "status": status,
                "metadata": { "namespace": "ns", "name": "r", "resourceVersion": version, "generation": generation } }),
            )
        };
        let mut store = Store::default();
        assert_eq!(store.apply(route("1", 1, json!(null))), Lane::Full);
        assert_eq!(store.apply(route("2", 1, json!({ "parents": [] }))), Lane::Status);
        assert_eq!(store.apply(route("3", 2, json!({ "parents": [] }))), Lane::Full);
    }

    #[test]
    fn a_complete_list_takes_away_what_it_does_not_hold() {
        let mut store = Store::default();
        store.apply(gateway("a"));
        let reference = store.inputs().references(Kind::Gateway).remove(0);
        store.apply(Change::Listed(Kind::Gateway, HashSet::from([reference.clone()])));
        assert_eq!(store.inputs().references(Kind::Gateway), [reference]);
        assert_eq!(store.apply(Change::Listed(Kind::Gateway, HashSet::new())), Lane::Full);
        assert!(store.inputs().references(Kind::Gateway).is_empty());
    }

    #[test]
    fn a_secret_that_is_referred_to_is_waited_for_until_it_was_looked_for() {
        let mut store = Store::default();
        store.apply(gateway("a"));
        let wanted = store.wanted();
        assert_eq!(wanted.len(), 1);
        assert!(!store.is_answered());
        store.apply(Change::Remove(wanted.first().unwrap().clone()));
        assert!(store.is_answered(), "it does not exist, and that is known");
        store.apply(gateway("b"));
        assert_eq!(store.wanted().len(), 1);
        assert!(!store.is_answered());
    }

    #[test]
    fn a_kind_that_is_not_installed_is_waited_for_no_longer() {
        let mut store = Store::default();
        for kind in FOLLOWED {
            assert!(store.unlisted().contains(&kind));
            store.apply(Change::Missing(kind));
        }
        assert!(store.unlisted().is_empty());
        assert_eq!(store.uninstalled(), [Kind::GatewayClass, Kind::Gateway, Kind::HttpRoute]);
        store.apply(Change::Listed(Kind::Gateway, HashSet::new()));
        assert_eq!(store.uninstalled(), [Kind::GatewayClass, Kind::HttpRoute]);
    }
}
