//! The inputs as one compile sees them. Every look is noted, so that a later pass knows what a result depends on
//! without anybody keeping a list of who cares about whom.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::experimental::grpcroutes::GrpcRoute;
use gateway_api::experimental::httproutes::HttpRoute;
use gateway_api::experimental::tcproutes::TcpRoute;
use gateway_api::experimental::udproutes::UdpRoute;
use gateway_api::referencegrants::ReferenceGrant;
use gateway_api::tlsroutes::TlsRoute;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use portcullis_crds::{AuthPolicy, Backend, RateLimitPolicy};
use portcullis_ir::BackendKind;

use crate::backend_object::BackendPlan;
use crate::gateway::AttachPoints;
use crate::recent::{Pass, Recent};
use crate::tls_policy::PolicyPlan;
use crate::trust_bundle::Found;
use crate::{ClusterTrustBundle, Inputs, Kind, NamespacedName, ObjectRef, XBackend};

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// By namespace and Service.
type SlicesByService<'a> = HashMap<&'a str, HashMap<&'a str, Vec<Arc<EndpointSlice>>>>;

/// The inputs with the indexes that a pass needs, and what earlier stages of the pass found.
pub(crate) struct World<'a> {
    pub(crate) inputs: &'a Inputs,
    grants: HashMap<&'a str, Vec<Arc<ReferenceGrant>>>,
    /// By namespace and Service; made when it is first asked for, which a pass without a new backend never does.
    slices: OnceCell<SlicesByService<'a>>,
    /// By namespace and the name of what they target.
    tls_policies: HashMap<&'a str, HashMap<&'a str, Vec<Arc<BackendTlsPolicy>>>>,
    pub(crate) tls_policy_plans: BTreeMap<NamespacedName, Arc<PolicyPlan>>,
    pub(crate) backends: BTreeMap<NamespacedName, Arc<BackendPlan>>,
    pub(crate) x_backends: BTreeMap<NamespacedName, Arc<BackendPlan>>,
    pub(crate) gateways: BTreeMap<NamespacedName, Arc<AttachPoints>>,
    pub(crate) listener_sets: BTreeMap<NamespacedName, Arc<AttachPoints>>,
    /// Given back to the memo at the end.
    pub(crate) recent: Recent,
}

impl<'a> World<'a> {
    pub(crate) fn new(inputs: &'a Inputs, mut recent: Recent) -> Self {
        recent.begin(inputs, |name, slice| Some(NamespacedName::new(Arc::clone(&name.namespace), service_of(slice)?)));
        let mut grants: HashMap<&str, Vec<_>> = HashMap::new();
        for (name, grant) in &inputs.reference_grants {
            grants.entry(&name.namespace).or_default().push(Arc::clone(grant));
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
            slices: OnceCell::new(),
            tls_policies,
            tls_policy_plans: BTreeMap::new(),
            backends: BTreeMap::new(),
            x_backends: BTreeMap::new(),
            gateways: BTreeMap::new(),
            listener_sets: BTreeMap::new(),
            recent,
        }
    }

    /// Policies of a namespace that target a name, by their own name.
    pub(crate) fn tls_policies(&self, target: &NamespacedName) -> &[Arc<BackendTlsPolicy>] {
        let of_namespace = self.tls_policies.get(&*target.namespace);
        of_namespace.and_then(|targets| targets.get(&*target.name)).map_or(&[], Vec::as_slice)
    }

    /// What an object that stands for a backend comes to; of Services nothing is planned.
    fn backend_plan(&self, kind: BackendKind, name: &NamespacedName) -> Option<&Arc<BackendPlan>> {
        match kind {
            BackendKind::Service => None,
            BackendKind::Backend => self.backends.get(name),
            BackendKind::XBackend => self.x_backends.get(name),
        }
    }

    pub(crate) fn trust_bundle(&self, name: &str) -> Found {
        let reference = ObjectRef::cluster(Kind::ClusterTrustBundle, name);
        if self.inputs.absent.contains(&Kind::ClusterTrustBundle) {
            Found::NotServed
        } else if let Some(bundle) = self.inputs.cluster_trust_bundles.get(name) {
            Found::Bundle(Arc::clone(bundle))
        } else if let Some(why) = self.inputs.invalid.get(&reference) {
            Found::Unreadable(why.clone())
        } else {
            Found::Nothing
        }
    }

    /// Grants of a namespace, by name.
    pub(crate) fn grants(&self, namespace: &str) -> &[Arc<ReferenceGrant>] {
        self.grants.get(namespace).map_or(&[], Vec::as_slice)
    }

    fn slices(&self, service: &NamespacedName) -> &[Arc<EndpointSlice>] {
        let of_namespace = self.slices.get_or_init(|| by_service(self.inputs)).get(&*service.namespace);
        of_namespace.and_then(|services| services.get(&*service.name)).map_or(&[], Vec::as_slice)
    }
}

fn by_service(inputs: &Inputs) -> SlicesByService<'_> {
    let mut slices = SlicesByService::new();
    for (name, slice) in &inputs.endpoint_slices {
        if let Some(service) = service_of(slice) {
            slices.entry(&name.namespace).or_default().entry(service).or_default().push(Arc::clone(slice));
        }
    }
    slices
}

