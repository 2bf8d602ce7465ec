//! GatewayParameters, resolved for a class or a Gateway.

use std::sync::Arc;

use portcullis_crds::{CounterStore, GatewayParameters, GatewayParametersSpec, InvalidParameter};

use crate::condition::{ConditionType, Reason, Verdict};
use crate::{Inputs, Kind, NamespacedName, ObjectRef};

/// What the parameters say, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Parameters {
    spec: GatewayParametersSpec,
    /// Where what `counterStore` names stands: beside the object that says it.
    store_namespace: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidParameters {
    #[error("parametersRef needs a namespace; GatewayParameters are namespaced")]
    NoNamespace,
    #[error("parametersRef names {kind} of group {group:?}; use GatewayParameters of portcullis.dev")]
    Kind { group: String, kind: String },
    #[error("GatewayParameters {0} does not exist; create it or correct the name")]
    NotFound(NamespacedName),
    #[error("GatewayParameters {name} cannot be read: {why}")]
    Unreadable { name: NamespacedName, why: String },
    #[error(transparent)]
    Spec(#[from] InvalidParameter),
    #[error("over the GatewayClass's parameters: {0}")]
    Merged(InvalidParameter),
    #[error("GatewayClass {class} is not accepted: {why}")]
    Class { class: String, why: String },
}

impl Parameters {
    /// These, and where they say nothing the class's. What each says alone can contradict the other's.
    pub(crate) fn over(&self, class: &Self) -> Result<Self, InvalidParameters> {
        let spec = self.spec.over(&class.spec);
        spec.check().map_err(InvalidParameters::Merged)?;
        let own = self.spec.counter_store.is_some();
        let store_namespace = if own { &self.store_namespace } else { &class.store_namespace };
        Ok(Self { spec, store_namespace: store_namespace.clone() })
    }

    /// The store that data planes count in together, and the namespace of what it names.
    pub(crate) fn counter_store(&self) -> Option<(Arc<str>, CounterStore)> {
        self.store_namespace.clone().zip(self.spec.counter_store.clone())
    }

    pub(crate) fn proxy_protocol(&self, port: u16) -> bool {
        self.spec.proxy_protocol.as_ref().is_some_and(|proxy| proxy.ports.contains(&i32::from(port)))
    }
}

pub(crate) fn resolve(
    inputs: &Inputs,
    group: &str,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<Parameters, InvalidParameters> {
    if (group, kind) != (portcullis_crds::GROUP, "GatewayParameters") {
        return Err(InvalidParameters::Kind { group: group.to_owned(), kind: kind.to_owned() });
    }
    let name = NamespacedName::new(namespace, name);
    match inputs.gateway_parameters.get(&name) {
        Some(found) => parse(found),
        None => Err(match inputs.invalid.get(&ObjectRef::namespaced(Kind::GatewayParameters, &name)) {
            Some(why) => InvalidParameters::Unreadable { name, why: why.clone() },
            None => InvalidParameters::NotFound(name),
        }),
    }
}

/// The object's own `Accepted`.
pub(crate) fn verdict(object: &GatewayParameters) -> Verdict {
    match parse(object) {
        Ok(_) => Verdict::yes(ConditionType::Accepted, Reason::Accepted, "Gateways and GatewayClasses can use it"),
        Err(error) => Verdict::no(ConditionType::Accepted, Reason::Invalid, error.to_string()),
    }
}

fn parse(object: &GatewayParameters) -> Result<Parameters, InvalidParameters> {
    object.spec.check()?;
    let store_namespace = object.metadata.namespace.as_deref().unwrap_or("default");
    Ok(Parameters { spec: object.spec.clone(), store_namespace: Some(store_namespace.into()) })
}
