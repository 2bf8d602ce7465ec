//! Services: which of their ports a reference means, what is spoken there, and the addresses behind it.
//!
//! Addresses come from EndpointSlices alone, never from `clusterIP`, so headless Services and slices written by hand
//! are no special case.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use portcullis_ir::{Endpoint, Protocol, RouteKind, Transport};

use crate::NamespacedName;
use crate::backend::InvalidReference;

/// The port that a reference means, checked for what a route of the kind can use.
pub(crate) fn resolve_port(
    name: &NamespacedName,
    service: &Service,
    port: Option<i32>,
    route: RouteKind,
) -> Result<u16, InvalidReference> {
    if service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        return Err(InvalidReference::ExternalName { to: name.clone() });
    }
    let wanted = port.ok_or_else(|| InvalidReference::NoPort { to: name.clone() })?;
    let unknown = || InvalidReference::UnknownPort {
        to: name.clone(),
        port: wanted,
        known: match ports(service) {
            [] => "none".to_owned(),
            ports => ports.iter().map(|port| port.port.to_string()).collect::<Vec<_>>().join(", "),
        },
    };
    let number = u16::try_from(wanted).ok().filter(|port| *port != 0).ok_or_else(unknown)?;
    let found = find_port(service, number, route.transport()).ok_or_else(unknown)?;
    if transport(found) != route.transport().as_str() {
        let protocol = transport(found).to_owned();
        return Err(InvalidReference::Transport { to: name.clone(), port: number, protocol, route });
    }
    match protocol(service, number) {
        Some(_) => Ok(number),
        // Streams are handed on as they come, whatever is spoken on them.
        None if !route.is_http() => Ok(number),
        None => {
            let protocol = found.app_protocol.clone().unwrap_or_default();
            Err(InvalidReference::AppProtocol { to: name.clone(), port: number, protocol })
        }
    }
}

/// What `appProtocol` says is spoken; none if we do not speak it. Names that are no Kubernetes standard (KEP-3726) are
/// hints for others and leave HTTP, but `grpc`, which is in wide use, never works over HTTP/1.
pub(crate) fn protocol(service: &Service, port: u16) -> Option<Protocol> {
    match find_port(service, port, Transport::Tcp).and_then(|port| port.app_protocol.as_deref()) {
        Some("kubernetes.io/h2c" | "grpc") => Some(Protocol::Http2),
        Some("kubernetes.io/wss") => None,
        _ => Some(Protocol::Http),
    }
}

/// The addresses behind a port: of all slices of the Service together, each once. A ready report wins over one that is
/// terminating; what is neither ready nor serving is left out.
pub(crate) fn endpoints(
    service: &Service,
    port: u16,
    transport: Transport,
    slices: &[Arc<EndpointSlice>],
) -> Vec<Endpoint> {
    let Some(service_port) = find_port(service, port, transport) else { return Vec::new() };
    let wanted = service_port.name.as_deref().unwrap_or_default();
    let mut merged: BTreeMap<SocketAddr, bool> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| matches!(slice.address_type.as_str(), "IPv4" | "IPv6")) {
        let numbers: Vec<u16> = (slice.ports.iter().flatten())
            .filter(|port| port.name.as_deref().unwrap_or_default() == wanted)
            .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == transport.as_str())
            .filter_map(|port| port.port.and_then(|number| u16::try_from(number).ok()).filter(|number| *number != 0))
            .collect();
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.as_ref();
            // "A nil value should be interpreted as true" for ready and serving, as false for terminating.
            let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
            let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
            let last_resort = serving && terminating;
            if !ready && !last_resort {
                continue;
            }
            for address in endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok()) {
                for number in &numbers {
                    *merged.entry(SocketAddr::new(address, *number)).or_default() |= ready;
                }
            }
        }
    }
    merged.into_iter().map(|(address, ready)| Endpoint { address, ready }).collect()
}

fn ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default()
}

/// Two ports may share a number under different transports. One of another transport stands in where there is none, to
/// be told about.
fn find_port(service: &Service, number: u16, wanted: Transport) -> Option<&ServicePort> {
    let mut same = ports(service).iter().filter(|port| port.port == i32::from(number));
    let first = same.clone().next();
    same.find(|port| transport(port) == wanted.as_str()).or(first)
}

