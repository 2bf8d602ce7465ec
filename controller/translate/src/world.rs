//! The inputs as one compile sees them. Every look is noted, so that a later pass knows what a result depends on
//! without anybody keeping a list of who cares about whom.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::experimental::grpcroutes::GrpcRoute;
use gateway_api::experimental::httproutes::HttpRoute;
use gateway_api::experimental::tcproutes::TcpRoute;
use gateway_api::experimental::udproutes::UdpRoute;
use gateway_api::referencegrants::ReferenceGrant;
use gateway_api::tlsroutes::TlsRoute;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use portcullis_crds::Backend;

use crate::backend_object::BackendPlan;
use crate::gateway::AttachPoints;
use crate::tls_policy::PolicyPlan;
use crate::{Inputs, NamespacedName, ObjectRef};

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The inputs with the indexes that a pass needs, and what earlier stages of the pass found.
pub(crate) struct World<'a> {
    pub(crate) inputs: &'a Inputs,
    grants: HashMap<&'a str, Vec<Arc<ReferenceGrant>>>,
    /// By namespace and Service.
    slices: HashMap<&'a str, HashMap<&'a str, Vec<Arc<EndpointSlice>>>>,
    /// By namespace and the name of what they target.
    tls_policies: HashMap<&'a str, HashMap<&'a str, Vec<Arc<BackendTlsPolicy>>>>,
    pub(crate) tls_policy_plans: BTreeMap<NamespacedName, Arc<PolicyPlan>>,
    pub(crate) backends: BTreeMap<NamespacedName, Arc<BackendPlan>>,
    pub(crate) gateways: BTreeMap<NamespacedName, Arc<AttachPoints>>,
    pub(crate) listener_sets: BTreeMap<NamespacedName, Arc<AttachPoints>>,
}

impl<'a> World<'a> {
    pub(crate) fn new(inputs: &'a Inputs) -> Self {
        let mut grants: HashMap<&str, Vec<_>> = HashMap::new();
        for (name, grant) in &inputs.reference_grants {
            grants.entry(&name.namespace).or_default().push(Arc::clone(grant));
        }
        let mut slices: HashMap<&str, HashMap<&str, Vec<_>>> = HashMap::new();
        for (name, slice) in &inputs.endpoint_slices {
            let labels = slice.metadata.labels.as_ref();
            if let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)) {
                let of_service = slices.entry(&name.namespace).or_default().entry(service).or_default();
                of_service.push(Arc::clone(slice));
            }
        }
        let mut tls_policies: HashMap<&str, HashMap<&str, Vec<_>>> = HashMap::new();
        for (name, policy) in &inputs.backend_tls_policies {
            for target in &policy.spec.target_refs {
                let of_namespace = tls_policies.entry(&name.namespace).or_default();
                let of_target: &mut Vec<Arc<_>> = of_namespace.entry(&target.name).or_default();
                // A policy may target several ports of one Service.
                if !of_target.last().is_some_and(|last| Arc::ptr_eq(last, policy)) {
                    of_target.push(Arc::clone(policy));
                }
            }
        }
        Self {
            inputs,
            grants,
            slices,
            tls_policies,
            tls_policy_plans: BTreeMap::new(),
            backends: BTreeMap::new(),
            gateways: BTreeMap::new(),
            listener_sets: BTreeMap::new(),
        }
    }

    /// Policies of a namespace that target a name, by their own name.
    pub(crate) fn tls_policies(&self, target: &NamespacedName) -> &[Arc<BackendTlsPolicy>] {
        let of_namespace = self.tls_policies.get(&*target.namespace);
        of_namespace.and_then(|targets| targets.get(&*target.name)).map_or(&[], Vec::as_slice)
    }

    /// Grants of a namespace, by name.
    pub(crate) fn grants(&self, namespace: &str) -> &[Arc<ReferenceGrant>] {
        self.grants.get(namespace).map_or(&[], Vec::as_slice)
    }

    fn slices(&self, service: &NamespacedName) -> &[Arc<EndpointSlice>] {
        let of_namespace = self.slices.get(&*service.namespace);
        of_namespace.and_then(|services| services.get(&*service.name)).map_or(&[], Vec::as_slice)
    }
}

