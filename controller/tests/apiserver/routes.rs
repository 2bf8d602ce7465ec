//! Routes of every kind: their statuses are written, and what others wrote in them stays.

use portcullis_apiserver::{ApiServer, Bundle, CrdSet, install};
use serde_json::{Value, json};

use crate::support::World;

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: CLASS
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: tls, port: 8443, protocol: TLS, tls: {mode: Passthrough}}
  - {name: tcp, port: 53, protocol: TCP}
  - {name: udp, port: 53, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: names}
spec:
  ports:
  - {name: tcp, port: 53, protocol: TCP}
  - {name: udp, port: 53, protocol: UDP}
";

const KINDS: [(&str, &str); 4] = [("GRPCRoute", "http"), ("TLSRoute", "tls"), ("TCPRoute", "tcp"), ("UDPRoute", "udp")];

fn route(kind: &str) -> String {
    let mut spec = json!({
        "parentRefs": [{"name": "gw"}],
        "rules": [{"backendRefs": [{"name": "names", "port": 53}]}],
    });
    if kind == "TLSRoute" {
        spec["hostnames"] = json!(["a.example"]);
    }
    let version = "gateway.networking.k8s.io/v1";
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": "one"}, "spec": spec}).to_string()
}

fn foreign_entry() -> Value {
    json!({
        "controllerName": "other.example/controller",
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "theirs"},
        "conditions": [{"type": "Accepted", "status": "True", "reason": "Theirs", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    })
}

fn entries(route: &Value) -> Vec<Value> {
    route["status"]["parents"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_route_gets_its_status_beside_that_of_others() {
    let world = World::new("kinds").await;
    world.apply(GATEWAY).await;
    for (kind, _) in KINDS {
        world.apply(&route(kind)).await;
        world.patch_status(kind, "one", json!({"parents": [foreign_entry()]})).await;
    }
    let (running, _proxy) = world.controller().await;
    for (kind, listener) in KINDS {
        world.settles(kind, "one", "Accepted=True:Accepted").await;
        world.settles(kind, "one", "ResolvedRefs=True:ResolvedRefs").await;
        let both = |route: &Value| entries(route).len() == 2 && entries(route).contains(&foreign_entry());
        world.until(kind, "one", "both entries", both).await;
        let attached = |gateway: &Value| {
            let listeners = gateway["status"]["listeners"].as_array().cloned().unwrap_or_default();
            listeners.iter().any(|one| one["name"] == listener && one["attachedRoutes"] == 1)
        };
        world.until("Gateway", "gw", "attached", attached).await;
        // An edit is judged anew.
        let nowhere = json!({"spec": {"rules": [{"backendRefs": [{"name": "nobody", "port": 53}]}]}});
        world.patch(kind, "one", nowhere).await;
        world.settles(kind, "one", "ResolvedRefs=False:BackendNotFound").await;
    }
    world.delete("Gateway", "gw").await;
    for (kind, _) in KINDS {
        world.until(kind, "one", "theirs alone", |route| entries(route) == [foreign_entry()]).await;
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_route_may_be_installed_later() {
    const ROUTES: CrdSet = CrdSet::Some(Bundle::V1_6_3, &["tcproutes"]);
    let core = CrdSet::Some(Bundle::V1_6_3, &["gatewayclasses", "gateways", "httproutes"]);
    let world = World::on("later", ApiServer::start_with(&[core])).await;
    world.apply(GATEWAY).await;
    let (running, _proxy) = world.controller().await;
    world.listener_settles("gw", "tcp", "Accepted=True").await;
    install(&world.client, &[ROUTES]).await;
    world.apply(&route("TCPRoute")).await;
    world.settles("TCPRoute", "one", "Accepted=True").await;
    let served = |class: &Value| class["status"]["supportedFeatures"].to_string().contains("TCPRoute");
    world.until("GatewayClass", "later", "TCPRoute is published", served).await;
    running.shutdown().await;
}
