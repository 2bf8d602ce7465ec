//! Where a Gateway stands: its address, which of its replicas take traffic, and what they run.

use std::collections::BTreeSet;
use std::sync::Arc;

use gateway_api::gateways::GatewayStatusAddresses;
use imbl::OrdMap;
use portcullis_ir::GatewayKey;
use portcullis_publish::{Fleet, Outcome};
use portcullis_translate::{Acks, GatewayAck, Inputs, NamespacedName, Reason, Standing, Statuses, Timestamp};

use super::addresses::{self, Assignment};

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What is known of one Gateway's data planes.
#[derive(Clone, Debug, Default)]
struct Stance {
    addresses: Vec<GatewayStatusAddresses>,
    assigned: Option<(Reason, String)>,
    ack: GatewayAck,
}

/// Puts addresses into the statuses of Gateways, and says what their data planes said. `resources` names the Service and
/// the Deployment of a Gateway, `fleet` what its pods said, `unprovisioned` why it has none.
pub(crate) fn acks(
    inputs: &Inputs,
    statuses: &mut Statuses,
    now: Timestamp,
    resources: impl Fn(&GatewayKey) -> String,
    fleet: impl Fn(&GatewayKey) -> Option<Fleet>,
    unprovisioned: impl Fn(&GatewayKey) -> Option<String>,
) -> Acks {
    let mut acks = Acks { now, ..Acks::default() };
    let reports = inputs.installed.has_routability();
    for (key, status) in &mut statuses.gateways {
        let name = NamespacedName::new(Arc::clone(&key.namespace), resources(key));
        let stance = stance(inputs, key, &name, reports, fleet(key).as_ref(), unprovisioned(key));
        status.addresses = Some(stance.addresses).filter(|addresses| !addresses.is_empty());
        if let Some(gateway) = inputs.gateways.get(&NamespacedName::from(key)) {
            addresses::put(status.conditions.get_or_insert_default(), stance.assigned, gateway, now);
        }
        acks.gateways.insert(key.clone(), stance.ack);
    }
    acks
}

fn stance(
    inputs: &Inputs,
    key: &GatewayKey,
    resources: &NamespacedName,
    reports: bool,
    fleet: Option<&Fleet>,
    unprovisioned: Option<String>,
) -> Stance {
    let gateway = inputs.gateways.get(&NamespacedName::from(key));
    let service = inputs.services.get(resources).map(|service| &**service);
    let Assignment { addresses, unmet, lacks_a_certain_one, assigned } = gateway
        .map(|gateway| addresses::assign(gateway, service, resources, reports, unprovisioned.as_deref()))
        .unwrap_or_default();
    let outcome = fleet.map(|fleet| fleet.outcome(&ready_pods(inputs, resources)));
    let listeners = outcome.as_ref().map(|outcome| outcome.listeners.clone()).unwrap_or_default();
    let standing = match (&outcome, unprovisioned) {
        (_, Some(why)) => match &unmet {
            Some((reason, _)) if lacks_a_certain_one => Standing::Not(*reason, why),
            _ => Standing::Not(Reason::NoResources, why),
        },
        (None, None) => Standing::Waiting("the program is not published yet".to_owned()),
        (Some(outcome), None) => stands(outcome, resources, unmet),
    };
    Stance { addresses, assigned, ack: GatewayAck { listeners, standing } }
}

fn stands(outcome: &Outcome, resources: &NamespacedName, unmet: Option<(Reason, String)>) -> Standing {
    let Outcome { wanted, known_as, in_force, ready, laggards, listeners: _ } = outcome;
    if *ready == 0 {
        let message = format!("no replica of Deployment {resources} is ready yet; look at its pods if this lasts");
        return Standing::Not(Reason::Pending, message);
    }
    if let Some((reason, why)) = unmet {
        return Standing::Not(reason, why);
    }
    match laggards.first() {
        // A restart of the controller, which counts anew, is nothing to write down.
        None => Standing::InForce(format!("version {known_as}, {in_force}/{ready} replicas")),
        Some(first) => {
            let version = wanted.number;
            let why =
                format!("version {version} is in force on {in_force}/{ready} replicas; {}: {}", first.pod, first.why);
            if *in_force > 0 { Standing::Partly(why) } else { Standing::Waiting(why) }
        }
    }
}

/// How many pods of each Gateway take traffic; at least one, for somebody has to count.
pub(crate) fn replicas(inputs: &Inputs, resources: impl Fn(&GatewayKey) -> String) -> OrdMap<GatewayKey, u32> {
    let count = |name: &NamespacedName| {
        let key = GatewayKey::from(name);
        let service = NamespacedName::new(Arc::clone(&key.namespace), resources(&key));
        let ready = u32::try_from(ready_pods(inputs, &service).len()).unwrap_or(u32::MAX);
        (key, ready.max(1))
    };
    inputs.gateways.keys().map(count).collect()
}