/// One look at the world and what was seen.
pub(crate) enum Read {
    HttpRoute(NamespacedName, Option<Arc<HttpRoute>>),
    GrpcRoute(NamespacedName, Option<Arc<GrpcRoute>>),
    TlsRoute(NamespacedName, Option<Arc<TlsRoute>>),
    TcpRoute(NamespacedName, Option<Arc<TcpRoute>>),
    UdpRoute(NamespacedName, Option<Arc<UdpRoute>>),
    Gateway(NamespacedName, Option<Arc<AttachPoints>>),
    ListenerSet(NamespacedName, Option<Arc<AttachPoints>>),
    Namespace(Arc<str>, Option<Arc<Namespace>>),
    Service(NamespacedName, Option<Arc<Service>>),
    Slices(NamespacedName, Vec<Arc<EndpointSlice>>),
    Backend(NamespacedName, Option<Arc<Backend>>),
    BackendPlan(NamespacedName, Option<Arc<BackendPlan>>),
    ConfigMap(NamespacedName, Option<Arc<ConfigMap>>),
    TlsPolicies(NamespacedName, Vec<Arc<BackendTlsPolicy>>),
    TlsPolicy(NamespacedName, Option<Arc<BackendTlsPolicy>>),
    TlsPolicyPlan(NamespacedName, Option<Arc<PolicyPlan>>),
    Grants(Arc<str>, Vec<Arc<ReferenceGrant>>),
    Invalid(ObjectRef, Option<String>),
}

impl Read {
    /// Whether the same look would see the same now.
    pub(crate) fn holds(&self, world: &World<'_>) -> bool {
        let inputs = world.inputs;
        match self {
            Self::HttpRoute(name, seen) => same(seen, inputs.http_routes.get(name)),
            Self::GrpcRoute(name, seen) => same(seen, inputs.grpc_routes.get(name)),
            Self::TlsRoute(name, seen) => same(seen, inputs.tls_routes.get(name)),
            Self::TcpRoute(name, seen) => same(seen, inputs.tcp_routes.get(name)),
            Self::UdpRoute(name, seen) => same(seen, inputs.udp_routes.get(name)),
            Self::Gateway(name, seen) => same(seen, world.gateways.get(name)),
            Self::ListenerSet(name, seen) => same(seen, world.listener_sets.get(name)),
            Self::Namespace(name, seen) => same(seen, inputs.namespaces.get(name)),
            Self::Service(name, seen) => same(seen, inputs.services.get(name)),
            Self::Slices(name, seen) => same_list(seen, world.slices(name)),
            Self::Backend(name, seen) => same(seen, inputs.backends.get(name)),
            Self::BackendPlan(name, seen) => same(seen, world.backends.get(name)),
            Self::ConfigMap(name, seen) => same(seen, inputs.config_maps.get(name)),
            Self::TlsPolicies(target, seen) => same_list(seen, world.tls_policies(target)),
            Self::TlsPolicy(name, seen) => same(seen, inputs.backend_tls_policies.get(name)),
            Self::TlsPolicyPlan(name, seen) => same(seen, world.tls_policy_plans.get(name)),
            Self::Grants(namespace, seen) => same_list(seen, world.grants(namespace)),
            Self::Invalid(reference, seen) => seen.as_ref() == inputs.invalid.get(reference),
        }
    }
}

/// Identity first: the `Arc` that was seen is held by the read, so its address cannot be another object's.
fn same<T>(seen: &Option<Arc<T>>, now: Option<&Arc<T>>) -> bool {
    match (seen, now) {
        (Some(seen), Some(now)) => Arc::ptr_eq(seen, now),
        (None, None) => true,
        _ => false,
    }
}

fn same_list<T>(seen: &[Arc<T>], now: &[Arc<T>]) -> bool {
    seen.len() == now.len() && seen.iter().zip(now).all(|(seen, now)| Arc::ptr_eq(seen, now))
}

/// The world through which one object is compiled.
pub(crate) struct Reader<'w, 'a> {
    world: &'w World<'a>,
    reads: RefCell<Vec<Read>>,
}

impl<'w, 'a> Reader<'w, 'a> {
    pub(crate) fn new(world: &'w World<'a>) -> Self {
        Self { world, reads: RefCell::default() }
    }

    pub(crate) fn into_reads(self) -> Vec<Read> {
        self.reads.into_inner()
    }

