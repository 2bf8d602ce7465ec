//! Addresses that say where they are reached from (GEP-5093).

use portcullis_apiserver::{ApiServer, Bundle, CrdSet};
use portcullis_provision::resource_name;
use serde_json::{Value, json};

use crate::support::World;

/// Value, routability and the state of `AddressesAssigned`, as the status says.
fn told(gateway: &Value) -> Value {
    let status = &gateway["status"];
    let addresses = status["addresses"].as_array().cloned().unwrap_or_default();
    let addresses: Vec<Value> = addresses.iter().map(|one| json!([one["value"], one["routability"]])).collect();
    let assigned = status["conditions"].as_array().into_iter().flatten();
    let mut assigned = assigned.filter(|one| one["type"] == "AddressesAssigned").map(|one| one["reason"].clone());
    json!([addresses, assigned.next()])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_inside_the_cluster_is_given_to_whoever_asks_for_it() {
    let server = ApiServer::start_with(&[CrdSet::Experimental(Bundle::V1_7_0), CrdSet::Portcullis]);
    let world = World::on("routable", server).await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let name = resource_name("routable", "gw");
    let service = world.appears("Service", &name).await;
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    let own = service["spec"]["clusterIP"].clone();
    let given = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}});
    world.patch_status("Service", &name, given).await;
    for (asked, kind, expected) in [
        (json!(null), "LoadBalancer", json!([[["192.0.2.9", ""]], "AddressesAssigned"])),
        (
            json!([{}, {"routability": "Cluster"}]),
            "LoadBalancer",
            json!([[["192.0.2.9", ""], [own, "Cluster"]], "AddressesAssigned"]),
        ),
        (json!([{"routability": "Cluster"}]), "ClusterIP", json!([[[own, "Cluster"]], "AddressesAssigned"])),
        (json!([{"routability": "example.com/wan"}]), "ClusterIP", json!([[], "NotAssigned"])),
    ] {
        world.patch("Gateway", "gw", json!({"spec": {"addresses": asked}})).await;
        world.until("Gateway", "gw", &expected.to_string(), |gateway| told(gateway) == expected).await;
        world.until("Service", &name, kind, |service| service["spec"]["type"] == kind).await;
    }
    world.settles("Gateway", "gw", "Accepted=True").await;
    running.shutdown().await;
}

/// Definitions without the field have the API server drop it, and statuses are written as if there were none.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_without_the_field_get_none_and_are_not_written_to_again_and_again() {
    let world =
        World::on("unroutable", ApiServer::start_with(&[CrdSet::Standard(Bundle::V1_7_0), CrdSet::Portcullis])).await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let name = resource_name("unroutable", "gw");
    world.appears("Service", &name).await;
    world.patch_status("Service", &name, json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}})).await;
    world.until("Gateway", "gw", "an address", |gateway| told(gateway) == json!([[["192.0.2.9", null]], null])).await;
    running.shutdown().await;
}
