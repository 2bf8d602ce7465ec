//! Objects that an API server takes and this controller cannot read: those of a newer release, say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use portcullis_apiserver::{ApiServer, Bundle, CrdSet, until};
use serde_json::{Value, json};

use crate::support::{Running, World};

/// A server whose kinds take anything, as a release that is not out yet might.
async fn lax(name: &'static str) -> World {
    let server = ApiServer::start_with(&[CrdSet::Standard(Bundle::V1_7_0), CrdSet::Portcullis]);
    let crds: Api<CustomResourceDefinition> = Api::all(server.client());
    for crd in ["httproutes.gateway.networking.k8s.io", "gateways.gateway.networking.k8s.io", "backends.portcullis.dev"]
    {
        let mut value = json!(crds.get(crd).await.unwrap());
        for version in value["spec"]["versions"].as_array_mut().unwrap() {
            let schema = &mut version["schema"]["openAPIV3Schema"]["properties"];
            schema["spec"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        }
        let patch = json!({"spec": {"versions": value["spec"]["versions"]}});
        crds.patch(crd, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
    World::on(name, server).await
}

async fn invalid_routes(running: &Running, expected: f64) {
    until("routes that do not parse", async || {
        let count =
            running.metric(r#"portcullis_controller_invalid_objects{kind="HTTPRoute"}"#).await.unwrap_or_default();
        if (count - expected).abs() < 0.5 { Ok(()) } else { Err(format!("{count}")) }
    })
    .await;
}

fn attached(count: u64) -> impl Fn(&Value) -> bool {
    move |gateway| gateway["status"]["listeners"][0]["attachedRoutes"] == count
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_parse_is_never_its_old_self() {
    let world = lax("lax").await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/web").await;
    world.route("good", "/good").await;
    let (running, _proxy) = world.controller().await;
    world.settles("HTTPRoute", "web", "Accepted=True").await;
    world.until("Gateway", "gw", "two routes", attached(2)).await;

    // The schema of a server takes some time to change: the first that gets through is enough.
    until("the server takes anything", async || {
        let nonsense = Patch::Merge(json!({"spec": {"rules": "none"}}));
        let answer = world.api("HTTPRoute").patch("web", &PatchParams::default(), &nonsense).await;
        answer.map(drop).map_err(|error| error.to_string())
    })
    .await;
    world.until("Gateway", "gw", "one route", attached(1)).await;
    invalid_routes(&running, 1.0).await;
    // Nothing else changes.
    world.settles("HTTPRoute", "good", "Accepted=True").await;

    world.route("web", "/web").await;
    world.until("Gateway", "gw", "two routes again", attached(2)).await;
    world.settles("HTTPRoute", "web", "Accepted=True").await;
    invalid_routes(&running, 0.0).await;

    // Deleted while it does not parse.
    world.patch("HTTPRoute", "web", json!({"spec": {"rules": "none"}})).await;
    invalid_routes(&running, 1.0).await;
    world.delete("HTTPRoute", "web").await;
    invalid_routes(&running, 0.0).await;

    // A Backend that does not parse is there, and nobody may use it.
    world
        .apply("{apiVersion: portcullis.dev/v1alpha1, kind: Backend, metadata: {name: odd}, spec: {endpoints: 3}}")
        .await;
    let to_odd =
        json!({"spec": {"rules": [{"backendRefs": [{"group": "portcullis.dev", "kind": "Backend", "name": "odd"}]}]}});
    world.patch("HTTPRoute", "good", to_odd).await;
    world.settles("HTTPRoute", "good", "ResolvedRefs=False").await;
    running.shutdown().await;
}
