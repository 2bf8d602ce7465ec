//! What has changed lately among the objects of which there are thousands. A result that rests on a dozen looks at the world would else take a
//! dozen searches to be found still right, for every route in every pass.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::backend_object::BackendPlan;
use crate::gateway::AttachPoints;
use crate::tls_policy::PolicyPlan;
use crate::{Inputs, Kind, NamespacedName, ObjectRef, Objects};

/// Changes that are remembered; of those before them nothing is known, and whoever asks must look himself.
const REMEMBERED: usize = 1024;
/// Changes that are gone through for one question; beyond as many it is as cheap to look.
const GONE_THROUGH: usize = 64;
/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Counts passes, of both lanes.
pub(crate) type Pass = u64;

/// Kept from pass to pass.
#[derive(Default)]
pub(crate) struct Recent {
    pub(crate) pass: Pass,
    /// As the last pass saw them. Holding them keeps an address from becoming another object's.
    seen: Inputs,
    planned: Planned,
    /// The newest last.
    changes: VecDeque<(Pass, Subject)>,
    /// Of changes in this pass and before not all are known.
    forgotten: Pass,
    /// The last pass in which something has changed that routes and backends rest on and that is no [`Subject`].
    others: Pass,
    slices: Slices,
}

/// Of these there are thousands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Of any kind.
    Route(ObjectRef),
    Service(NamespacedName),
    /// The EndpointSlices of a Service.
    Slices(NamespacedName),
}

/// What earlier stages of a pass leave for routes and backends.
#[derive(Default)]
pub(crate) struct Planned {
    pub(crate) tls_policies: BTreeMap<NamespacedName, Arc<PolicyPlan>>,
    pub(crate) backends: BTreeMap<NamespacedName, Arc<BackendPlan>>,
    pub(crate) x_backends: BTreeMap<NamespacedName, Arc<BackendPlan>>,
    pub(crate) gateways: BTreeMap<NamespacedName, Arc<AttachPoints>>,
    pub(crate) listener_sets: BTreeMap<NamespacedName, Arc<AttachPoints>>,
}

impl Recent {
    /// Begins a pass over `inputs`.
    pub(crate) fn begin(&mut self, inputs: &Inputs) {
        self.pass += 1;
        let Self { pass, seen, slices, .. } = self;
        let mut subjects = Vec::new();
        let route = |kind| move |name: &NamespacedName| Subject::Route(ObjectRef::namespaced(kind, name));
        differing(&seen.http_routes, &inputs.http_routes, &mut subjects, route(Kind::HttpRoute));
        differing(&seen.grpc_routes, &inputs.grpc_routes, &mut subjects, route(Kind::GrpcRoute));
        differing(&seen.tls_routes, &inputs.tls_routes, &mut subjects, route(Kind::TlsRoute));
        differing(&seen.tcp_routes, &inputs.tcp_routes, &mut subjects, route(Kind::TcpRoute));
        differing(&seen.udp_routes, &inputs.udp_routes, &mut subjects, route(Kind::UdpRoute));
        differing(&seen.services, &inputs.services, &mut subjects, |name| Subject::Service(name.clone()));
        let moved = slices.follow(&seen.endpoint_slices, &inputs.endpoint_slices);
        subjects.extend(moved.into_iter().map(Subject::Slices));
        if !others_are_same(seen, inputs) {
            self.others = *pass;
        }
        self.changes.extend(subjects.into_iter().map(|subject| (*pass, subject)));
        while self.changes.len() > REMEMBERED
            && let Some((pass, _)) = self.changes.pop_front()
        {
            self.forgotten = pass;
        }
        self.seen = inputs.clone();
    }

    /// What routes and backends rest on is planned now.
    pub(crate) fn note(&mut self, planned: &Planned) {
        let Planned { tls_policies, backends, x_backends, gateways, listener_sets } = planned;
        let same = shared(&self.planned.tls_policies, tls_policies)
            && shared(&self.planned.backends, backends)
            && shared(&self.planned.x_backends, x_backends)
            && shared(&self.planned.gateways, gateways)
            && shared(&self.planned.listener_sets, listener_sets);
        if !same {
            self.others = self.pass;
        }
    }

    /// At the end of a pass that planned.
    pub(crate) fn keep(&mut self, planned: Planned) {
        self.planned = planned;
    }

    /// Whether nothing that `is` names has changed after `since`. False if that is not known.
    pub(crate) fn is_as_in(&self, since: Pass, is: impl Fn(&Subject) -> bool) -> bool {
        let mut after = self.changes.iter().rev().take_while(|(pass, _)| *pass > since);
        since >= self.forgotten
            && !after.by_ref().take(GONE_THROUGH).any(|(_, subject)| is(subject))
            && after.next().is_none()
    }

