//! Where the Gateway is reached.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use portcullis_crds::{CLUSTER, ServiceSettings, ServiceType, is_default, split_routability};

use crate::{Plan, Unprovisionable};

/// None without a port: a Service cannot be made without one.
pub(crate) fn service(plan: &Plan<'_>) -> Result<Option<Service>, Unprovisionable> {
    let ServiceSettings {
        r#type,
        annotations,
        labels,
        external_traffic_policy,
        load_balancer_class,
        load_balancer_source_ranges,
        ip_family_policy,
        ip_families,
    } = &plan.service;
    let Requested { addresses, cluster_ip, internal } = requested(plan)?;
    // Whoever asks for an internal address alone is not to be reached from anywhere else.
    let kind = if internal { ServiceType::ClusterIp } else { r#type.unwrap_or_default() };
    let (load_balancer_ip, external_ips) = match (kind, addresses.as_slice()) {
        (_, []) => (None, None),
        (ServiceType::LoadBalancer, [one]) => (Some(one.clone()), None),
        (ServiceType::LoadBalancer, more) => return Err(Unprovisionable::Addresses(more.len())),
        // Nobody hands these out; the node that has such an address takes its connections.
        (ServiceType::ClusterIp | ServiceType::NodePort, _) => (None, Some(addresses)),
    };
    if plan.ports.is_empty() {
        return Ok(None);
    }
    let ports = plan.ports.iter().map(|port| ServicePort {
        name: Some(port.to_string()),
        port: i32::from(port.number),
        target_port: Some(IntOrString::Int(i32::from(port.number))),
        protocol: Some(port.transport.as_str().to_owned()),
        ..ServicePort::default()
    });
    let families = ip_families.as_ref().map(|all| all.iter().map(|one| one.as_str().to_owned()).collect());
    let spec = ServiceSpec {
        type_: Some(kind.as_str().to_owned()),
        selector: Some(plan.selector()),
        ports: Some(ports.collect()),
        cluster_ip,
        load_balancer_ip,
        external_ips,
        external_traffic_policy: external_traffic_policy.filter(|_| !internal).map(|policy| policy.as_str().to_owned()),
        load_balancer_class: load_balancer_class.clone().filter(|_| !internal),
        load_balancer_source_ranges: load_balancer_source_ranges.clone().filter(|_| !internal),
        ip_family_policy: ip_family_policy.map(|policy| policy.as_str().to_owned()),
        ip_families: families,
        ..ServiceSpec::default()
    };
    let metadata = plan.metadata(labels.as_ref(), annotations.as_ref());
    Ok(Some(Service { metadata, spec: Some(spec), status: None }))
}

/// What `spec.addresses` asks for.
#[derive(Default)]
struct Requested {
    /// Those that are to be had from outside.
    addresses: Vec<String>,
    /// The Service's own.
    cluster_ip: Option<String>,
    /// Nothing is asked for that is to be had from outside.
    internal: bool,
}

/// An address without a value asks for any. Types other than IPAddress are the translation's to refuse; of a
/// routability that nobody knows nothing is made, which its status says.
fn requested(plan: &Plan<'_>) -> Result<Requested, Unprovisionable> {
    let asked = plan.gateway.spec.addresses.as_deref().unwrap_or_default();
    let mut requested = Requested { internal: !asked.is_empty(), ..Requested::default() };
    for address in asked {
        let (_, routability) = split_routability(address.r#type.as_deref());
        requested.internal &= !is_default(routability);
        let Some(value) = address.value.as_deref().filter(|value| !value.is_empty()) else { continue };
        let parsed: IpAddr = value.parse().map_err(|_| Unprovisionable::Address(value.to_owned()))?;
        let written = parsed.to_string();
        if routability == Some(CLUSTER) {
            requested.cluster_ip.get_or_insert(written);
        } else if is_default(routability) && !requested.addresses.contains(&written) {
            requested.addresses.push(written);
        }
    }
    Ok(requested)
}
