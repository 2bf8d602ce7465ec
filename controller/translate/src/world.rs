//! The inputs as one compile sees them. Every look is noted, so that a later pass knows what a result depends on
//! without anybody keeping a list of who cares about whom.

use std::cell::RefCell;
use std::collections::HashMap;
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
use crate::recent::{Pass, Planned, Recent, Subject};
use crate::tls_policy::PolicyPlan;
use crate::trust_bundle::Found;
use crate::{ClusterTrustBundle, Inputs, Kind, NamespacedName, ObjectRef, XBackend};

/// The inputs with the indexes that a pass needs, and what earlier stages of the pass found.
pub(crate) struct World<'a> {
    pub(crate) inputs: &'a Inputs,
    grants: HashMap<&'a str, Vec<Arc<ReferenceGrant>>>,
    /// By namespace and the name of what they target.
    tls_policies: HashMap<&'a str, HashMap<&'a str, Vec<Arc<BackendTlsPolicy>>>>,
    pub(crate) planned: Planned,
    /// Given back to the memo at the end.
    pub(crate) recent: Recent,
}

impl<'a> World<'a> {
    pub(crate) fn new(inputs: &'a Inputs, mut recent: Recent) -> Self {
        recent.begin(inputs);
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
        Self { inputs, grants, tls_policies, planned: Planned::default(), recent }
    }

    /// All is planned that routes and backends rest on.
    pub(crate) fn note_planned(&mut self) {
        self.recent.note(&self.planned);
    }

    /// At the end of a pass that planned.
    pub(crate) fn into_recent(self) -> Recent {
        let Self { mut recent, planned, .. } = self;
        recent.keep(planned);
        recent
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
            BackendKind::Backend => self.planned.backends.get(name),
            BackendKind::XBackend => self.planned.x_backends.get(name),
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
        let as_in = |is: &dyn Fn(&Subject) -> bool| recent.is_as_in(since, is);
        match self {
            Self::HttpRoute(name, _)
                if as_in(&|subject| matches!(subject, Subject::Route(one) if is_http(one, name))) =>
            {
                true
            }
            Self::Service(name, _) if as_in(&|subject| matches!(subject, Subject::Service(one) if one == name)) => true,
            Self::Slices(name, _) if as_in(&|subject| matches!(subject, Subject::Slices(one) if one == name)) => true,
            Self::HttpRoute(name, seen) => same(seen, inputs.http_routes.get(name)),
            Self::GrpcRoute(name, seen) => same(seen, inputs.grpc_routes.get(name)),
            Self::TlsRoute(name, seen) => same(seen, inputs.tls_routes.get(name)),
            Self::TcpRoute(name, seen) => same(seen, inputs.tcp_routes.get(name)),
            Self::UdpRoute(name, seen) => same(seen, inputs.udp_routes.get(name)),
            Self::Gateway(name, seen) => same(seen, world.planned.gateways.get(name)),
            Self::ListenerSet(name, seen) => same(seen, world.planned.listener_sets.get(name)),
            Self::Namespace(name, seen) => same(seen, inputs.namespaces.get(name)),
            Self::Service(name, seen) => same(seen, inputs.services.get(name)),
            Self::Slices(name, seen) => same_list(seen, recent.slices(name)),
            Self::Backend(name, seen) => same(seen, inputs.backends.get(name)),
            Self::XBackend(name, seen) => same(seen, inputs.x_backends.get(name)),
            Self::BackendPlan(kind, name, seen) => same(seen, world.backend_plan(*kind, name)),
            Self::ConfigMap(name, seen) => same(seen, inputs.config_maps.get(name)),
            Self::TrustBundle(name, seen) => same(seen, inputs.cluster_trust_bundles.get(name)),
            Self::Absent(kind, seen) => *seen == inputs.absent.contains(kind),
            Self::TlsPolicies(target, seen) => same_list(seen, world.tls_policies(target)),
            Self::TlsPolicy(name, seen) => same(seen, inputs.backend_tls_policies.get(name)),
            Self::TlsPolicyPlan(name, seen) => same(seen, world.planned.tls_policies.get(name)),
            Self::Grants(namespace, seen) => same_list(seen, world.grants(namespace)),
            Self::RateLimitPolicy(name, seen) => same(seen, inputs.rate_limit_policies.get(name)),
            Self::AuthPolicy(name, seen) => same(seen, inputs.auth_policies.get(name)),
            Self::LastGood(name, seen) => same(seen, inputs.last_good.get(name)),
            Self::Secret(name, seen) => same(seen, inputs.secrets.get(name)),
            Self::Invalid(reference, seen) => seen.as_ref() == inputs.invalid.get(reference),
        }
    }
}

fn is_http(route: &ObjectRef, name: &NamespacedName) -> bool {
    route.kind == Kind::HttpRoute && route.name == name.name && route.namespace.as_ref() == Some(&name.namespace)
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

    pub(crate) fn into_reads(self) -> Box<[Read]> {
        self.reads.into_inner().into_boxed_slice()
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
        let seen = self.world.planned.gateways.get(name).cloned();
        self.note(Read::Gateway(name.clone(), seen.clone()));
        seen
    }

    pub(crate) fn listener_set(&self, name: &NamespacedName) -> Option<Arc<AttachPoints>> {
        let seen = self.world.planned.listener_sets.get(name).cloned();
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
        let seen = self.world.recent.slices(service).to_vec();
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
        let seen = self.world.planned.tls_policies.get(name).cloned();
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
