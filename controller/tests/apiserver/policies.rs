//! RateLimitPolicies and AuthPolicies: what they and their targets are told, and what of Secrets is read for them.

use portcullis_apiserver::until;
use serde_json::{Value, json};

use crate::programmed::reachable;
use crate::support::World;

const LIMIT: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: limit}
spec:
  targetRefs: [{kind: Gateway, name: gw}]
  rules: [{name: all, limits: [{requests: 5, window: 1s}]}]
";

fn auth(name: &str, target: &str, method: &str) -> String {
    format!(
        "
apiVersion: portcullis.dev/v1alpha1
kind: AuthPolicy
metadata: {{name: {name}}}
spec:
  targetRefs: [{target}]
  authentication: {{methods: [{{name: one, {method}}}]}}
"
    )
}

fn types(object: &Value) -> String {
    object["status"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_programmed_when_every_ready_replica_has_it_and_its_target_says_so_until_it_is_gone() {
    let world = World::new("limited").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    reachable(&world, &["p-1", "p-2"]).await;
    world.apply(LIMIT).await;
    world.settles("RateLimitPolicy", "limit", "Accepted=True:Accepted").await;
    running.acknowledge("limited", "gw", "p-1").await;
    world.settles("RateLimitPolicy", "limit", "Programmed=False:PartiallyProgrammed").await;
    running.acknowledge("limited", "gw", "p-2").await;
    let programmed = world.settles("RateLimitPolicy", "limit", "Programmed=True:Programmed").await;
    let message = programmed["message"].as_str().unwrap();
    assert!(message.contains("version ") && message.contains("2/2 replicas"), "{message}");
    let affected = "portcullis.dev/RateLimitPolicyAffected";
    world.settles("Gateway", "gw", &format!("{affected}=True:Accepted")).await;
    world.delete("RateLimitPolicy", "limit").await;
    world.until("Gateway", "gw", "no policy", |gateway| !types(gateway).contains(affected)).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn api_keys_are_read_for_their_label_alone() {
    let world = World::new("keys").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let selects = "apiKey: {secretSelector: {matchLabels: {tenant: a}}}";
    world.apply(&auth("auth", "{kind: Gateway, name: gw}", selects)).await;
    let says = async |words: &str| {
        world.until("AuthPolicy", "auth", words, |policy| types(policy).contains(words)).await;
    };
    says("no Secret is selected").await;
    let secret = |labels: &Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "acme", "labels": labels},
            "stringData": {"key": "correct-horse-battery"}})
        .to_string()
    };
    world.apply(&secret(&json!({"tenant": "a", "portcullis.dev/credential": "api-key"}))).await;
    says("the policy is valid\"").await;
    assert_eq!(running.held(world.name), [""; 0], "nobody names it");
    world.patch("Secret", "acme", json!({"metadata": {"labels": {"portcullis.dev/credential": null}}})).await;
    says("no Secret is selected").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_edited_into_nonsense_goes_on_as_it_was() {
    let world = World::new("lastgood").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    world.apply(&auth("auth", "{kind: Gateway, name: gw}", "jwt: {issuer: 'https://id.example'}")).await;
    world.settles("AuthPolicy", "auth", "Accepted=True:Accepted").await;
    let nonsense = json!({"spec": {"authorization": {"rules": [{"name": "a", "action": "Allow", "cel": ["("]}]}}});
    world.patch("AuthPolicy", "auth", nonsense.clone()).await;
    let said = world.settles("AuthPolicy", "auth", "Accepted=False:Invalid").await;
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("spec.authorization.rules[0].cel[0]"), "{message}");
    assert!(message.contains("last good version"), "{message}");
    running.shutdown().await;
    // Whoever never saw it well denies.
    let (running, _proxy) = world.controller().await;
    world
        .until("AuthPolicy", "auth", "denied", |policy| types(policy).contains("requests to its targets are denied"))
        .await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downgrade_is_seen_at_policy_and_route_in_an_event_and_in_a_metric() {
    let world = World::new("downgrade").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    world.apply(&auth("platform", "{kind: Gateway, name: gw}", "jwt: {issuer: 'https://id.example'}")).await;
    world.apply(&auth("team", "{kind: HTTPRoute, name: web}", "anonymous: {}")).await;
    let downgraded = "portcullis.dev/AuthenticationDowngraded=True:RequirementDropped";
    world.settles("AuthPolicy", "team", downgraded).await;
    world.settles("HTTPRoute", "web", downgraded).await;
    until("an Event", async || {
        let events = world.api("Event").list(&kube::api::ListParams::default()).await.unwrap();
        let told = events.items.iter().any(|event| event.data["reason"] == "AuthenticationDowngraded");
        if told { Ok(()) } else { Err(format!("{} others", events.items.len())) }
    })
    .await;
    let metric = r#"portcullis_controller_auth_downgrades{namespace="downgrade",policy="team"}"#;
    assert_eq!(running.metric(metric).await, Some(1.0));
    world.delete("AuthPolicy", "team").await;
    world.until("HTTPRoute", "web", "no downgrade", |route| !types(route).contains("AuthenticationDowngraded")).await;
    running.shutdown().await;
}
