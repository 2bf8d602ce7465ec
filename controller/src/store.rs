//! The world as far as it is known, and whether that is far enough to act on.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use kube::Resource;
use portcullis_translate::{
    Definition, GATEWAY_API, Inputs, Installed, Kind, NamespacedName, Object, ObjectRef, references,
};

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
    /// What is known of the Gateway API's definitions; none of a kind that has none.
    definitions: BTreeMap<Kind, Option<Definition>>,
    /// Why nothing is.
    unreadable: Option<Arc<str>>,
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
                let lane = self.lane(&object);
                if lane != Lane::Nothing {
                    self.inputs.insert(object);
                }
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
            Change::Defined(kind, definition) => {
                self.definitions.insert(kind, definition);
                self.install()
            }
            Change::Unreadable(why) => {
                self.unreadable = Some(why);
                self.install()
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

    /// Whether it is known which Gateway API is installed, or that nobody will tell.
    pub(crate) fn knows_what_is_installed(&self) -> bool {
        self.unreadable.is_some() || self.definitions.len() == GATEWAY_API.len()
    }

    /// Puts what is known of the definitions in its place. What was read once is believed until something else is read.
    fn install(&mut self) -> Lane {
        let installed = if self.definitions.len() == GATEWAY_API.len() {
            let there = self.definitions.iter().filter_map(|(kind, one)| Some((*kind, one.clone()?)));
            Installed::Definitions(there.collect())
        } else if let Some(why) = &self.unreadable {
            Installed::Unreadable(Arc::clone(why))
        } else {
            return Lane::Nothing;
        };
        if self.inputs.installed == installed {
            return Lane::Nothing;
        }
        self.inputs.installed = installed;
        Lane::Full
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

    /// Waits no longer for what is referred to and cannot be had; when it comes after all, that is a change like others.
    pub(crate) fn give_up(&mut self) {
        self.answered.extend(self.wanted.iter().cloned());
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

    /// What an object calls for, beside what is there: nothing after a list that came again, little if only its status
    /// differs.
    fn lane(&self, object: &Object) -> Lane {
        let ObjectRef { kind, namespace, name } = object.reference();
        let of_namespace = NamespacedName { namespace: namespace.unwrap_or_default(), name: Arc::clone(&name) };
        let inputs = &self.inputs;
        let difference = match object {
            Object::GatewayClass(new) => difference(inputs.gateway_classes.get(&name), new, |a, b| a.spec == b.spec),
            Object::Gateway(new) => difference(inputs.gateways.get(&of_namespace), new, |a, b| a.spec == b.spec),
            Object::HttpRoute(new) => difference(inputs.http_routes.get(&of_namespace), new, |a, b| a.spec == b.spec),
            Object::GrpcRoute(new) => difference(inputs.grpc_routes.get(&of_namespace), new, |a, b| a.spec == b.spec),
            Object::TlsRoute(new) => difference(inputs.tls_routes.get(&of_namespace), new, |a, b| a.spec == b.spec),
            Object::TcpRoute(new) => difference(inputs.tcp_routes.get(&of_namespace), new, |a, b| a.spec == b.spec),
            Object::UdpRoute(new) => difference(inputs.udp_routes.get(&of_namespace), new, |a, b| a.spec == b.spec),
            Object::ListenerSet(new) => {
                difference(inputs.listener_sets.get(&of_namespace), new, |a, b| a.spec == b.spec)
            }
            Object::BackendTlsPolicy(new) => {
                difference(inputs.backend_tls_policies.get(&of_namespace), new, |a, b| a.spec == b.spec)
            }
            Object::GatewayParameters(new) => {
                difference(inputs.gateway_parameters.get(&of_namespace), new, |a, b| a.spec == b.spec)
            }
            Object::Backend(new) => difference(inputs.backends.get(&of_namespace), new, |a, b| a.spec == b.spec),
            // Of these the status is looked at as well, or there is none.
            Object::Namespace(new) => difference(inputs.namespaces.get(&name), new, |_, _| false),
            Object::ReferenceGrant(new) => difference(inputs.reference_grants.get(&of_namespace), new, |_, _| false),
            Object::Service(new) => difference(inputs.services.get(&of_namespace), new, |_, _| false),
            Object::EndpointSlice(new) => difference(inputs.endpoint_slices.get(&of_namespace), new, |_, _| false),
            Object::Secret(new) => difference(inputs.secrets.get(&of_namespace), new, |_, _| false),
            Object::ConfigMap(new) => difference(inputs.config_maps.get(&of_namespace), new, |_, _| false),
        };
        match difference {
            Difference::None => Lane::Nothing,
            Difference::Status => Lane::Status,
            Difference::Meaning => lane_of(kind),
        }
    }
}

enum Difference {
    /// The very same version.
    None,
    Status,
    Meaning,
}

fn difference<T: Resource>(old: Option<&Arc<T>>, new: &T, same_spec: impl Fn(&T, &T) -> bool) -> Difference {
    let Some(old) = old else { return Difference::Meaning };
    let (before, after) = (old.meta(), new.meta());
    if before.resource_version.is_some() && before.resource_version == after.resource_version {
        return Difference::None;
    }
    let same = before.uid == after.uid
        && before.generation == after.generation
        && before.deletion_timestamp == after.deletion_timestamp
        && before.labels == after.labels
        && before.annotations == after.annotations
        && same_spec(old, new);
    if same { Difference::Status } else { Difference::Meaning }
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
    fn a_status_that_comes_back_compiles_nothing_whatever_the_kind() {
        let route = json!({ "rules": [{ "backendRefs": [{ "name": "s", "port": 1 }] }] });
        let hosts = json!({ "hostnames": ["a.example"], "rules": [{ "backendRefs": [{ "name": "s", "port": 1 }] }] });
        let set = json!({ "parentRef": { "name": "g" }, "listeners": [{ "name": "l", "port": 1, "protocol": "TCP" }] });
        let policy = json!({ "targetRefs": [{ "group": "", "kind": "Service", "name": "s" }],
            "validation": { "hostname": "a.example", "wellKnownCACertificates": "System" } });
        let parents = json!({ "parents": [] });
        for (kind, spec, status) in [
            ("GRPCRoute", &route, &parents),
            ("TLSRoute", &hosts, &parents),
            ("TCPRoute", &route, &parents),
            ("UDPRoute", &route, &parents),
            ("ListenerSet", &set, &json!({ "conditions": [], "listeners": [] })),
            ("BackendTLSPolicy", &policy, &json!({ "ancestors": [] })),
        ] {
            let version = |version: &str, generation: u64, status: &Value| {
                object(
                    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "spec": spec, "status": status,
                    "metadata": { "namespace": "ns", "name": "r", "resourceVersion": version, "generation": generation } }),
                )
            };
            let mut store = Store::default();
            assert_eq!(store.apply(version("1", 1, &json!(null))), Lane::Full, "{kind}");
            assert_eq!(store.apply(version("2", 1, status)), Lane::Status, "{kind}");
            assert_eq!(store.apply(version("2", 1, status)), Lane::Nothing, "{kind}");
            assert_eq!(store.apply(version("3", 2, status)), Lane::Full, "{kind}");
        }
    }

    #[test]
    fn what_is_installed_is_known_once_every_definition_is_or_nobody_will_tell() {
        let definition = |bundle: &str| Some(Definition { bundle: Some(bundle.into()), channel: None });
        let mut store = Store::default();
        let (last, others) = GATEWAY_API.split_last().unwrap();
        for kind in others {
            assert_eq!(store.apply(Change::Defined(*kind, definition("v1.6.3"))), Lane::Nothing);
        }
        assert!(!store.knows_what_is_installed());
        assert_eq!(store.apply(Change::Unreadable("forbidden".into())), Lane::Full);
        assert!(store.knows_what_is_installed());
        assert_eq!(store.inputs().installed, Installed::Unreadable("forbidden".into()));
        assert_eq!(store.apply(Change::Defined(*last, None)), Lane::Full);
        let Installed::Definitions(definitions) = store.inputs().installed.clone() else { panic!() };
        assert!(!definitions.contains_key(last) && definitions.len() == others.len());
        assert_eq!(store.apply(Change::Unreadable("forbidden".into())), Lane::Nothing, "what was read is believed");
        assert_eq!(store.apply(Change::Defined(others[0], definition("v1.6.3"))), Lane::Nothing, "no news");
        assert_eq!(store.apply(Change::Defined(others[0], definition("v1.7.0"))), Lane::Full);
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
        store.give_up();
        assert!(store.is_answered(), "what cannot be had holds up nobody a second time");
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
