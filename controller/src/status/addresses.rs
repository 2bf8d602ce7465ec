//! Which addresses a Gateway has, and which of them it asked for. Where the definition of Gateways has `routability`
//! (GEP-5093), each entry of `spec.addresses` gets an address of its own, and `AddressesAssigned` says so.

use std::net::IpAddr;

use gateway_api::gateways::{Gateway, GatewayAddresses, GatewayStatusAddresses};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use portcullis_crds::{CLUSTER, is_default, split_routability, with_routability};
use portcullis_translate::{ConditionType, NamespacedName, Reason, Timestamp};

/// What became of the addresses of one Gateway.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    /// For its status.
    pub(super) addresses: Vec<GatewayStatusAddresses>,
    /// Why it cannot be reached where it should be.
    pub(super) unmet: Option<(Reason, String)>,
    /// It asks for a certain address and does not have it: that, and nothing else, is in its way.
    pub(super) lacks_a_certain_one: bool,
    /// What `AddressesAssigned` says; none while nobody knows, and where nobody asked.
    pub(super) assigned: Option<(Reason, String)>,
}

/// An address of a Service.
#[derive(Debug)]
struct Held {
    value: String,
    /// The Service's own.
    is_cluster: bool,
    /// What the Gateway gets that asks for nothing.
    is_default: bool,
}

/// `reports`: the definition has `routability`. `failed`: why the Service is not as it should be.
pub(super) fn assign(
    gateway: &Gateway,
    service: Option<&Service>,
    resources: &NamespacedName,
    reports: bool,
    failed: Option<&str>,
) -> Assignment {
    let held = service.map(held).unwrap_or_default();
    let asked = gateway.spec.addresses.as_deref().unwrap_or_default();
    if reports && !asked.is_empty() {
        return each(asked, &held, service.is_some() || failed.is_some());
    }
    let defaults: Vec<&Held> = held.iter().filter(|one| one.is_default).collect();
    let written = |one: &&Held| status_of(&one.value, reports.then(|| scope(one)));
    let missing = certain(asked).filter(|value| !defaults.iter().any(|one| one.value == *value));
    let missing: Vec<&str> = missing.collect();
    let unmet = if !missing.is_empty() {
        let message = format!(
            "spec.addresses asks for {}, which Service {resources} was not given; ask for another, or leave it out",
            missing.join(", ")
        );
        Some((Reason::AddressNotUsable, message))
    } else if defaults.is_empty() {
        let message = format!(
            "Service {resources} has no address yet; a load balancer must give it one, or set spec.service.type of GatewayParameters"
        );
        Some((Reason::AddressNotAssigned, message))
    } else {
        None
    };
    let assigned = match (&unmet, service) {
        _ if !reports => None,
        (None, _) => Some((Reason::AddressesAssigned, "the Gateway has an address".to_owned())),
        (Some(_), None) if failed.is_none() => None,
        (Some((_, why)), _) => Some((Reason::NotAssigned, why.clone())),
    };
    Assignment {
        addresses: defaults.iter().map(written).collect(),
        lacks_a_certain_one: !missing.is_empty(),
        unmet,
        assigned,
    }
}

