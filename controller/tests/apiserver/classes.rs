//! A GatewayClass stays while there are Gateways of it.

use serde_json::{Value, json};

use crate::support::World;

const FINALIZER: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

fn finalizers(class: &Value) -> Vec<Value> {
    class["metadata"]["finalizers"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_is_deleted_goes_with_its_last_gateway() {
    let world = World::new("leaving").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    world.apply(&crate::support::GATEWAY.replace("{name: gw}", "{name: second}")).await;
    world.until("GatewayClass", "leaving", "held", |class| finalizers(class) == [FINALIZER]).await;
    world.delete("GatewayClass", "leaving").await;
    world.delete("Gateway", "gw").await;
    world.settles("Gateway", "second", "Accepted=True").await;
    let class = world.get("GatewayClass", "leaving").await.expect("it is in use");
    assert_eq!(finalizers(&class), [FINALIZER]);
    world.delete("Gateway", "second").await;
    portcullis_apiserver::until("the class is gone", async || match world.get("GatewayClass", "leaving").await {
        None => Ok(()),
        Some(class) => Err(class["metadata"].to_string()),
    })
    .await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_of_others_stays_beside_ours() {
    const THEIRS: &str = "example.com/theirs";
    let world = World::new("beside").await;
    world.patch("GatewayClass", "beside", json!({"metadata": {"finalizers": [THEIRS]}})).await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    world.until("GatewayClass", "beside", "both", |class| finalizers(class) == [THEIRS, FINALIZER]).await;
    world.delete("Gateway", "gw").await;
    world.until("GatewayClass", "beside", "theirs alone", |class| finalizers(class) == [THEIRS]).await;
    running.shutdown().await;
}
