//! Which kinds there are: the standard channel of several releases, and what is missing at first.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::PostParams;
use portcullis_apiserver::{ApiServer, Bundle, CrdSet, install, uninstall, until};
use serde_json::json;

use crate::support::World;

const CORE: CrdSet = CrdSet::Some(Bundle::V1_6_3, &["gatewayclasses", "gateways", "httproutes"]);
const GRANTS: CrdSet = CrdSet::Some(Bundle::V1_6_3, &["referencegrants"]);

#[tokio::test(flavor = "multi_thread")]
async fn optional_kinds_may_come_later_and_go_again() {
    let world = World::on("late", ApiServer::start_with(&[CORE])).await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    let (running, _proxy) = world.controller().await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;

    let to = |rest: serde_json::Value| {
        let mut reference = json!({"name": "web", "port": 80});
        reference.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!({"spec": {"rules": [{"backendRefs": [reference]}]}})
    };
    // Without ReferenceGrant nothing is granted, and that is no fault of ours.
    portcullis_apiserver::apply(
        &world.client,
        "late-other",
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}",
    )
    .await;
    world.patch("HTTPRoute", "web", to(json!({"namespace": "late-other"}))).await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=False:RefNotPermitted").await;
    install(&world.client, &[GRANTS]).await;
    let grant = "
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: routes}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: late}]
  to: [{group: '', kind: Service}]
";
    portcullis_apiserver::apply(&world.client, "late-other", grant).await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    uninstall(&world.client, &GRANTS).await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=False:RefNotPermitted").await;

    // Our own kinds.
    world.patch("HTTPRoute", "web", to(json!({"group": "portcullis.dev", "kind": "Backend"}))).await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=False").await;
    install(&world.client, &[CrdSet::Portcullis]).await;
    world
        .apply("{apiVersion: portcullis.dev/v1alpha1, kind: Backend, metadata: {name: web}, spec: {endpoints: [{ip: 10.0.0.1, port: 80}]}}")
        .await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_release_has_grants_in_their_beta_alone() {
    let world = World::on("older", ApiServer::start_with(&[CORE, GRANTS])).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let name = "referencegrants.gateway.networking.k8s.io";
    let mut definition = definitions.get(name).await.unwrap();
    definition.spec.versions.retain(|version| version.name == "v1beta1");
    definition.metadata.managed_fields = None;
    definitions.replace(name, &PostParams::default(), &definition).await.unwrap();

    world.gateway().await;
    world.route("web", "/").await;
    let service = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}";
    portcullis_apiserver::apply(&world.client, "older-other", service).await;
    let reference = json!({"name": "web", "port": 80, "namespace": "older-other"});
    world.patch("HTTPRoute", "web", json!({"spec": {"rules": [{"backendRefs": [reference]}]}})).await;
    let (running, _proxy) = world.controller().await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=False:RefNotPermitted").await;
    let grant = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: routes}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: older}]
  to: [{group: '', kind: Service}]
";
    portcullis_apiserver::apply(&world.client, "older-other", grant).await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_gateway_api_it_waits_and_says_for_what() {
    let server = ApiServer::start_with(&[CrdSet::Some(Bundle::V1_7_0, &["gatewayclasses"])]);
    let world = World::on("bare", server).await;
    let proxy = world.proxy();
    let running = world.replica(&proxy, "a").await;
    portcullis_apiserver::until("it says what is missing", async || {
        let missing = running.missing();
        if missing.contains("Gateway is not installed") && missing.contains("HTTPRoute is not installed") {
            Ok(())
        } else {
            Err(missing)
        }
    })
    .await;
    install(&world.client, &[CrdSet::Some(Bundle::V1_7_0, &["gateways", "httproutes"])]).await;
    world.gateway().await;
    world.settles("Gateway", "gw", "Accepted=True").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_release_is_served() {
    let server = ApiServer::start_with(&[CrdSet::Standard(Bundle::V1_7_0), CrdSet::Portcullis]);
    let world = World::on("newest", server).await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    world.settles("GatewayClass", "newest", "Accepted=True").await;
    world.settles("Gateway", "gw", "Accepted=True").await;
    world.settles("HTTPRoute", "web", "Accepted=True").await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn x_backends_are_told_in_the_words_of_the_release_that_is_installed() {
    for (name, bundle, port, list, reference) in [
        ("x-older", Bundle::V1_6_3, "port", "parents", "parentRef"),
        ("x-newest", Bundle::V1_7_0, "number", "ancestors", "ancestorRef"),
    ] {
        let world = World::on(name, ApiServer::start_with(&[CrdSet::Experimental(bundle), CrdSet::Portcullis])).await;
        let (running, _proxy) = world.controller().await;
        world.gateway().await;
        let backend = "
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackend
metadata: {name: out}
spec: {type: ExternalHostname, externalHostname: {hostname: api.example.com}, port: {PORT: 443}}
";
        world.apply(&backend.replace("PORT", port)).await;
        world.route("web", "/").await;
        let to = json!({"group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "out"});
        world.patch("HTTPRoute", "web", json!({"spec": {"rules": [{"backendRefs": [to]}]}})).await;
        world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
        let told = async |expected: serde_json::Value| {
            until(&format!("the XBackend is told {expected}"), async || {
                let object = world.get("XBackend", "out").await.unwrap_or_default();
                let entries = object["status"][list].as_array().cloned().unwrap_or_default();
                let entry = |one: &serde_json::Value| {
                    let accepted = &one["conditions"][0];
                    json!([
                        one["controllerName"],
                        one[reference]["name"],
                        accepted["type"],
                        accepted["status"],
                        accepted["reason"]
                    ])
                };
                let found = json!(entries.iter().map(entry).collect::<Vec<_>>());
                if found == expected { Ok(()) } else { Err(object["status"].to_string()) }
            })
            .await;
        };
        let us = &world.controller_name;
        told(json!([[us, "gw", "Accepted", "True", "Accepted"]])).await;
        world.patch("XBackend", "out", json!({"spec": {"protocol": "MCP"}})).await;
        told(json!([[us, "gw", "Accepted", "False", "UnsupportedValue"]])).await;
        world.settles("HTTPRoute", "web", "ResolvedRefs=False:InvalidBackend").await;
        world.delete("HTTPRoute", "web").await;
        told(json!([])).await;
        running.shutdown().await;
    }
}
