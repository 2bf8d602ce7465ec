//! What others write in the same status stays, whatever we write beside it.

use portcullis_apiserver::{Call, Fault, Gate};
use serde_json::{Value, json};

use crate::support::World;

const OTHERS: &str = "other.example/controller";

fn foreign_entry() -> Value {
    json!({
        "controllerName": OTHERS,
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "theirs"},
        "conditions": [condition("Accepted")],
    })
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "Theirs", "message": "", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

fn entries(route: &Value) -> Vec<Value> {
    route["status"]["parents"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_controllers_entry_on_the_same_route_survives() {
    let world = World::new("foreign").await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    world.patch_status("HTTPRoute", "web", json!({"parents": [foreign_entry()]})).await;
    let (running, _proxy) = world.controller().await;
    let two = |route: &Value| entries(route).len() == 2 && entries(route).contains(&foreign_entry());
    world.settles("HTTPRoute", "web", "Accepted=True").await;
    world.until("HTTPRoute", "web", "both entries", two).await;
    // An edit and a removal of ours leave it alone.
    world.route("web", "/elsewhere").await;
    world.settles("HTTPRoute", "web", "Accepted=True").await;
    world.until("HTTPRoute", "web", "both entries", two).await;
    world.delete("Gateway", "gw").await;
    world.until("HTTPRoute", "web", "theirs alone", |route| entries(route) == [foreign_entry()]).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_comes_between_our_reading_and_our_writing_survives() {
    let world = World::new("between").await;
    world.gateway().await;
    world.service().await;
    let (running, proxy) = world.controller().await;
    let gate = Gate::new();
    proxy.inject(1, Fault::Hold(gate.clone()), |call| {
        call.is_status_write() && call.is_about("httproutes", "between", "web")
    });
    let mark = proxy.mark();
    world.route("web", "/").await;
    gate.reached().await;
    world.patch_status("HTTPRoute", "web", json!({"parents": [foreign_entry()]})).await;
    gate.open();
    world.settles("HTTPRoute", "web", "Accepted=True").await;
    let route = world.get("HTTPRoute", "web").await.unwrap();
    assert!(entries(&route).contains(&foreign_entry()), "{route}");
    let answers: Vec<_> =
        proxy.writes_since(mark).into_iter().filter(Call::is_status_write).map(|call| call.answer).collect();
    assert!(answers.contains(&Some(409)), "the server refuses what was made from an older version: {answers:?}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn condition_types_that_we_do_not_know_survive() {
    let world = World::new("unknown-types").await;
    world.gateway().await;
    world.patch_status("Gateway", "gw", json!({"conditions": [condition("example.com/Checked")]})).await;
    world
        .patch_status("GatewayClass", "unknown-types", json!({"conditions": [condition("example.com/Checked")]}))
        .await;
    let (running, _proxy) = world.controller().await;
    let kept =
        |object: &Value| object["status"]["conditions"].as_array().unwrap().contains(&condition("example.com/Checked"));
    for (kind, name) in [("Gateway", "gw"), ("GatewayClass", "unknown-types")] {
        world.settles(kind, name, "Accepted=True").await;
        world.until(kind, name, "theirs kept", kept).await;
    }
    world
        .patch("Gateway", "gw", json!({"spec": {"listeners": [{"name": "http", "port": 8080, "protocol": "HTTP"}]}}))
        .await;
    world.settles("Gateway", "gw", "Accepted=True").await;
    world.until("Gateway", "gw", "theirs kept", kept).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_other_classes_are_left_alone() {
    let world = World::new("strangers").await;
    world
        .apply(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: strangers-theirs}
spec: {controllerName: other.example/controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: theirs}
spec:
  gatewayClassName: strangers-theirs
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: theirs}
spec:
  parentRefs: [{name: theirs}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
",
        )
        .await;
    world.gateway().await;
    let (running, proxy) = world.controller().await;
    world.settles("Gateway", "gw", "Accepted=True").await;
    let written = proxy.writes_since(portcullis_apiserver::Mark::start());
    let about_theirs = |call: &Call| call.name.as_deref().is_some_and(|name| name.contains("theirs"));
    assert!(!written.iter().any(about_theirs), "{written:?}");
    running.shutdown().await;
}
