//! The world as it was read: every object that `translate` looks at.

use std::collections::BTreeSet;
use std::sync::Arc;

use gateway_api::backendtlspolicies::BackendTlsPolicy;
use gateway_api::experimental::grpcroutes::GrpcRoute;
use gateway_api::experimental::httproutes::HttpRoute;
use gateway_api::experimental::tcproutes::TcpRoute;
use gateway_api::experimental::udproutes::UdpRoute;
use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::listenersets::ListenerSet;
use gateway_api::referencegrants::ReferenceGrant;
use gateway_api::tlsroutes::TlsRoute;
use imbl::OrdMap;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use portcullis_crds::{AuthPolicy, Backend, GatewayParameters, RateLimitPolicy};
use portcullis_ir::{GatewayKey, Issuer, IssuerKey, RouteKind, Table};

use crate::object::{name_of, own_name};
use crate::{ClusterTrustBundle, Installed, Kind, NamespacedName, Object, ObjectRef, RouteObject, XBackend};

/// Objects of one kind by their names.
pub type Objects<T> = Table<NamespacedName, T>;

/// Immutable while it is translated. A copy costs nothing; maps and objects that stay the same from one pass to the next are
/// shared, and a pass looks only at what is not.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The time of this pass: what conditions that change now say, and what certificates are checked against.
    pub now: Timestamp,
    /// The Gateway API itself: what GatewayClasses publish depends on it, and nothing else.
    pub installed: Installed,
    pub gateway_classes: Table<Arc<str>, GatewayClass>,
    pub gateways: Objects<Gateway>,
    pub http_routes: Objects<HttpRoute>,
    pub grpc_routes: Objects<GrpcRoute>,
    pub tls_routes: Objects<TlsRoute>,
    pub tcp_routes: Objects<TcpRoute>,
    pub udp_routes: Objects<UdpRoute>,
    pub listener_sets: Objects<ListenerSet>,
    pub backend_tls_policies: Objects<BackendTlsPolicy>,
    pub reference_grants: Objects<ReferenceGrant>,
    pub namespaces: Table<Arc<str>, Namespace>,
    pub services: Objects<Service>,
    pub endpoint_slices: Objects<EndpointSlice>,
    pub secrets: Objects<Secret>,
    pub config_maps: Objects<ConfigMap>,
    pub gateway_parameters: Objects<GatewayParameters>,
    pub backends: Objects<Backend>,
    pub rate_limit_policies: Objects<RateLimitPolicy>,
    pub auth_policies: Objects<AuthPolicy>,
    /// The newest version of each AuthPolicy that could be honoured, as the caller kept it from
    /// [`crate::Output::good_auth_policies`]: what goes on counting while the present one cannot. One with another uid
    /// is another policy and says nothing.
    pub last_good: Objects<AuthPolicy>,
    /// Ready data planes of each Gateway; 1 of those that are not listed.
    pub replicas: OrdMap<GatewayKey, u32>,
    /// What was fetched of [`crate::Output::issuers`]; none of those that nothing was obtained of yet.
    pub issuers: Table<IssuerKey, Issuer>,
    pub x_backends: Objects<XBackend>,
    pub cluster_trust_bundles: Table<Arc<str>, ClusterTrustBundle>,
    /// Kinds that the API server does not have.
    pub absent: BTreeSet<Kind>,
    /// Objects that exist but did not parse, and why. What refers to them degrades; they never count as their former
    /// selves, so they stand in none of the maps above.
    pub invalid: OrdMap<ObjectRef, String>,
}

