//! A request, made up of: the parameters laid over each other, the names decided.

use std::collections::BTreeSet;

use gateway_api::gateways::Gateway;
use portcullis_crds::{GatewayParametersSpec, PodOverlay, ServiceSettings};

use crate::name::resource_name;
use crate::{Owner, Port, Request, Settings, Transport, Unprovisionable};

/// Where the data plane's admin pages are, unless a listener has that port.
const ADMIN_PORT: u16 = 9901;

pub(crate) struct Plan<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) owner: Owner,
    /// Of every object.
    pub(crate) name: String,
    pub(crate) parameters: GatewayParametersSpec,
    pub(crate) pod: PodOverlay,
    pub(crate) service: ServiceSettings,
    pub(crate) ports: &'a BTreeSet<Port>,
    pub(crate) admin_port: u16,
    pub(crate) ca_bundle: &'a str,
    pub(crate) settings: &'a Settings,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(request: &Request<'a>) -> Result<Self, Unprovisionable> {
        let Request { gateway, class_parameters, parameters, ports, ca_bundle, settings } = *request;
        let metadata = &gateway.metadata;
        let owner = Owner {
            namespace: metadata.namespace.clone().ok_or(Unprovisionable::NotStored("namespace"))?,
            name: metadata.name.clone().ok_or(Unprovisionable::NotStored("name"))?,
            uid: metadata.uid.clone().ok_or(Unprovisionable::NotStored("uid"))?,
        };
        let nothing = GatewayParametersSpec::default();
        let parameters = parameters.unwrap_or(&nothing).over(class_parameters.unwrap_or(&nothing));
        parameters.check()?;
        Ok(Self {
            gateway,
            name: resource_name(&owner.namespace, &owner.name),
            owner,
            pod: parameters.pod.clone().unwrap_or_default(),
            service: parameters.service.clone().unwrap_or_default(),
            parameters,
            ports,
            // A Gateway whose listeners have all of these would have no room for anything else either.
            admin_port: (ADMIN_PORT..=u16::MAX)
                .find(|number| !ports.contains(&Port { number: *number, transport: Transport::Tcp }))
                .unwrap_or(ADMIN_PORT),
            ca_bundle,
            settings,
        })
    }
}
