//! GatewayParameters, resolved for a class or a Gateway.

use std::collections::BTreeSet;

use portcullis_crds::{GatewayParameters, GatewayParametersSpec, ProxyProtocol};

use crate::condition::{ConditionType, Reason, Verdict};
use crate::{Inputs, Kind, NamespacedName, ObjectRef};

/// What the parameters say; a field that is none says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    proxy_protocol: Option<BTreeSet<u16>>,
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
    #[error("spec.proxyProtocol.ports holds {0}, which is no port; give 1 to 65535")]
    Port(i32),
    #[error("spec.proxyProtocol.ports holds {0} twice; remove one")]
    Duplicate(u16),
    #[error("GatewayClass {class} is not accepted: {why}")]
    Class { class: String, why: String },
}

impl Parameters {
    /// These, and where they say nothing the class's.
    pub(crate) fn over(self, class: &Self) -> Self {
        let Self { proxy_protocol } = self;
        Self { proxy_protocol: proxy_protocol.or_else(|| class.proxy_protocol.clone()) }
    }

    pub(crate) fn proxy_protocol(&self, port: u16) -> bool {
        self.proxy_protocol.as_ref().is_some_and(|ports| ports.contains(&port))
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
    let GatewayParametersSpec { proxy_protocol } = &object.spec;
    let ports = proxy_protocol.as_ref().map(|ProxyProtocol { ports }| {
        let mut set = BTreeSet::new();
        for raw in ports {
            let port = u16::try_from(*raw).ok().filter(|port| *port != 0).ok_or(InvalidParameters::Port(*raw))?;
            if !set.insert(port) {
                return Err(InvalidParameters::Duplicate(port));
            }
        }
        Ok(set)
    });
    Ok(Parameters { proxy_protocol: ports.transpose()? })
}
