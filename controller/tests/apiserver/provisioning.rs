//! What a Gateway needs is there while the Gateway is, and made again when somebody takes it away.

use portcullis_apiserver::{Call, Fault};
use portcullis_provision::resource_name;
use serde_json::{Value, json};

use crate::support::World;

const KINDS: [&str; 5] = ["ServiceAccount", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget"];

#[tokio::test(flavor = "multi_thread")]
async fn everything_a_gateway_needs_appears_and_belongs_to_it() {
    let world = World::new("provisioned").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let gateway = world.get("Gateway", "gw").await.unwrap();
    let name = resource_name("provisioned", "gw");
    for kind in KINDS {
        let object = world.appears(kind, &name).await;
        let owner = &object["metadata"]["ownerReferences"][0];
        assert_eq!(owner["uid"], gateway["metadata"]["uid"], "{kind}");
        assert_eq!(object["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"], "gw", "{kind}");
        let managers = object["metadata"]["managedFields"].as_array().unwrap();
        assert!(
            managers.iter().all(|entry| entry["manager"] == "portcullis" && entry["operation"] == "Apply"),
            "{kind}: {managers:?}"
        );
    }
    let ports = world.get("Service", &name).await.unwrap()["spec"]["ports"].clone();
    assert_eq!(ports.as_array().unwrap().iter().map(|port| &port["port"]).collect::<Vec<_>>(), [80]);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_deleted_or_changed_is_made_again() {
    let world = World::new("repaired").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let name = resource_name("repaired", "gw");
    let before = world.appears("Service", &name).await;
    world.delete("Service", &name).await;
    let other = |object: &Value| object["metadata"]["uid"] != before["metadata"]["uid"];
    world.until("Service", &name, "another one", other).await;
    world
        .patch("Service", &name, json!({"spec": {"ports": [{"name": "theirs", "port": 81, "protocol": "TCP"}]}}))
        .await;
    let repaired = |object: &Value| {
        object["spec"]["ports"].as_array().is_some_and(|ports| ports.iter().any(|port| port["port"] == 80))
    };
    world.until("Service", &name, "our ports", repaired).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_gateway_reaches_what_was_made() {
    let world = World::new("reshaped").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let name = resource_name("reshaped", "gw");
    let deployment = world.appears("Deployment", &name).await;
    let listeners =
        json!([{"name": "http", "port": 80, "protocol": "HTTP"}, {"name": "more", "port": 8080, "protocol": "HTTP"}]);
    world.patch("Gateway", "gw", json!({"spec": {"listeners": listeners}})).await;
    world
        .until("Service", &name, "both ports", |service| service["spec"]["ports"].as_array().unwrap().len() == 2)
        .await;
    let labels = json!({"spec": {"infrastructure": {"labels": {"team": "shop"}}}});
    world.patch("Gateway", "gw", labels).await;
    world.until("Service", &name, "labelled", |service| service["metadata"]["labels"]["team"] == "shop").await;
    // A listener more restarts no pod.
    let now = world.get("Deployment", &name).await.unwrap();
    assert_eq!(deployment["spec"]["template"]["spec"], now["spec"]["template"]["spec"]);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_can_be_of_both_transports_and_of_either_alone() {
    let world = World::new("transports").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let name = resource_name("transports", "gw");
    for (protocols, expected) in [
        (&["UDP"][..], json!([["port-53-udp", "UDP"]])),
        (&["TCP", "UDP"], json!([["port-53", "TCP"], ["port-53-udp", "UDP"]])),
        (&["TCP"], json!([["port-53", "TCP"]])),
    ] {
        let listener = |protocol: &&str| json!({"name": protocol.to_lowercase(), "port": 53, "protocol": protocol});
        let listeners: Vec<Value> = protocols.iter().map(listener).collect();
        world.patch("Gateway", "gw", json!({"spec": {"listeners": listeners}})).await;
        let has = |service: &Value| {
            let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
            let mut ports: Vec<Value> = ports.iter().map(|port| json!([port["name"], port["protocol"]])).collect();
            ports.sort_by_key(ToString::to_string);
            json!(ports) == expected
        };
        world.until("Service", &name, &expected.to_string(), has).await;
    }
    running.shutdown().await;
}

/// "Gateway names … up to 253 characters": longer than a label or the name of a Service can be.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_name_of_a_gateway_is_served_like_any_other() {
    let world = World::new("longest").await;
    let (running, _proxy) = world.controller().await;
    let gateway = "g".repeat(253);
    world.apply(&crate::support::GATEWAY.replace("{name: gw}", &format!("{{name: {gateway}}}"))).await;
    let name = resource_name("longest", &gateway);
    for kind in KINDS {
        let object = world.appears(kind, &name).await;
        let label = object["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"].as_str().unwrap();
        assert!(label.len() <= 63 && gateway.starts_with(label.rsplit_once('-').unwrap().0), "{label}");
        assert_eq!(object["metadata"]["ownerReferences"][0]["name"], *gateway, "{kind}");
    }
    world.patch_status("Service", &name, json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}})).await;
    world.settles("Gateway", &gateway, "Accepted=True").await;
    world
        .until("Gateway", &gateway, "an address", |gateway| gateway["status"]["addresses"][0]["value"] == "192.0.2.9")
        .await;
    let listeners = json!([{"name": "http", "port": 8080, "protocol": "HTTP"}]);
    world.patch("Gateway", &gateway, json!({"spec": {"listeners": listeners}})).await;
    world.settles("Gateway", &gateway, "Accepted=True").await;
    world.settles("Gateway", &gateway, "Programmed=False").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_moves_to_another_controller_leaves_nothing_here() {
    let world = World::new("moving").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let name = resource_name("moving", "gw");
    for kind in KINDS {
        world.appears(kind, &name).await;
    }
    world
        .apply(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: moving-theirs}
spec: {controllerName: other.example/controller}
",
        )
        .await;
    world.patch("Gateway", "gw", json!({"spec": {"gatewayClassName": "moving-theirs"}})).await;
    for kind in KINDS {
        portcullis_apiserver::until(&format!("{kind} is gone"), async || match world.get(kind, &name).await {
            None => Ok(()),
            Some(object) => Err(object["metadata"].to_string()),
        })
        .await;
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_the_same_name_is_another_one() {
    let world = World::new("reborn").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let name = resource_name("reborn", "gw");
    for kind in KINDS {
        world.appears(kind, &name).await;
    }
    world.delete("Gateway", "gw").await;
    // Kubernetes collects by owner; there is no collector beside this API server, so the test is it.
    for kind in KINDS {
        world.delete(kind, &name).await;
    }
    world.gateway().await;
    let gateway = world.get("Gateway", "gw").await.unwrap();
    for kind in KINDS {
        let ours = |object: &Value| object["metadata"]["ownerReferences"][0]["uid"] == gateway["metadata"]["uid"];
        world.until(kind, &name, "of the new Gateway", ours).await;
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_somebody_else_with_our_name_is_left_alone_and_said() {
    let world = World::new("squatter").await;
    let name = resource_name("squatter", "gw");
    let theirs = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{theirs: kept}}}}");
    world.apply(&theirs).await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let condition = world.settles("Gateway", "gw", "Programmed=False").await;
    let said = world
        .until("Gateway", "gw", "the ConfigMap is named", |gateway| {
            gateway["status"]["conditions"].to_string().contains(&name)
        })
        .await;
    assert_eq!(world.get("ConfigMap", &name).await.unwrap()["data"]["theirs"], "kept", "{condition} {said}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_said_on_the_gateway_and_tried_again() {
    let world = World::new("forbidden").await;
    let (running, proxy) = world.controller().await;
    proxy.inject(1, Fault::Status(403), |call: &Call| call.is_write() && call.resource == "deployments");
    world.gateway().await;
    world
        .until("Gateway", "gw", "it says why", |gateway| {
            gateway["status"]["conditions"].to_string().contains("Deployment")
        })
        .await;
    world.appears("Deployment", &resource_name("forbidden", "gw")).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_installation_beside_us_keeps_what_it_made() {
    let theirs = World::new("neighbours-theirs").await;
    let (their_controller, _their_proxy) = theirs.controller().await;
    theirs.gateway().await;
    let their_name = resource_name("neighbours-theirs", "gw");
    let before = theirs.appears("PodDisruptionBudget", &their_name).await;

    let ours = World::new("neighbours-ours").await;
    let (our_controller, our_proxy) = ours.controller().await;
    ours.gateway().await;
    let name = resource_name("neighbours-ours", "gw");
    ours.appears("Service", &name).await;
    // Whatever was to be taken away after the first round is, once a later one has made something.
    for port in [81, 82] {
        let listeners = json!([{"name": "http", "port": port, "protocol": "HTTP"}]);
        ours.patch("Gateway", "gw", json!({"spec": {"listeners": listeners}})).await;
        ours.until("Service", &name, "our port", |service| service["spec"]["ports"][0]["port"] == port).await;
    }
    let mut written = our_proxy.writes_since(portcullis_apiserver::Mark::start());
    written.retain(|call| call.namespace.as_deref() == Some("neighbours-theirs"));
    assert_eq!(written, []);
    let after = theirs.appears("PodDisruptionBudget", &their_name).await;
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    our_controller.shutdown().await;
    their_controller.shutdown().await;
}
