//! The world as far as it is known, and whether that is far enough to act on.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use portcullis_translate::{Definition, GATEWAY_API, Inputs, Installed, Kind, ObjectRef, references};

use crate::lane::{self, Lane};
use crate::watch::{Change, FOLLOWED, is_optional};

#[derive(Debug, Default)]
pub(crate) struct Store {
    inputs: Inputs,
    listed: BTreeSet<Kind>,
    missing: BTreeSet<Kind>,
    /// What is known of the Gateway API's definitions; none of a kind that has none.
    definitions: BTreeMap<Kind, Option<Definition>>,
    /// Why nothing is.
    unreadable: Option<Arc<str>>,
    /// Whether what was fetched of issuers is listed: without it data planes would be told that nobody knows any keys.
    knows_issuers: bool,
    /// Secrets and ConfigMaps that are referred to.
    wanted: Arc<BTreeSet<ObjectRef>>,
    /// Those of them that were asked for, found or not.
    answered: HashSet<ObjectRef>,
    /// Secrets that are held for their label, whoever names them.
    labelled: HashSet<ObjectRef>,
    /// Whether those were listed.
    labelled_listed: bool,
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
                let lane = lane::of(&self.inputs, &object);
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
            // What nobody names any more may still be held for its label.
            Change::Remove(reference) if self.labelled.contains(&reference) => {
                self.answer(&reference);
                Lane::Nothing
            }
            Change::Labelled(object) => {
                self.labelled.insert(object.reference());
                self.apply(Change::Apply(object))
            }
            Change::Unlabelled(reference) => {
                self.labelled.remove(&reference);
                // One that is named as well is fetched anew, and answered then.
                if !self.wanted.contains(&reference) {
                    self.inputs.remove(&reference);
                }
                Lane::Full
            }
            Change::LabelledListed(present) => {
                let news = !std::mem::replace(&mut self.labelled_listed, true);
                let gone: Vec<ObjectRef> = self.labelled.difference(&present).cloned().collect();
                let changed = news || !gone.is_empty();
                for reference in gone {
                    self.apply(Change::Unlabelled(reference));
                }
                if changed { Lane::Full } else { Lane::Nothing }
            }
            Change::Remove(reference) => {
                self.answer(&reference);
                self.inputs.remove(&reference);
                lane::of_kind(reference.kind)
            }
            Change::Listed(kind, present) => {
                self.missing.remove(&kind);
                self.inputs.absent.remove(&kind);
                let news = self.listed.insert(kind);
                let gone = self.forget(kind, |reference| !present.contains(reference));
                if news || gone { Lane::Full } else { Lane::Nothing }
            }
            Change::Defined(kind, definition) => {
                self.definitions.insert(kind, definition);
                self.install()
            }
            Change::Issuers(all) => {
                let first = !std::mem::replace(&mut self.knows_issuers, true);
                let news = self.inputs.issuers != all;
                self.inputs.issuers = all;
                if first || news { Lane::Full } else { Lane::Nothing }
            }
            Change::Issuer(key, issuer) => {
                let news = self.inputs.issuers.get(&key) != issuer.as_ref();
                match issuer {
                    Some(issuer) => drop(self.inputs.issuers.insert(key, issuer)),
                    None => drop(self.inputs.issuers.remove(&key)),
                }
                if news { Lane::Full } else { Lane::Nothing }
            }
            Change::Unreadable(why) => {
                self.unreadable = Some(why);
                self.install()
            }
            Change::Missing(kind) => {
                self.inputs.absent.insert(kind);
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

    pub(crate) fn knows_issuers(&self) -> bool {
        self.knows_issuers
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

    /// Whether the Secrets that are held for their label are known: before, nobody's key could be told from a wrong one.
    pub(crate) fn knows_api_keys(&self) -> bool {
        self.labelled_listed
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_translate::Object;
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

    fn key(version: &str) -> Object {
        let metadata = json!({ "namespace": "ns", "name": "a", "resourceVersion": version });
        Object::parse(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata })).unwrap()
    }

    #[test]
    fn a_secret_is_held_for_its_label_whether_it_is_named_or_not() {
        let mut store = Store::default();
        assert!(!store.knows_api_keys());
        let reference = key("1").reference();
        let held = |store: &Store| !store.inputs().secrets.is_empty();
        assert_eq!(store.apply(Change::Labelled(key("1"))), Lane::Full);
        assert_eq!(store.apply(Change::LabelledListed(HashSet::from([reference.clone()]))), Lane::Full);
        assert!(store.knows_api_keys());
        // Somebody named it, and does so no longer.
        assert_eq!(store.apply(Change::Remove(reference.clone())), Lane::Nothing);
        assert!(held(&store));
        assert_eq!(store.apply(Change::Unlabelled(reference.clone())), Lane::Full);
        assert!(!held(&store));
        // One that is named stays without the label.
        store.apply(gateway("a"));
        store.wanted();
        store.apply(Change::Labelled(key("2")));
        store.apply(Change::LabelledListed(HashSet::new()));
        assert!(held(&store));
        assert_eq!(store.apply(Change::Remove(reference)), Lane::Full);
        assert!(!held(&store));
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