    /// What has changed after `since`. None: something else has as well, or not all is known.
    pub(crate) fn changes(&self, since: Pass) -> Option<impl Iterator<Item = &Subject>> {
        let after = self.changes.iter().rev().take_while(move |(pass, _)| *pass > since);
        (since >= self.forgotten.max(self.others)).then(|| after.map(|(_, subject)| subject))
    }

    /// By their names.
    pub(crate) fn slices(&self, service: &NamespacedName) -> &[Arc<EndpointSlice>] {
        self.slices.by_service.get(service).map_or(&[], Vec::as_slice)
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("pass", &self.pass).finish_non_exhaustive()
    }
}

/// EndpointSlices by the Service that they belong to, each Service's in the order of their names.
#[derive(Default)]
struct Slices {
    by_service: HashMap<NamespacedName, Vec<Arc<EndpointSlice>>>,
}

impl Slices {
    /// Returns the Services whose slices are others now.
    fn follow(&mut self, before: &Objects<EndpointSlice>, after: &Objects<EndpointSlice>) -> Vec<NamespacedName> {
        let mut moved = Vec::new();
        for item in before.diff(after) {
            let (gone, come) = match item {
                DiffItem::Add(name, slice) => (None, Some((name, slice))),
                DiffItem::Update { old, new } => (Some(old), Some(new)),
                DiffItem::Remove(name, slice) => (Some((name, slice)), None),
            };
            // Under the name that it had, and under the name that it has.
            if let Some((name, slice)) = gone
                && let Some(service) = service_of(name, slice)
            {
                self.take(&service, slice);
                moved.push(service);
            }
            if let Some((name, slice)) = come
                && let Some(service) = service_of(name, slice)
            {
                self.put(&service, slice);
                if moved.last() != Some(&service) {
                    moved.push(service);
                }
            }
        }
        moved
    }

    fn put(&mut self, service: &NamespacedName, slice: &Arc<EndpointSlice>) {
        let slices = match self.by_service.get_mut(service) {
            Some(slices) => slices,
            // Nearly every Service has one.
            None => self.by_service.entry(service.clone()).or_insert_with(|| Vec::with_capacity(1)),
        };
        match slices.binary_search_by(|one| one.metadata.name.cmp(&slice.metadata.name)) {
            Ok(at) => slices[at] = Arc::clone(slice),
            Err(at) => slices.insert(at, Arc::clone(slice)),
        }
    }

    fn take(&mut self, service: &NamespacedName, slice: &EndpointSlice) {
        let Some(slices) = self.by_service.get_mut(service) else { return };
        slices.retain(|one| one.metadata.name != slice.metadata.name);
        if slices.is_empty() {
            self.by_service.remove(service);
        }
    }
}

fn service_of(name: &NamespacedName, slice: &EndpointSlice) -> Option<NamespacedName> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(NamespacedName::new(Arc::clone(&name.namespace), service.as_str()))
}

/// The names under which not the same stands in both.
fn differing<T: PartialEq>(
    before: &Objects<T>,
    after: &Objects<T>,
    subjects: &mut Vec<Subject>,
    subject: impl Fn(&NamespacedName) -> Subject,
) {
    subjects.extend(before.diff(after).map(|item| match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => subject(name),
    }));
}

/// Whether what routes and backends look at is as it was, but for subjects and for what is planned of it ([`Planned`]). Gateways, for
/// one, change with each route that is attached to them; what routes see of them does not.
fn others_are_same(seen: &Inputs, now: &Inputs) -> bool {
    seen.namespaces.ptr_eq(&now.namespaces)
        && seen.reference_grants.ptr_eq(&now.reference_grants)
        && seen.backend_tls_policies.ptr_eq(&now.backend_tls_policies)
        && seen.config_maps.ptr_eq(&now.config_maps)
        && seen.secrets.ptr_eq(&now.secrets)
        && seen.backends.ptr_eq(&now.backends)
        && seen.x_backends.ptr_eq(&now.x_backends)
        && seen.cluster_trust_bundles.ptr_eq(&now.cluster_trust_bundles)
        && seen.invalid.ptr_eq(&now.invalid)
        && seen.absent == now.absent
}