fn service_of(slice: &EndpointSlice) -> Option<&str> {
    slice.metadata.labels.as_ref()?.get(SERVICE_NAME).map(String::as_str)
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
    XBackend(NamespacedName, Option<Arc<XBackend>>),
    BackendPlan(BackendKind, NamespacedName, Option<Arc<BackendPlan>>),
    ConfigMap(NamespacedName, Option<Arc<ConfigMap>>),
    TrustBundle(Arc<str>, Option<Arc<ClusterTrustBundle>>),
    Absent(Kind, bool),
    TlsPolicies(NamespacedName, Vec<Arc<BackendTlsPolicy>>),
    RateLimitPolicy(NamespacedName, Option<Arc<RateLimitPolicy>>),
    AuthPolicy(NamespacedName, Option<Arc<AuthPolicy>>),
    LastGood(NamespacedName, Option<Arc<AuthPolicy>>),
    Secret(NamespacedName, Option<Arc<Secret>>),
    TlsPolicy(NamespacedName, Option<Arc<BackendTlsPolicy>>),
    TlsPolicyPlan(NamespacedName, Option<Arc<PolicyPlan>>),
    Grants(Arc<str>, Vec<Arc<ReferenceGrant>>),
    Invalid(ObjectRef, Option<String>),
}

impl Read {
    /// Whether the same look would see the same now. `since` is the last pass in which it did.
    pub(crate) fn holds(&self, world: &World<'_>, since: Pass) -> bool {
        let World { inputs, recent, .. } = world;
        match self {
            Self::HttpRoute(name, _) if recent.http_routes.is_as_in(since, name) => true,
            Self::Service(name, _) if recent.services.is_as_in(since, name) => true,
            Self::Slices(service, _) if recent.slices.is_as_in(since, service) => true,
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
            Self::XBackend(name, seen) => same(seen, inputs.x_backends.get(name)),
            Self::BackendPlan(kind, name, seen) => same(seen, world.backend_plan(*kind, name)),
            Self::ConfigMap(name, seen) => same(seen, inputs.config_maps.get(name)),
            Self::TrustBundle(name, seen) => same(seen, inputs.cluster_trust_bundles.get(name)),
            Self::Absent(kind, seen) => *seen == inputs.absent.contains(kind),
            Self::TlsPolicies(target, seen) => same_list(seen, world.tls_policies(target)),
            Self::TlsPolicy(name, seen) => same(seen, inputs.backend_tls_policies.get(name)),
            Self::TlsPolicyPlan(name, seen) => same(seen, world.tls_policy_plans.get(name)),
            Self::Grants(namespace, seen) => same_list(seen, world.grants(namespace)),
            Self::RateLimitPolicy(name, seen) => same(seen, inputs.rate_limit_policies.get(name)),
            Self::AuthPolicy(name, seen) => same(seen, inputs.auth_policies.get(name)),
            Self::LastGood(name, seen) => same(seen, inputs.last_good.get(name)),
            Self::Secret(name, seen) => same(seen, inputs.secrets.get(name)),
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

    pub(crate) fn x_backend(&self, name: &NamespacedName) -> Option<Arc<XBackend>> {
        let seen = self.world.inputs.x_backends.get(name).cloned();
        self.note(Read::XBackend(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn backend_plan(&self, kind: BackendKind, name: &NamespacedName) -> Option<Arc<BackendPlan>> {
        let seen = self.world.backend_plan(kind, name).cloned();
        self.note(Read::BackendPlan(kind, name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn config_map(&self, name: &NamespacedName) -> Option<Arc<ConfigMap>> {
        let seen = self.world.inputs.config_maps.get(name).cloned();
        self.note(Read::ConfigMap(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn trust_bundle(&self, name: &str) -> Found {
        let reference = ObjectRef::cluster(Kind::ClusterTrustBundle, name);
        let inputs = self.world.inputs;
        self.note(Read::TrustBundle(name.into(), inputs.cluster_trust_bundles.get(name).cloned()));
        self.note(Read::Absent(reference.kind, inputs.absent.contains(&reference.kind)));
        self.note(Read::Invalid(reference.clone(), inputs.invalid.get(&reference).cloned()));
        self.world.trust_bundle(name)
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

    pub(crate) fn rate_limit_policy(&self, name: &NamespacedName) -> Option<Arc<RateLimitPolicy>> {
        let seen = self.world.inputs.rate_limit_policies.get(name).cloned();
        self.note(Read::RateLimitPolicy(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn auth_policy(&self, name: &NamespacedName) -> Option<Arc<AuthPolicy>> {
        let seen = self.world.inputs.auth_policies.get(name).cloned();
        self.note(Read::AuthPolicy(name.clone(), seen.clone()));
        seen
    }

    /// The newest version of an AuthPolicy that could be honoured.
    pub(crate) fn last_good(&self, name: &NamespacedName) -> Option<Arc<AuthPolicy>> {
        let seen = self.world.inputs.last_good.get(name).cloned();
        self.note(Read::LastGood(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn secret(&self, name: &NamespacedName) -> Option<Arc<Secret>> {
        let seen = self.world.inputs.secrets.get(name).cloned();
        self.note(Read::Secret(name.clone(), seen.clone()));
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