    pub(crate) fn http_route(&self, name: &NamespacedName) -> Option<Arc<HttpRoute>> {
        let seen = self.world.inputs.http_routes.get(name).cloned();
        self.note(Read::HttpRoute(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn grpc_route(&self, name: &NamespacedName) -> Option<Arc<GrpcRoute>> {
        let seen = self.world.inputs.grpc_routes.get(name).cloned();
        self.note(Read::GrpcRoute(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn tls_route(&self, name: &NamespacedName) -> Option<Arc<TlsRoute>> {
        let seen = self.world.inputs.tls_routes.get(name).cloned();
        self.note(Read::TlsRoute(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn tcp_route(&self, name: &NamespacedName) -> Option<Arc<TcpRoute>> {
        let seen = self.world.inputs.tcp_routes.get(name).cloned();
        self.note(Read::TcpRoute(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn udp_route(&self, name: &NamespacedName) -> Option<Arc<UdpRoute>> {
        let seen = self.world.inputs.udp_routes.get(name).cloned();
        self.note(Read::UdpRoute(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn gateway(&self, name: &NamespacedName) -> Option<Arc<AttachPoints>> {
        let seen = self.world.gateways.get(name).cloned();
        self.note(Read::Gateway(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn listener_set(&self, name: &NamespacedName) -> Option<Arc<AttachPoints>> {
        let seen = self.world.listener_sets.get(name).cloned();
        self.note(Read::ListenerSet(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn namespace(&self, name: &Arc<str>) -> Option<Arc<Namespace>> {
        let seen = self.world.inputs.namespaces.get(name).cloned();
        self.note(Read::Namespace(Arc::clone(name), seen.clone()));
        seen
    }

    pub(crate) fn service(&self, name: &NamespacedName) -> Option<Arc<Service>> {
        let seen = self.world.inputs.services.get(name).cloned();
        self.note(Read::Service(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn slices(&self, service: &NamespacedName) -> Vec<Arc<EndpointSlice>> {
        let seen = self.world.slices(service).to_vec();
        self.note(Read::Slices(service.clone(), seen.clone()));
        seen
    }

    pub(crate) fn backend(&self, name: &NamespacedName) -> Option<Arc<Backend>> {
        let seen = self.world.inputs.backends.get(name).cloned();
        self.note(Read::Backend(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn backend_plan(&self, name: &NamespacedName) -> Option<Arc<BackendPlan>> {
        let seen = self.world.backends.get(name).cloned();
        self.note(Read::BackendPlan(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn config_map(&self, name: &NamespacedName) -> Option<Arc<ConfigMap>> {
        let seen = self.world.inputs.config_maps.get(name).cloned();
        self.note(Read::ConfigMap(name.clone(), seen.clone()));
        seen
    }

    /// BackendTLSPolicies of a namespace that target a name.
    pub(crate) fn tls_policies(&self, target: &NamespacedName) -> Vec<Arc<BackendTlsPolicy>> {
        let seen = self.world.tls_policies(target).to_vec();
        self.note(Read::TlsPolicies(target.clone(), seen.clone()));
        seen
    }

    pub(crate) fn tls_policy(&self, name: &NamespacedName) -> Option<Arc<BackendTlsPolicy>> {
        let seen = self.world.inputs.backend_tls_policies.get(name).cloned();
        self.note(Read::TlsPolicy(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn tls_policy_plan(&self, name: &NamespacedName) -> Option<Arc<PolicyPlan>> {
        let seen = self.world.tls_policy_plans.get(name).cloned();
        self.note(Read::TlsPolicyPlan(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn grants(&self, namespace: &Arc<str>) -> Vec<Arc<ReferenceGrant>> {
        let seen = self.world.grants(namespace).to_vec();
        self.note(Read::Grants(Arc::clone(namespace), seen.clone()));
        seen
    }

    /// Why an object that exists did not parse.
    pub(crate) fn invalid(&self, reference: &ObjectRef) -> Option<String> {
        let seen = self.world.inputs.invalid.get(reference).cloned();
        self.note(Read::Invalid(reference.clone(), seen.clone()));
        seen
    }

    fn note(&self, read: Read) {
        self.reads.borrow_mut().push(read);
    }
}