fn shared<V>(before: &BTreeMap<NamespacedName, Arc<V>>, after: &BTreeMap<NamespacedName, Arc<V>>) -> bool {
    before.len() == after.len()
        && before.iter().zip(after).all(|((old, was), (new, is))| Arc::ptr_eq(was, is) && old == new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::core::v1::Namespace;
    use serde_json::json;

    use super::*;
    use crate::Object;

    fn insert(inputs: &mut Inputs, kind: (&str, &str), name: &str, rest: &serde_json::Value) {
        let mut object =
            json!({ "apiVersion": kind.0, "kind": kind.1, "metadata": { "namespace": "ns", "name": name } });
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        inputs.insert(Object::parse(object).unwrap());
    }

    fn service(inputs: &mut Inputs, name: &str, port: u16) {
        insert(inputs, ("v1", "Service"), name, &json!({ "spec": { "ports": [{ "port": port }] } }));
    }

    fn slice(inputs: &mut Inputs, name: &str, service: &str) {
        let metadata = json!({ "namespace": "ns", "name": name, "labels": { SERVICE_NAME: service } });
        let rest = json!({ "metadata": metadata, "addressType": "IPv4", "endpoints": [] });
        insert(inputs, ("discovery.k8s.io/v1", "EndpointSlice"), name, &rest);
    }

    fn name(name: &str) -> NamespacedName {
        NamespacedName::new("ns", name)
    }

    fn is_as_in(recent: &Recent, since: Pass, service: &str) -> bool {
        recent.is_as_in(since, |subject| *subject == Subject::Service(name(service)))
    }

    fn changes(recent: &Recent, since: Pass) -> Option<Vec<Subject>> {
        recent.changes(since).map(|changes| changes.cloned().collect())
    }

    #[test]
    fn a_change_is_known_by_name_to_whoever_looked_before_it() {
        let (mut recent, mut inputs) = (Recent::default(), Inputs::default());
        service(&mut inputs, "a", 1);
        service(&mut inputs, "b", 1);
        recent.begin(&inputs);
        service(&mut inputs, "a", 2);
        recent.begin(&inputs);
        assert!(!is_as_in(&recent, 1, "a") && is_as_in(&recent, 2, "a") && is_as_in(&recent, 1, "b"));
        inputs.services.remove(&name("b"));
        recent.begin(&inputs);
        assert!(!is_as_in(&recent, 2, "b") && is_as_in(&recent, 2, "a"));
        assert_eq!(changes(&recent, 2), Some(vec![Subject::Service(name("b"))]));
        assert_eq!(changes(&recent, 1), Some(vec![Subject::Service(name("b")), Subject::Service(name("a"))]));
    }

    #[test]
    fn what_was_forgotten_counts_as_changed() {
        let (mut recent, mut inputs) = (Recent::default(), Inputs::default());
        recent.begin(&inputs);
        for number in 0..=REMEMBERED {
            service(&mut inputs, &number.to_string(), 1);
        }
        recent.begin(&inputs);
        assert!(!is_as_in(&recent, 1, "elsewhere") && is_as_in(&recent, 2, "elsewhere"));
        assert_eq!((changes(&recent, 1), changes(&recent, 2)), (None, Some(vec![])));
        for number in 0..=GONE_THROUGH {
            service(&mut inputs, &number.to_string(), 2);
        }
        recent.begin(&inputs);
        assert!(!is_as_in(&recent, 2, "elsewhere"), "too many to go through");
        assert_eq!(changes(&recent, 2).map(|all| all.len()), Some(GONE_THROUGH + 1));
    }

    #[test]
    fn a_slice_that_moves_to_another_service_changes_both() {
        let (mut recent, mut inputs) = (Recent::default(), Inputs::default());
        let held = |recent: &Recent, service: &str| -> Vec<String> {
            recent.slices(&name(service)).iter().filter_map(|slice| slice.metadata.name.clone()).collect()
        };
        slice(&mut inputs, "2", "a");
        slice(&mut inputs, "1", "a");
        recent.begin(&inputs);
        assert_eq!(held(&recent, "a"), ["1", "2"]);
        slice(&mut inputs, "2", "b");
        recent.begin(&inputs);
        let moved = ["b", "a"].map(|service| Subject::Slices(name(service)));
        assert_eq!(changes(&recent, 1), Some(moved.to_vec()));
        assert_eq!((held(&recent, "a"), held(&recent, "b")), (vec!["1".to_owned()], vec!["2".to_owned()]));
        inputs.endpoint_slices.clear();
        recent.begin(&inputs);
        assert!(recent.slices.by_service.is_empty());
    }

    #[test]
    fn whatever_else_changes_is_told_to_all() {
        let (mut recent, mut inputs) = (Recent::default(), Inputs::default());
        recent.begin(&inputs);
        recent.begin(&inputs);
        assert_eq!(changes(&recent, 1), Some(vec![]));
        inputs.namespaces.insert("ns".into(), Arc::new(Namespace::default()));
        recent.begin(&inputs);
        assert_eq!((changes(&recent, 2), changes(&recent, 3)), (None, Some(vec![])));
        let points = AttachPoints {
            parent: ObjectRef::namespaced(Kind::Gateway, &name("gw")),
            namespace: "ns".into(),
            points: Vec::new(),
        };
        let planned = Planned { gateways: [(name("gw"), Arc::new(points))].into(), ..Planned::default() };
        recent.begin(&inputs);
        recent.note(&planned);
        assert_eq!(changes(&recent, 3), None);
        recent.keep(planned);
        let planned = Planned { gateways: recent.planned.gateways.clone(), ..Planned::default() };
        recent.begin(&inputs);
        recent.note(&planned);
        assert_eq!(changes(&recent, 4), Some(vec![]));
    }
}
