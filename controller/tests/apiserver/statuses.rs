//! Statuses appear, speak of the newest generation, and go.

use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_gets_its_status() {
    let world = World::new("statuses").await;
    let (running, _proxy) = world.controller().await;
    world.settles("GatewayClass", "statuses", "Accepted=True:Accepted").await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    world
        .apply(
            "
apiVersion: portcullis.dev/v1alpha1
kind: Backend
metadata: {name: outside}
spec: {endpoints: [{hostname: outside.example, port: 80}]}
---
apiVersion: portcullis.dev/v1alpha1
kind: GatewayParameters
metadata: {name: params}
spec: {}
",
        )
        .await;
    world.settles("Gateway", "gw", "Accepted=True:Accepted").await;
    // Nobody has acknowledged anything.
    world.settles("Gateway", "gw", "Programmed=False").await;
    world.listener_settles("gw", "http", "Accepted=True:Accepted").await;
    world.listener_settles("gw", "http", "ResolvedRefs=True:ResolvedRefs").await;
    world.settles("HTTPRoute", "web", "Accepted=True:Accepted").await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True:ResolvedRefs").await;
    world.settles("Backend", "outside", "Accepted=True").await;
    world.settles("GatewayParameters", "params", "Accepted=True").await;
    world
        .until("Gateway", "gw", "a route is attached", |gateway| {
            gateway["status"]["listeners"][0]["attachedRoutes"] == 1
        })
        .await;

    let class = world.get("GatewayClass", "statuses").await.unwrap();
    let features = class["status"]["supportedFeatures"].as_array().unwrap();
    assert!(features.iter().any(|feature| feature["name"] == "HTTPRoute"), "{features:?}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_judged_anew() {
    let world = World::new("edits").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/a").await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    let to = |service: &str| json!({"spec": {"rules": [{"backendRefs": [{"name": service, "port": 80}]}]}});
    world.patch("HTTPRoute", "web", to("nobody")).await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=False:BackendNotFound").await;
    world.patch("HTTPRoute", "web", to("web")).await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    // What it refers to comes and goes as well.
    world.delete("Service", "web").await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=False:BackendNotFound").await;
    world.service().await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_a_namespace_and_its_removal_closes_it() {
    let world = World::new("grants").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    portcullis_apiserver::apply(
        &world.client,
        "grants-other",
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}",
    )
    .await;
    world.route("web", "/").await;
    let other =
        json!({"spec": {"rules": [{"backendRefs": [{"name": "web", "namespace": "grants-other", "port": 80}]}]}});
    world.patch("HTTPRoute", "web", other).await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=False:RefNotPermitted").await;
    let grant = "
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: routes}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: grants}]
  to: [{group: '', kind: Service}]
";
    portcullis_apiserver::apply(&world.client, "grants-other", grant).await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    world.api_in("grants-other", "ReferenceGrant").delete("routes", &Default::default()).await.unwrap();
    world.settles("HTTPRoute", "web", "ResolvedRefs=False:RefNotPermitted").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_whose_gateway_is_gone_keeps_no_entry_of_ours() {
    let world = World::new("gone").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    world.settles("HTTPRoute", "web", "Accepted=True").await;
    world.delete("Gateway", "gw").await;
    world.until("HTTPRoute", "web", "no entry", |route| route["status"]["parents"] == json!([])).await;
    running.shutdown().await;
}
