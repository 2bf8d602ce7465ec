//! Which Gateway API is installed decides what a GatewayClass publishes, and what changes is followed.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::Api;
use kube::api::DeleteParams;
use portcullis_apiserver::{ApiServer, Bundle, Call, CrdSet, Fault, install, uninstall, until};
use serde_json::Value;

use crate::support::World;

const RETRIES: [&str; 3] = ["HTTPRouteRetry", "HTTPRouteRetryBackendTimeout", "HTTPRouteRetryConnectionError"];

fn features(class: &Value) -> Vec<&str> {
    let features = class["status"]["supportedFeatures"].as_array().map(Vec::as_slice).unwrap_or_default();
    features.iter().filter_map(|feature| feature["name"].as_str()).collect()
}

fn publishes<'a>(yes: &'a [&str], no: &'a [&str]) -> impl Fn(&Value) -> bool + 'a {
    move |class| {
        let features = features(class);
        yes.iter().all(|one| features.contains(one)) && !no.iter().any(|one| features.contains(one))
    }
}

/// The policy that a channel comes with, and that lets nobody go from standard to experimental.
async fn lift_the_policy(world: &World) {
    const NAME: &str = "safe-upgrades.gateway.networking.k8s.io";
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.client.clone());
    bindings.delete(NAME, &DeleteParams::default()).await.unwrap();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.client.clone());
    policies.delete(NAME, &DeleteParams::default()).await.unwrap();
    // The server takes a moment to forget it: an edit that it forbids says when.
    until("the policy is lifted", async || {
        let api = world.definitions();
        let no_version =
            serde_json::json!({"metadata": {"annotations": {"gateway.networking.k8s.io/bundle-version": null}}});
        let patch = kube::api::Patch::Merge(no_version);
        let name = "udproutes.gateway.networking.k8s.io";
        api.patch(name, &kube::api::PatchParams::default(), &patch).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn features_follow_the_definitions_without_a_restart() {
    let world = World::on("channels", ApiServer::start_with(&[CrdSet::Standard(Bundle::V1_6_3)])).await;
    let (running, _proxy) = world.controller().await;
    let condition = world.settles("GatewayClass", "channels", "SupportedVersion=True:SupportedVersion").await;
    assert_eq!(condition["message"], "Gateway API v1.6.3 (standard) is installed");
    let standard =
        ["GRPCRoute", "GatewayInfrastructure", "HTTPRouteCORS", "ListenerSet", "TLSRouteModeMixed", "UDPRoute"];
    let class = world.until("GatewayClass", "channels", "1.6 standard", publishes(&standard, &RETRIES)).await;
    assert!(features(&class).is_sorted());

    lift_the_policy(&world).await;
    let condition = world.settles("GatewayClass", "channels", "SupportedVersion=False:UnsupportedVersion").await;
    assert!(condition["message"].as_str().unwrap().contains("UDPRoute: no version"), "{condition}");
    world.until("GatewayClass", "channels", "no UDPRoute", publishes(&["TCPRoute"], &["UDPRoute"])).await;

    install(&world.client, &[CrdSet::Experimental(Bundle::V1_6_3)]).await;
    world.until("GatewayClass", "channels", "1.6 experimental", publishes(&RETRIES, &["HTTPRouteRetryCodes"])).await;
    world.settles("GatewayClass", "channels", "SupportedVersion=True").await;

    install(&world.client, &[CrdSet::Standard(Bundle::V1_7_0)]).await;
    let new = ["HTTPRouteBackendURLRewrite", "HTTPRouteRetryCodes", "HTTPRouteRetryConnectionError"];
    world.until("GatewayClass", "channels", "1.7", publishes(&new, &["HTTPRouteRetry"])).await;
    world.settles("GatewayClass", "channels", "SupportedVersion=True").await;

    uninstall(&world.client, &CrdSet::Some(Bundle::V1_7_0, &["tlsroutes"])).await;
    world.until("GatewayClass", "channels", "no TLSRoute", publishes(&new, &["TLSRoute", "TLSRouteModeMixed"])).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_read_the_definitions_serves_all_the_same_and_says_so() {
    let world = World::new("unread").await;
    world.gateway().await;
    let proxy = world.proxy();
    proxy.inject(usize::MAX, Fault::Status(403), |call: &Call| call.resource == "customresourcedefinitions");
    let running = world.replica(&proxy, "a").await;
    running.leads().await;
    running.is_ready().await;
    world.settles("Gateway", "gw", "Accepted=True").await;
    let condition = world.settles("GatewayClass", "unread", "SupportedVersion=False:UnsupportedVersion").await;
    assert!(condition["message"].as_str().unwrap().contains("docs/reference/rbac.md"), "{condition}");
    world.until("GatewayClass", "unread", "the core alone", publishes(&["HTTPRoute"], &["HTTPRouteCORS"])).await;
    proxy.heal();
    world.settles("GatewayClass", "unread", "SupportedVersion=True").await;
    world.until("GatewayClass", "unread", "everything", publishes(&["HTTPRouteCORS"], &[])).await;
    running.shutdown().await;
}
