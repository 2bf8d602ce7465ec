//! The chart gives the controller every right that it needs.

use portcullis_apiserver::{Call, Mark};
use portcullis_provision::resource_name;
use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_the_controller_asks_for_is_forbidden_to_it() {
    let world = World::new("rights").await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    world
        .apply("{apiVersion: portcullis.dev/v1alpha1, kind: GatewayParameters, metadata: {name: params}, spec: {}}")
        .await;
    let proxy = world.proxy_with_the_charts_rights().await;
    let running = world.replica(&proxy, "a").await;
    running.leads().await;
    running.is_ready().await;
    world.settles("HTTPRoute", "web", "Accepted=True").await;
    world.settles("GatewayParameters", "params", "Accepted=True").await;
    world.settles("GatewayClass", "rights", "SupportedVersion=True").await;
    let held = |class: &serde_json::Value| !class["metadata"]["finalizers"].is_null();
    world.until("GatewayClass", "rights", "held", held).await;
    let name = resource_name("rights", "gw");
    for kind in ["ServiceAccount", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget"] {
        world.appears(kind, &name).await;
    }
    // What is made is also changed, and taken away.
    let parameters = json!({"group": "portcullis.dev", "kind": "GatewayParameters", "name": "params"});
    world.patch("GatewayParameters", "params", json!({"spec": {"autoscaling": {"maxReplicas": 3}}})).await;
    world.patch("Gateway", "gw", json!({"spec": {"infrastructure": {"parametersRef": parameters}}})).await;
    world.appears("HorizontalPodAutoscaler", &name).await;
    world.patch("GatewayParameters", "params", json!({"spec": {"autoscaling": null}})).await;
    portcullis_apiserver::until("the autoscaler is gone", async || {
        match world.get("HorizontalPodAutoscaler", &name).await {
            None => Ok(()),
            Some(object) => Err(object["metadata"].to_string()),
        }
    })
    .await;
    running.shutdown().await;
    let forbidden = |call: &Call| matches!(call.answer, Some(401 | 403));
    let refused: Vec<Call> = proxy.calls_since(Mark::start()).into_iter().filter(forbidden).collect();
    assert_eq!(refused, []);
}