impl Inputs {
    /// Puts an object under its own name, in place of what was there, valid or not.
    pub fn insert(&mut self, object: Object) {
        self.invalid.remove(&object.reference());
        match object {
            Object::GatewayClass(object) => {
                self.gateway_classes.insert(own_name(&*object), object);
            }
            Object::Namespace(object) => {
                self.namespaces.insert(own_name(&*object), object);
            }
            Object::ClusterTrustBundle(object) => {
                self.cluster_trust_bundles.insert(own_name(&*object), object);
            }
            Object::Gateway(object) => put(&mut self.gateways, object),
            Object::HttpRoute(object) => put(&mut self.http_routes, object),
            Object::GrpcRoute(object) => put(&mut self.grpc_routes, object),
            Object::TlsRoute(object) => put(&mut self.tls_routes, object),
            Object::TcpRoute(object) => put(&mut self.tcp_routes, object),
            Object::UdpRoute(object) => put(&mut self.udp_routes, object),
            Object::ListenerSet(object) => put(&mut self.listener_sets, object),
            Object::BackendTlsPolicy(object) => put(&mut self.backend_tls_policies, object),
            Object::ReferenceGrant(object) => put(&mut self.reference_grants, object),
            Object::Service(object) => put(&mut self.services, object),
            Object::EndpointSlice(object) => put(&mut self.endpoint_slices, object),
            Object::Secret(object) => put(&mut self.secrets, object),
            Object::ConfigMap(object) => put(&mut self.config_maps, object),
            Object::GatewayParameters(object) => put(&mut self.gateway_parameters, object),
            Object::Backend(object) => put(&mut self.backends, object),
            Object::RateLimitPolicy(object) => put(&mut self.rate_limit_policies, object),
            Object::AuthPolicy(object) => put(&mut self.auth_policies, object),
            Object::XBackend(object) => put(&mut self.x_backends, object),
        }
    }

    /// Notes an object that did not parse: its former self is gone.
    pub fn insert_invalid(&mut self, reference: ObjectRef, why: impl Into<String>) {
        self.remove(&reference);
        self.invalid.insert(reference, why.into());
    }

    /// The objects of a kind, valid or not.
    pub fn references(&self, kind: Kind) -> Vec<ObjectRef> {
        fn namespaced<T>(kind: Kind, map: &Objects<T>) -> Vec<ObjectRef> {
            map.keys().map(|name| ObjectRef::namespaced(kind, name)).collect()
        }
        let mut all: Vec<ObjectRef> = match kind {
            Kind::GatewayClass => {
                self.gateway_classes.keys().map(|name| ObjectRef::cluster(kind, name.clone())).collect()
            }
            Kind::Namespace => self.namespaces.keys().map(|name| ObjectRef::cluster(kind, name.clone())).collect(),
            Kind::ClusterTrustBundle => {
                self.cluster_trust_bundles.keys().map(|name| ObjectRef::cluster(kind, name.clone())).collect()
            }
            Kind::Gateway => namespaced(kind, &self.gateways),
            Kind::HttpRoute => namespaced(kind, &self.http_routes),
            Kind::GrpcRoute => namespaced(kind, &self.grpc_routes),
            Kind::TlsRoute => namespaced(kind, &self.tls_routes),
            Kind::TcpRoute => namespaced(kind, &self.tcp_routes),
            Kind::UdpRoute => namespaced(kind, &self.udp_routes),
            Kind::ListenerSet => namespaced(kind, &self.listener_sets),
            Kind::BackendTlsPolicy => namespaced(kind, &self.backend_tls_policies),
            Kind::ReferenceGrant => namespaced(kind, &self.reference_grants),
            Kind::Service => namespaced(kind, &self.services),
            Kind::EndpointSlice => namespaced(kind, &self.endpoint_slices),
            Kind::Secret => namespaced(kind, &self.secrets),
            Kind::ConfigMap => namespaced(kind, &self.config_maps),
            Kind::GatewayParameters => namespaced(kind, &self.gateway_parameters),
            Kind::Backend => namespaced(kind, &self.backends),
            Kind::RateLimitPolicy => namespaced(kind, &self.rate_limit_policies),
            Kind::AuthPolicy => namespaced(kind, &self.auth_policies),
            Kind::XBackend => namespaced(kind, &self.x_backends),
        };
        all.extend(self.invalid.keys().filter(|reference| reference.kind == kind).cloned());
        all
    }