/// Pods that the Service sends traffic to.
fn ready_pods(inputs: &Inputs, service: &NamespacedName) -> BTreeSet<Arc<str>> {
    let from = NamespacedName::new(Arc::clone(&service.namespace), "");
    let of_namespace = inputs.endpoint_slices.range(from..).take_while(|(name, _)| name.namespace == service.namespace);
    let slices = of_namespace.filter(|(_, slice)| {
        let labels = slice.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(SERVICE_NAME)).is_some_and(|name| **name == *service.name)
    });
    let endpoints = slices.flat_map(|(_, slice)| &slice.endpoints);
    let ready = endpoints
        .filter(|endpoint| endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready.unwrap_or(true)));
    ready.filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.as_deref().map(Arc::from)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_translate::Object;
    use portcullis_wire::{Digests, State, Version};
    use serde_json::{Value, json};

    use super::*;

    fn world(objects: &[Value]) -> Inputs {
        let mut inputs = Inputs::default();
        for object in objects {
            inputs.insert(Object::parse(object.clone()).unwrap());
        }
        inputs
    }

    fn gateway(addresses: &Value) -> Value {
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "namespace": "ns", "name": "g" },
            "spec": { "gatewayClassName": "c", "addresses": addresses, "listeners": [] } })
    }

    fn service(ingress: &Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "ns", "name": "portcullis-g" },
            "spec": { "type": "LoadBalancer", "clusterIPs": ["10.0.0.1"] }, "status": { "loadBalancer": { "ingress": ingress } } })
    }

    fn slice(pods: &[(&str, bool)]) -> Value {
        let endpoint = |(pod, ready): &(&str, bool)| {
            json!({ "addresses": ["10.1.0.1"], "conditions": { "ready": ready },
            "targetRef": { "kind": "Pod", "namespace": "ns", "name": pod } })
        };
        json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "namespace": "ns", "name": "portcullis-g-x", "labels": { SERVICE_NAME: "portcullis-g" } },
            "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>() })
    }

    fn standing(objects: &[Value], in_force_on: &[&str]) -> Stance {
        let target = State { version: Version { epoch: 1, number: 42 }, digests: Digests::default() };
        let pod = portcullis_publish::Pod {
            held: Some(target),
            answered: Some(target.digests),
            connected: true,
            ..Default::default()
        };
        let pods = in_force_on.iter().map(|name| (Arc::from(*name), pod.clone())).collect();
        let fleet = Fleet { target, listeners: BTreeSet::new(), pods };
        let resources = NamespacedName::new("ns", "portcullis-g");
        stance(&world(objects), &GatewayKey::new("ns", "g"), &resources, false, Some(&fleet), None)
    }

    #[test]
    fn in_force_on_every_ready_replica_names_version_and_count() {
        let objects = [
            gateway(&json!([])),
            service(&json!([{ "ip": "1.2.3.4" }])),
            slice(&[("a", true), ("b", true), ("c", false)]),
        ];
        let stance = standing(&objects, &["a", "b"]);
        assert_eq!(stance.ack.standing, Standing::InForce("version 42, 2/2 replicas".to_owned()));
        assert_eq!(
            (stance.addresses[0].r#type.as_deref(), &*stance.addresses[0].value),
            (Some("IPAddress"), "1.2.3.4")
        );
    }

    #[test]
    fn one_replica_that_lags_is_named() {
        let objects = [gateway(&json!([])), service(&json!([{ "ip": "1.2.3.4" }])), slice(&[("a", true), ("b", true)])];
        let Standing::Partly(why) = standing(&objects, &["a"]).ack.standing else { panic!() };
        assert!(why.contains("1/2 replicas; b:"), "{why}");
    }

    #[test]
    fn without_an_address_or_a_ready_replica_it_is_not_programmed() {
        let ready = slice(&[("a", true)]);
        let reason = |objects: &[Value]| match standing(objects, &["a"]).ack.standing {
            Standing::Not(reason, _) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(&[gateway(&json!([])), service(&json!([])), ready.clone()]), Reason::AddressNotAssigned);
        let asked = gateway(&json!([{ "value": "9.9.9.9" }]));
        assert_eq!(reason(&[asked, service(&json!([{ "ip": "1.2.3.4" }])), ready]), Reason::AddressNotUsable);
        let none = slice(&[("a", false)]);
        assert_eq!(reason(&[gateway(&json!([])), service(&json!([{ "ip": "1.2.3.4" }])), none]), Reason::Pending);
    }
}
