//! `Programmed=True` once every ready data plane has acknowledged the newest version, and not before.

use portcullis_provision::resource_name;
use serde_json::{Value, json};

use crate::support::World;

/// What a load balancer and the endpoint controller would write: an address, and which pods are ready.
pub(crate) async fn reachable(world: &World, pods: &[&str]) {
    let name = resource_name(world.name, "gw");
    world.appears("Service", &name).await;
    world.patch_status("Service", &name, json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}})).await;
    let endpoints: Vec<Value> = pods
        .iter()
        .enumerate()
        .map(|(index, pod)| {
            json!({
                "addresses": [format!("10.244.0.{}", index + 10)],
                "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "name": pod, "namespace": world.name},
            })
        })
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": 80}], "endpoints": endpoints,
    });
    world.apply(&slice.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_programmed_when_every_ready_replica_has_acknowledged() {
    let world = World::new("programmed").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    reachable(&world, &["p-1", "p-2"]).await;
    running.acknowledge("programmed", "gw", "p-1").await;
    let waiting = world
        .until("Gateway", "gw", "one replica", |gateway| gateway["status"]["conditions"].to_string().contains("1/2"))
        .await;
    assert!(
        waiting["status"]["conditions"].to_string().contains("p-2"),
        "the one that is waited for is named: {waiting}"
    );
    running.acknowledge("programmed", "gw", "p-2").await;
    let condition = world.settles("Gateway", "gw", "Programmed=True:Programmed").await;
    let message = condition["message"].as_str().unwrap();
    assert!(message.contains("2/2 replicas"), "{message}");
    world.listener_settles("gw", "http", "Programmed=True:Programmed").await;
    let gateway = world.get("Gateway", "gw").await.unwrap();
    assert_eq!(gateway["status"]["addresses"], json!([{"type": "IPAddress", "value": "192.0.2.7"}]));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_must_be_acknowledged_anew() {
    let world = World::new("anew").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    reachable(&world, &["p-1"]).await;
    let first = running.acknowledge("anew", "gw", "p-1").await;
    world.settles("Gateway", "gw", "Programmed=True").await;
    let listeners =
        json!([{"name": "http", "port": 80, "protocol": "HTTP"}, {"name": "more", "port": 8080, "protocol": "HTTP"}]);
    world.patch("Gateway", "gw", json!({"spec": {"listeners": listeners}})).await;
    world.listener_settles("gw", "more", "Programmed=Unknown:Pending").await;
    let second = running.acknowledge("anew", "gw", "p-1").await;
    assert!(second > first, "{second} after {first}");
    world.listener_settles("gw", "more", "Programmed=True").await;
    let condition = world.settles("Gateway", "gw", "Programmed=True").await;
    assert!(condition["message"].as_str().unwrap().contains(&format!("version {second}")), "{condition}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_it_is_not_programmed() {
    let world = World::new("homeless").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    reachable(&world, &["p-1"]).await;
    running.acknowledge("homeless", "gw", "p-1").await;
    world.settles("Gateway", "gw", "Programmed=True").await;
    world.patch_status("Service", &resource_name("homeless", "gw"), json!({"loadBalancer": {"ingress": null}})).await;
    world.settles("Gateway", "gw", "Programmed=False:AddressNotAssigned").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_routes_make_few_writes_to_the_gateway() {
    const ROUTES: usize = 1000;
    let world = World::new("thousand").await;
    world.service().await;
    world.gateway().await;
    let (running, proxy) = world.controller().await;
    world.settles("Gateway", "gw", "Accepted=True").await;
    let mark = proxy.mark();
    let world = std::sync::Arc::new(world);
    let mut applying = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let world = std::sync::Arc::clone(&world);
        applying.spawn(async move {
            for index in (worker..ROUTES).step_by(8) {
                world.route(&format!("route-{index}"), &format!("/{index}")).await;
            }
        });
    }
    applying.join_all().await;
    world
        .until("Gateway", "gw", "all are attached", |gateway| {
            gateway["status"]["listeners"][0]["attachedRoutes"] == ROUTES
        })
        .await;
    let writes = proxy.writes_since(mark);
    let gateway =
        writes.iter().filter(|call| call.is_status_write() && call.is_about("gateways", "thousand", "gw")).count();
    assert!(gateway <= 20, "{gateway} writes to the Gateway's status");
    running.shutdown().await;
}
