//! A controller with nothing to say writes nothing. How long it is quiet is counted in events, not in seconds: whatever
//! it has to say about something that does not concern it, it would say before the next thing that does.

use std::ops::RangeInclusive;

use portcullis_apiserver::{Call, FaultProxy};
use serde_json::json;

use crate::support::World;

/// Rounds of something that does not matter, then something that does.
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_concern_us_makes_no_write() {
    let world = World::new("quiet").await;
    let (running, proxy) = world.controller().await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    world.route("canary", "/canary-0").await;
    world.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: unrelated}}").await;
    world.apply("{apiVersion: v1, kind: Secret, metadata: {name: unrelated}}").await;
    world.apply("{apiVersion: v1, kind: Service, metadata: {name: unrelated}, spec: {ports: [{port: 80}]}}").await;
    converge(&world, &proxy).await;
    let mark = proxy.mark();
    let unrelated = [("ConfigMap", "unrelated"), ("Secret", "unrelated"), ("Service", "unrelated"), ("Service", "web")];
    touch(&world, &unrelated, 1..=ROUNDS).await;
    let (canary, other) = apart(&world, proxy.writes_since(mark));
    assert_eq!(other, [], "written without need");
    // One write for an edit; one that came too late for the newest version may be refused and repeated.
    assert_eq!(canary.iter().filter(|call| call.answer == Some(200)).count(), ROUNDS, "{canary:#?}");

    // Metadata of our own objects changes no generation, and no status.
    let mark = proxy.mark();
    touch(&world, &[("Gateway", "gw"), ("HTTPRoute", "web")], ROUNDS + 1..=2 * ROUNDS).await;
    let (_, other) = apart(&world, proxy.writes_since(mark));
    let statuses: Vec<Call> = other.into_iter().filter(Call::is_status_write).collect();
    assert_eq!(statuses, [], "written without need");
    running.shutdown().await;
}

/// In each round an annotation of each object, then an edit of the canary, until that is said.
async fn touch(world: &World, objects: &[(&str, &str)], rounds: RangeInclusive<usize>) {
    for round in rounds {
        for (kind, name) in objects {
            world.patch(kind, name, json!({"metadata": {"annotations": {"touched": round.to_string()}}})).await;
        }
        world.route("canary", &format!("/canary-{round}")).await;
        world.settles("HTTPRoute", "canary", "Accepted=True").await;
    }
}

/// Writes of the canary's status, and all others. What other tests do with kinds that have no class (Backends, say) is
/// answered by every controller of the server, and no concern of this one.
fn apart(world: &World, writes: Vec<Call>) -> (Vec<Call>, Vec<Call>) {
    let ours = |call: &Call| call.namespace.as_deref().is_none_or(|namespace| namespace.starts_with(world.name));
    writes.into_iter().filter(ours).partition(|call| call.is_about("httproutes", world.name, "canary"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_starts_over_the_same_world_writes_no_status() {
    let world = World::new("restarted").await;
    let (running, proxy) = world.controller().await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    world.route("canary", "/canary-0").await;
    converge(&world, &proxy).await;
    running.shutdown().await;

    let (running, proxy) = world.controller().await;
    world.route("canary", "/canary-1").await;
    world.settles("HTTPRoute", "canary", "Accepted=True").await;
    let statuses: Vec<Call> =
        proxy.writes_since(portcullis_apiserver::Mark::start()).into_iter().filter(Call::is_status_write).collect();
    let (_, other) = apart(&world, statuses);
    assert_eq!(other, [], "written without need");
    running.shutdown().await;
}

/// Until everything is said: each object's status, and nothing that follows from it.
async fn converge(world: &World, proxy: &FaultProxy) {
    for route in ["web", "canary"] {
        world.settles("HTTPRoute", route, "Accepted=True").await;
    }
    world
        .until("Gateway", "gw", "both routes are attached", |gateway| {
            gateway["status"]["listeners"][0]["attachedRoutes"] == 2
        })
        .await;
    // The data planes' objects are there, and the Service that came of it is known: its ClusterIP is no news later.
    let service = portcullis_provision::resource_name(world.name, "gw");
    world.appears("Service", &service).await;
    // Two more events: what the ones before them led to is written by then.
    for path in ["/canary-a", "/canary-0"] {
        let mark = proxy.mark();
        world.route("canary", path).await;
        world.settles("HTTPRoute", "canary", "Accepted=True").await;
        proxy.saw(mark, 1, |call| call.is_status_write() && call.is_about("httproutes", world.name, "canary")).await;
    }
}
