//! The world as it was read: every object that `translate` looks at.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::httproutes::HttpRoute;
use gateway_api::referencegrants::ReferenceGrant;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use portcullis_crds::{Backend, GatewayParameters};

use crate::{Kind, NamespacedName, ObjectRef};

/// Immutable while it is translated. Cloning shares the objects; an unchanged object should keep its `Arc` from one
/// pass to the next, which is what makes a pass cheap.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The time of this pass: what conditions that change now say, and what certificates are checked against.
    pub now: Timestamp,
    pub gateway_classes: BTreeMap<Arc<str>, Arc<GatewayClass>>,
    pub gateways: BTreeMap<NamespacedName, Arc<Gateway>>,
    pub http_routes: BTreeMap<NamespacedName, Arc<HttpRoute>>,
    pub reference_grants: BTreeMap<NamespacedName, Arc<ReferenceGrant>>,
    pub namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    pub services: BTreeMap<NamespacedName, Arc<Service>>,
    pub endpoint_slices: BTreeMap<NamespacedName, Arc<EndpointSlice>>,
    pub secrets: BTreeMap<NamespacedName, Arc<Secret>>,
    pub config_maps: BTreeMap<NamespacedName, Arc<ConfigMap>>,
    pub gateway_parameters: BTreeMap<NamespacedName, Arc<GatewayParameters>>,
    pub backends: BTreeMap<NamespacedName, Arc<Backend>>,
    /// Objects that exist but did not parse, and why. What refers to them degrades; they never count as their former
    /// selves, so they stand in none of the maps above.
    pub invalid: BTreeMap<ObjectRef, String>,
}

/// Any object that [`Inputs`] holds.
#[derive(Clone, Debug)]
pub enum Object {
    GatewayClass(Arc<GatewayClass>),
    Gateway(Arc<Gateway>),
    HttpRoute(Arc<HttpRoute>),
    ReferenceGrant(Arc<ReferenceGrant>),
    Namespace(Arc<Namespace>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
    GatewayParameters(Arc<GatewayParameters>),
    Backend(Arc<Backend>),
}

impl Object {
    /// The object's own name; a namespaced object without a namespace is in `default`.
    pub fn reference(&self) -> ObjectRef {
        match self {
            Self::GatewayClass(object) => ObjectRef::cluster(Kind::GatewayClass, own_name(&**object)),
            Self::Namespace(object) => ObjectRef::cluster(Kind::Namespace, own_name(&**object)),
            Self::Gateway(object) => ObjectRef::namespaced(Kind::Gateway, &name_of(&**object)),
            Self::HttpRoute(object) => ObjectRef::namespaced(Kind::HttpRoute, &name_of(&**object)),
            Self::ReferenceGrant(object) => ObjectRef::namespaced(Kind::ReferenceGrant, &name_of(&**object)),
            Self::Service(object) => ObjectRef::namespaced(Kind::Service, &name_of(&**object)),
            Self::EndpointSlice(object) => ObjectRef::namespaced(Kind::EndpointSlice, &name_of(&**object)),
            Self::Secret(object) => ObjectRef::namespaced(Kind::Secret, &name_of(&**object)),
            Self::ConfigMap(object) => ObjectRef::namespaced(Kind::ConfigMap, &name_of(&**object)),
            Self::GatewayParameters(object) => ObjectRef::namespaced(Kind::GatewayParameters, &name_of(&**object)),
            Self::Backend(object) => ObjectRef::namespaced(Kind::Backend, &name_of(&**object)),
        }
    }
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
            Object::Gateway(object) => put(&mut self.gateways, object),
            Object::HttpRoute(object) => put(&mut self.http_routes, object),
            Object::ReferenceGrant(object) => put(&mut self.reference_grants, object),
            Object::Service(object) => put(&mut self.services, object),
            Object::EndpointSlice(object) => put(&mut self.endpoint_slices, object),
            Object::Secret(object) => put(&mut self.secrets, object),
            Object::ConfigMap(object) => put(&mut self.config_maps, object),
            Object::GatewayParameters(object) => put(&mut self.gateway_parameters, object),
            Object::Backend(object) => put(&mut self.backends, object),
        }
    }

    /// Notes an object that did not parse: its former self is gone.
    pub fn insert_invalid(&mut self, reference: ObjectRef, why: impl Into<String>) {
        self.remove(&reference);
        self.invalid.insert(reference, why.into());
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
            _ => {}
        }
        let Some(namespace) = namespace else { return };
        let name = NamespacedName::new(Arc::clone(namespace), Arc::clone(name));
        match kind {
            Kind::GatewayClass | Kind::Namespace => {}
            Kind::Gateway => drop(self.gateways.remove(&name)),
            Kind::HttpRoute => drop(self.http_routes.remove(&name)),
            Kind::ReferenceGrant => drop(self.reference_grants.remove(&name)),
            Kind::Service => drop(self.services.remove(&name)),
            Kind::EndpointSlice => drop(self.endpoint_slices.remove(&name)),
            Kind::Secret => drop(self.secrets.remove(&name)),
            Kind::ConfigMap => drop(self.config_maps.remove(&name)),
            Kind::GatewayParameters => drop(self.gateway_parameters.remove(&name)),
            Kind::Backend => drop(self.backends.remove(&name)),
        }
    }
}

fn put<T: Resource>(map: &mut BTreeMap<NamespacedName, Arc<T>>, object: Arc<T>) {
    map.insert(name_of(&*object), object);
}

fn own_name(object: &impl Resource) -> Arc<str> {
    object.meta().name.as_deref().unwrap_or_default().into()
}

fn name_of(object: &impl Resource) -> NamespacedName {
    NamespacedName::new(object.meta().namespace.as_deref().unwrap_or("default"), own_name(object))
}