fn transport(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn service(ports: &str) -> Service {
        serde_norway::from_str(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{ports: {ports}}}}}"
        ))
        .unwrap()
    }

    fn slice(yaml: &str) -> Arc<EndpointSlice> {
        let head = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: x}, ";
        Arc::new(serde_norway::from_str(&format!("{head}{yaml}}}")).unwrap())
    }

    fn found(service: &Service, port: u16, slices: &[Arc<EndpointSlice>]) -> Vec<String> {
        let mark = |endpoint: &Endpoint| if endpoint.ready { "" } else { " terminating" };
        endpoints(service, port, Transport::Tcp, slices)
            .iter()
            .map(|one| format!("{}{}", one.address, mark(one)))
            .collect()
    }

    #[test]
    fn slices_are_merged_and_each_address_is_there_once() {
        let slices = [
            slice(
                "addressType: IPv4, ports: [{port: 3000}], endpoints: [{addresses: [10.0.0.2]}, {addresses: [10.0.0.1]}]",
            ),
            slice("addressType: IPv4, ports: [{port: 3000}], endpoints: [{addresses: [10.0.0.2]}]"),
            slice("addressType: IPv6, ports: [{port: 3000}], endpoints: [{addresses: ['fd00::1']}]"),
            slice("addressType: FQDN, ports: [{port: 3000}], endpoints: [{addresses: [a.example]}]"),
        ];
        let all = found(&service("[{port: 80}]"), 80, &slices);
        assert_eq!(all, ["10.0.0.1:3000", "10.0.0.2:3000", "[fd00::1]:3000"]);
    }

    #[test]
    fn ports_are_joined_by_name_not_by_number() {
        let slices = [slice(
            "addressType: IPv4, ports: [{name: web, port: 3000}, {name: admin, port: 9000}], endpoints: [{addresses: [10.0.0.1]}]",
        )];
        let service = service("[{name: web, port: 80}, {name: admin, port: 81}]");
        assert_eq!(found(&service, 80, &slices), ["10.0.0.1:3000"]);
        assert_eq!(found(&service, 81, &slices), ["10.0.0.1:9000"]);
    }

    #[test]
    fn ready_wins_over_terminating_and_what_serves_nothing_is_left_out() {
        let slices = [
            slice(
                "addressType: IPv4, ports: [{port: 1}], endpoints: [\
                 {addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}},\
                 {addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}},\
                 {addresses: [10.0.0.3], conditions: {ready: false, serving: false, terminating: true}},\
                 {addresses: [10.0.0.4], conditions: {ready: false}},\
                 {addresses: [10.0.0.5], conditions: {}}]",
            ),
            slice(
                "addressType: IPv4, ports: [{port: 1}], endpoints: [{addresses: [10.0.0.2], conditions: {ready: true}}]",
            ),
        ];
        let all = found(&service("[{port: 80}]"), 80, &slices);
        assert_eq!(all, ["10.0.0.1:1 terminating", "10.0.0.2:1", "10.0.0.5:1"]);
    }

    #[test]
    fn a_port_that_http_cannot_use_is_refused_and_says_why() {
        let name = NamespacedName::new("ns", "s");
        let service = service(
            "[{name: a, port: 53, protocol: UDP}, {name: b, port: 80, appProtocol: kubernetes.io/wss}, {name: c, port: 90, appProtocol: HTTPS}]",
        );
        let resolve = |port| resolve_port(&name, &service, port, RouteKind::HttpRoute);
        assert!(matches!(resolve(Some(53)), Err(InvalidReference::Transport { .. })));
        assert!(matches!(resolve(Some(80)), Err(InvalidReference::AppProtocol { .. })));
        assert!(matches!(resolve(Some(81)), Err(InvalidReference::UnknownPort { .. })));
        assert!(matches!(resolve(None), Err(InvalidReference::NoPort { .. })));
        assert_eq!(resolve(Some(90)), Ok(90));
        assert_eq!(protocol(&service, 90), Some(Protocol::Http));
    }

    #[test]
    fn the_port_of_the_routes_transport_is_meant_where_two_share_a_number() {
        let both = service("[{name: u, port: 53, protocol: UDP}, {name: t, port: 53, protocol: TCP}]");
        let tcp = service("[{name: t, port: 53, protocol: TCP, appProtocol: kubernetes.io/wss}]");
        let name = NamespacedName::new("ns", "s");
        for kind in RouteKind::ALL {
            assert_eq!(resolve_port(&name, &both, Some(53), kind), Ok(53), "{kind}");
            let found = resolve_port(&name, &tcp, Some(53), kind);
            match kind {
                RouteKind::HttpRoute | RouteKind::GrpcRoute => {
                    assert!(matches!(found, Err(InvalidReference::AppProtocol { .. })), "{kind}");
                }
                RouteKind::TlsRoute | RouteKind::TcpRoute => assert_eq!(found, Ok(53), "{kind}"),
                RouteKind::UdpRoute => assert!(matches!(found, Err(InvalidReference::Transport { .. })), "{kind}"),
            }
        }
    }

    #[test]
    fn slices_are_joined_by_name_and_transport() {
        let service = service("[{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]");
        let slices = [slice(
            "addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}], ports: [{name: dns, port: 5300, protocol: UDP}, \
             {name: dns, port: 1, protocol: TCP}, {name: dns-tcp, port: 5301}, {name: dns-tcp, port: 2, protocol: UDP}]",
        )];
        let found =
            |transport| endpoints(&service, 53, transport, &slices).iter().map(|one| one.address.port()).collect();
        let (udp, tcp): (Vec<u16>, Vec<u16>) = (found(Transport::Udp), found(Transport::Tcp));
        assert_eq!((udp, tcp), (vec![5300], vec![5301]));
    }
}