    /// How many objects of a kind there are that parse.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::GatewayClass => self.gateway_classes.len(),
            Kind::Gateway => self.gateways.len(),
            Kind::HttpRoute => self.http_routes.len(),
            Kind::GrpcRoute => self.grpc_routes.len(),
            Kind::TlsRoute => self.tls_routes.len(),
            Kind::TcpRoute => self.tcp_routes.len(),
            Kind::UdpRoute => self.udp_routes.len(),
            Kind::ListenerSet => self.listener_sets.len(),
            Kind::BackendTlsPolicy => self.backend_tls_policies.len(),
            Kind::ReferenceGrant => self.reference_grants.len(),
            Kind::Namespace => self.namespaces.len(),
            Kind::Service => self.services.len(),
            Kind::EndpointSlice => self.endpoint_slices.len(),
            Kind::Secret => self.secrets.len(),
            Kind::ConfigMap => self.config_maps.len(),
            Kind::GatewayParameters => self.gateway_parameters.len(),
            Kind::Backend => self.backends.len(),
            Kind::RateLimitPolicy => self.rate_limit_policies.len(),
            Kind::AuthPolicy => self.auth_policies.len(),
            Kind::XBackend => self.x_backends.len(),
            Kind::ClusterTrustBundle => self.cluster_trust_bundles.len(),
        }
    }

    /// A route of any kind, for what all kinds have in common.
    pub fn route(&self, reference: &ObjectRef) -> Option<&dyn RouteObject> {
        fn of<'a, T: RouteObject>(map: &'a Objects<T>, name: &NamespacedName) -> Option<&'a dyn RouteObject> {
            map.get(name).map(|object| &**object as &dyn RouteObject)
        }
        let name = NamespacedName::new(Arc::clone(reference.namespace.as_ref()?), Arc::clone(&reference.name));
        match reference.kind.route_kind()? {
            RouteKind::HttpRoute => of(&self.http_routes, &name),
            RouteKind::GrpcRoute => of(&self.grpc_routes, &name),
            RouteKind::TlsRoute => of(&self.tls_routes, &name),
            RouteKind::TcpRoute => of(&self.tcp_routes, &name),
            RouteKind::UdpRoute => of(&self.udp_routes, &name),
        }
    }

    pub fn remove(&mut self, reference: &ObjectRef) {
        self.invalid.remove(reference);
        let ObjectRef { kind, namespace, name } = reference;
        match kind {
            Kind::GatewayClass => {
                self.gateway_classes.remove(name);
                return;
            }
            Kind::Namespace => {
                self.namespaces.remove(name);
                return;
            }
            Kind::ClusterTrustBundle => {
                self.cluster_trust_bundles.remove(name);
                return;
            }
            _ => {}
        }
        let Some(namespace) = namespace else { return };
        let name = NamespacedName::new(Arc::clone(namespace), Arc::clone(name));
        match kind {
            Kind::GatewayClass | Kind::Namespace | Kind::ClusterTrustBundle => {}
            Kind::Gateway => drop(self.gateways.remove(&name)),
            Kind::HttpRoute => drop(self.http_routes.remove(&name)),
            Kind::GrpcRoute => drop(self.grpc_routes.remove(&name)),
            Kind::TlsRoute => drop(self.tls_routes.remove(&name)),
            Kind::TcpRoute => drop(self.tcp_routes.remove(&name)),
            Kind::UdpRoute => drop(self.udp_routes.remove(&name)),
            Kind::ListenerSet => drop(self.listener_sets.remove(&name)),
            Kind::BackendTlsPolicy => drop(self.backend_tls_policies.remove(&name)),
            Kind::ReferenceGrant => drop(self.reference_grants.remove(&name)),
            Kind::Service => drop(self.services.remove(&name)),
            Kind::EndpointSlice => drop(self.endpoint_slices.remove(&name)),
            Kind::Secret => drop(self.secrets.remove(&name)),
            Kind::ConfigMap => drop(self.config_maps.remove(&name)),
            Kind::GatewayParameters => drop(self.gateway_parameters.remove(&name)),
            Kind::Backend => drop(self.backends.remove(&name)),
            Kind::RateLimitPolicy => drop(self.rate_limit_policies.remove(&name)),
            Kind::AuthPolicy => drop(self.auth_policies.remove(&name)),
            Kind::XBackend => drop(self.x_backends.remove(&name)),
        }
    }
}

fn put<T: Resource>(map: &mut Objects<T>, object: Arc<T>) {
    map.insert(name_of(&*object), object);
}
