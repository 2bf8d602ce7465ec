//! One object of any kind that is read, and how it is told from what it is not.

use std::sync::Arc;

use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use gateway_api::httproutes::HttpRoute;
use gateway_api::referencegrants::ReferenceGrant;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use portcullis_crds::{Backend, GatewayParameters};
use serde_json::Value;

use crate::{Kind, NamespacedName, ObjectRef};

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

/// Why a value is no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObject {
    #[error("kind {kind:?} of {api_version:?} is not read; leave it out")]
    Kind { api_version: String, kind: String },
    #[error("metadata.name is missing; give one")]
    Name,
    /// An object that can be named: [`crate::Inputs::insert_invalid`] takes it.
    #[error("{reference} does not parse: {why}; correct the field")]
    Malformed { reference: ObjectRef, why: String },
}

impl Object {
    /// An object from JSON or from YAML read into JSON.
    ///
    /// # Errors
    /// [`InvalidObject`]; a value that names itself keeps its name, so that it can be noted as invalid.
    pub fn parse(value: Value) -> Result<Self, InvalidObject> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text(&value["apiVersion"]), text(&value["kind"]));
        let known = Kind::ALL.into_iter().find(|known| (known.api_version(), known.as_str()) == (&api_version, &kind));
        let kind = known.ok_or(InvalidObject::Kind { api_version, kind })?;
        let metadata = &value["metadata"];
        let name = metadata["name"].as_str().filter(|name| !name.is_empty()).ok_or(InvalidObject::Name)?;
        let reference = if kind.is_namespaced() {
            let namespace = metadata["namespace"].as_str().unwrap_or("default");
            ObjectRef::namespaced(kind, &NamespacedName::new(namespace, name))
        } else {
            ObjectRef::cluster(kind, name)
        };
        let parsed = match kind {
            Kind::GatewayClass => serde_json::from_value(value).map(Self::GatewayClass),
            Kind::Gateway => serde_json::from_value(value).map(Self::Gateway),
            Kind::HttpRoute => serde_json::from_value(value).map(Self::HttpRoute),
            Kind::ReferenceGrant => serde_json::from_value(value).map(Self::ReferenceGrant),
            Kind::Namespace => serde_json::from_value(value).map(Self::Namespace),
            Kind::Service => serde_json::from_value(value).map(Self::Service),
            Kind::EndpointSlice => serde_json::from_value(value).map(Self::EndpointSlice),
            Kind::Secret => serde_json::from_value(value).map(Self::Secret),
            Kind::ConfigMap => serde_json::from_value(value).map(Self::ConfigMap),
            Kind::GatewayParameters => serde_json::from_value(value).map(Self::GatewayParameters),
            Kind::Backend => serde_json::from_value(value).map(Self::Backend),
        };
        // The message could repeat a value; those of Secrets are nobody's business.
        parsed.map_err(|error| InvalidObject::Malformed {
            reference,
            why: if kind == Kind::Secret { "a field has the wrong type".to_owned() } else { error.to_string() },
        })
    }

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

pub(crate) fn own_name(object: &impl Resource) -> Arc<str> {
    object.meta().name.as_deref().unwrap_or_default().into()
}

pub(crate) fn name_of(object: &impl Resource) -> NamespacedName {
    NamespacedName::new(object.meta().namespace.as_deref().unwrap_or("default"), own_name(object))
}