/// "Exactly one distinct matching address for every satisfied spec entry". `known`: it was tried.
fn each(asked: &[GatewayAddresses], held: &[Held], known: bool) -> Assignment {
    let mut free: Vec<&Held> = held.iter().collect();
    let mut found: Vec<Option<GatewayStatusAddresses>> = asked.iter().map(|_| None).collect();
    // Those that will take only one first.
    let mut order: Vec<usize> = (0..asked.len()).collect();
    order.sort_by_key(|at| value_of(&asked[*at]).is_none());
    for at in order {
        let (_, routability) = split_routability(asked[at].r#type.as_deref());
        let value = value_of(&asked[at]);
        let fits = |one: &&Held| {
            let scope =
                if is_default(routability) { one.is_default } else { routability == Some(CLUSTER) && one.is_cluster };
            scope && value.is_none_or(|value| one.value == value)
        };
        if let Some(index) = free.iter().position(fits) {
            let one = free.remove(index);
            let reported = routability.filter(|asked| !asked.is_empty()).unwrap_or_else(|| scope(one));
            found[at] = Some(status_of(&one.value, Some(reported)));
        }
    }
    let missing: Vec<usize> = (0..asked.len()).filter(|at| found[*at].is_none()).collect();
    let some = missing.len() < asked.len();
    let describe = |at: &usize| {
        let routability = split_routability(asked[*at].r#type.as_deref()).1.filter(|one| !one.is_empty());
        let value = value_of(&asked[*at]).map(|value| format!(" {value}")).unwrap_or_default();
        format!("spec.addresses[{at}]{value}{}", routability.map(|one| format!(" ({one})")).unwrap_or_default())
    };
    let message = match missing.as_slice() {
        [] => "every address that was asked for is there".to_owned(),
        missing => {
            let list = missing.iter().map(describe).collect::<Vec<_>>().join(", ");
            format!("{list} cannot be had; ask for another, or leave it out")
        }
    };
    let is_certain = |at: &&usize| value_of(&asked[**at]).is_some();
    let in_the_open = |at: &usize| is_default(split_routability(asked[*at].r#type.as_deref()).1);
    let unusable = missing.iter().filter(is_certain).any(in_the_open);
    let unmet = match (unusable, some) {
        (true, _) => Some((Reason::AddressNotUsable, message.clone())),
        (false, true) => None,
        (false, false) => Some((Reason::AddressNotAssigned, message.clone())),
    };
    let reason = match (missing.is_empty(), some) {
        (true, _) => Reason::AddressesAssigned,
        (false, true) => Reason::PartiallyAssigned,
        (false, false) => Reason::NotAssigned,
    };
    Assignment {
        addresses: found.into_iter().flatten().collect(),
        unmet,
        lacks_a_certain_one: missing.iter().any(|at| is_certain(&at)),
        assigned: known.then_some((reason, message)),
    }
}

/// `AddressesAssigned` in place of what `conditions` say of it, with the time of `old` if it says the same.
pub(super) fn put(
    conditions: &mut Vec<Condition>,
    assigned: Option<(Reason, String)>,
    gateway: &Gateway,
    now: Timestamp,
) {
    let kind = ConditionType::AddressesAssigned.as_str();
    conditions.retain(|one| one.type_ != kind);
    let Some((reason, message)) = assigned else { return };
    let status = if reason == Reason::AddressesAssigned { "True" } else { "False" };
    let old = gateway.status.as_ref().and_then(|status| status.conditions.as_ref());
    let same = old.into_iter().flatten().find(|old| old.type_ == kind && old.status == status);
    conditions.push(Condition {
        last_transition_time: same.map_or(Time(now), |old| old.last_transition_time.clone()),
        message,
        observed_generation: gateway.metadata.generation,
        reason: reason.as_str().to_owned(),
        status: status.to_owned(),
        type_: kind.to_owned(),
    });
}

fn value_of(address: &GatewayAddresses) -> Option<&str> {
    address.value.as_deref().filter(|value| !value.is_empty())
}

fn certain(asked: &[GatewayAddresses]) -> impl Iterator<Item = &str> {
    asked.iter().filter_map(value_of)
}

fn scope(held: &Held) -> &'static str {
    if held.is_cluster { CLUSTER } else { "" }
}

/// Where a Service can be reached, in its own order.
fn held(service: &Service) -> Vec<Held> {
    let spec = service.spec.as_ref();
    let is_balanced = spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    let own = spec.and_then(|spec| spec.cluster_ips.clone()).unwrap_or_default();
    let own = own.into_iter().filter(|address| address != "None");
    let own = own.map(|value| Held { value, is_cluster: true, is_default: !is_balanced });
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let given = balancer.filter(|_| is_balanced).into_iter().flatten();
    let given = given.filter_map(|one| one.ip.clone().or_else(|| one.hostname.clone()));
    given.map(|value| Held { value, is_cluster: false, is_default: true }).chain(own).collect()
}

fn status_of(value: &str, routability: Option<&str>) -> GatewayStatusAddresses {
    let kind = if value.parse::<IpAddr>().is_ok() { "IPAddress" } else { "Hostname" };
    let r#type = routability.map_or_else(|| kind.to_owned(), |one| with_routability(Some(kind), one));
    GatewayStatusAddresses { r#type: Some(r#type), value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_translate::Object;
    use serde_json::{Value, json};

    use super::*;

    fn assignment(asked: &Value, kind: &str, ingress: &[&str], failed: Option<&str>) -> Assignment {
        let gateway = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "namespace": "ns", "name": "g" },
            "spec": { "gatewayClassName": "c", "addresses": asked, "listeners": [] } });
        let Object::Gateway(gateway) = Object::parse(gateway).unwrap() else { panic!() };
        let ingress: Vec<Value> = ingress.iter().map(|ip| json!({ "ip": ip })).collect();
        let service: Service = serde_json::from_value(json!({ "spec": { "type": kind, "clusterIPs": ["10.0.0.1"] },
            "status": { "loadBalancer": { "ingress": ingress } } }))
        .unwrap();
        assign(&gateway, Some(&service), &NamespacedName::new("ns", "portcullis-g"), true, failed)
    }

    fn told(assignment: &Assignment) -> (Vec<String>, Option<Reason>, Option<Reason>) {
        let one = |one: &GatewayStatusAddresses| {
            let (_, routability) = split_routability(one.r#type.as_deref());
            format!("{} {}", one.value, routability.unwrap_or("unsaid"))
        };
        let Assignment { addresses, unmet, assigned, .. } = assignment;
        (addresses.iter().map(one).collect(), unmet.as_ref().map(|one| one.0), assigned.as_ref().map(|one| one.0))
    }

    #[test]
    fn each_entry_gets_one_address_of_its_routability() {
        let some = |values: &[&str]| values.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let (all, none) = (Some(Reason::AddressesAssigned), Some(Reason::NotAssigned));
        let part = Some(Reason::PartiallyAssigned);
        let lacking = Some(Reason::AddressNotAssigned);
        for (asked, kind, expected) in [
            (json!([]), "LoadBalancer", (some(&["192.0.2.1 "]), None, all)),
            (json!([]), "ClusterIP", (some(&["10.0.0.1 Cluster"]), None, all)),
            (json!([{ "routability": "Cluster" }]), "ClusterIP", (some(&["10.0.0.1 Cluster"]), None, all)),
            (
                json!([{}, { "routability": "Cluster" }]),
                "LoadBalancer",
                (some(&["192.0.2.1 ", "10.0.0.1 Cluster"]), None, all),
            ),
            (
                json!([{ "routability": "testing.x-k8s.io/sentinel" }]),
                "LoadBalancer",
                (some(&["192.0.2.1 testing.x-k8s.io/sentinel"]), None, all),
            ),
            (
                json!([{ "routability": "Cluster", "value": "10.0.0.1" }]),
                "ClusterIP",
                (some(&["10.0.0.1 Cluster"]), None, all),
            ),
            (json!([{ "routability": "Cluster", "value": "10.0.0.9" }]), "ClusterIP", (some(&[]), lacking, none)),
            (
                json!([{ "routability": "Cluster" }, { "routability": "Cluster" }]),
                "ClusterIP",
                (some(&["10.0.0.1 Cluster"]), None, part),
            ),
            (json!([{ "routability": "a.example/wan" }]), "ClusterIP", (some(&[]), lacking, none)),
            (json!([{ "value": "192.0.2.9" }]), "LoadBalancer", (some(&[]), Some(Reason::AddressNotUsable), none)),
        ] {
            let found = assignment(&asked, kind, &["192.0.2.1"], None);
            assert_eq!(told(&found), expected, "{asked} of a {kind}");
        }
        let message =
            assignment(&json!([{ "routability": "a.example/wan" }]), "ClusterIP", &[], None).assigned.unwrap().1;
        assert!(message.starts_with("spec.addresses[0] (a.example/wan) cannot be had"), "{message}");
    }

    #[test]
    fn an_internal_address_never_stands_in_for_one_that_is_still_to_come() {
        let (addresses, unmet, assigned) = told(&assignment(&json!([{}]), "LoadBalancer", &[], None));
        assert_eq!((addresses.len(), unmet), (0, Some(Reason::AddressNotAssigned)));
        assert_eq!(assigned, Some(Reason::NotAssigned));
    }

    #[test]
    fn the_time_of_the_condition_moves_with_its_status_alone() {
        let before = json!({ "type": "AddressesAssigned", "status": "True", "reason": "AddressesAssigned", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1 });
        let gateway = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": "g" },
            "spec": { "gatewayClassName": "c", "listeners": [] }, "status": { "conditions": [before] } });
        let Object::Gateway(gateway) = Object::parse(gateway).unwrap() else { panic!() };
        let now: Timestamp = "2026-02-02T00:00:00Z".parse().unwrap();
        for (reason, time) in
            [(Reason::AddressesAssigned, "2026-01-01T00:00:00Z"), (Reason::NotAssigned, "2026-02-02T00:00:00Z")]
        {
            let mut conditions = Vec::new();
            put(&mut conditions, Some((reason, "m".to_owned())), &gateway, now);
            assert_eq!(conditions[0].last_transition_time.0.to_string(), time);
            put(&mut conditions, None, &gateway, now);
            assert!(conditions.is_empty());
        }
    }
}
