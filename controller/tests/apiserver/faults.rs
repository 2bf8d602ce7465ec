//! The API server misbehaves; afterwards everything is as it should be, and meanwhile nothing is taken back.

use portcullis_apiserver::{Call, Fault, FaultProxy, Verb, until};

use crate::support::{Running, World};

/// A world with a Gateway and a route that are settled.
async fn settled(name: &'static str) -> (World, Running, FaultProxy) {
    let world = World::new(name).await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    let (running, proxy) = world.controller().await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    (world, running, proxy)
}

/// Something of each watch arrives: a new route, its Service, and an edit of the Gateway.
async fn everything_arrives(world: &World) {
    world.apply("{apiVersion: v1, kind: Service, metadata: {name: late}, spec: {ports: [{port: 80}]}}").await;
    world
        .apply(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: late}
spec:
  parentRefs: [{name: gw, sectionName: late}]
  rules: [{backendRefs: [{name: late, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: CLASS
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: late, port: 8080, protocol: HTTP}
",
        )
        .await;
    world.settles("HTTPRoute", "late", "Accepted=True").await;
    world.settles("HTTPRoute", "late", "ResolvedRefs=True").await;
    world.listener_settles("gw", "late", "Accepted=True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_expired_are_listed_again() {
    let (world, running, proxy) = settled("expired").await;
    let mark = proxy.mark();
    proxy.expire_watches(|call| call.verb == Verb::Watch);
    proxy.saw(mark, 1, |call| call.verb == Verb::List && call.resource == "httproutes").await;
    everything_arrives(&world).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_while_a_watch_is_expired_is_gone_afterwards() {
    let (world, running, proxy) = settled("deleted-meanwhile").await;
    // While the list is refused, nothing is known of the deletion; nothing else may follow from that either.
    let mark = proxy.mark();
    proxy.inject(2, Fault::Status(500), |call| call.verb == Verb::List && call.resource == "services");
    proxy.expire_watches(|call| call.resource == "services");
    proxy.saw(mark, 2, |call| call.verb == Verb::List && call.resource == "services").await;
    world.delete("Service", "web").await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=False:BackendNotFound").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_are_closed_go_on() {
    let (world, running, proxy) = settled("closed").await;
    let mark = proxy.mark();
    proxy.close_watches(|call| call.verb == Verb::Watch);
    proxy.saw(mark, 1, |call| call.verb == Verb::Watch && call.resource == "httproutes").await;
    everything_arrives(&world).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_watches_that_fail_are_tried_again() {
    let world = World::new("failing").await;
    world.gateway().await;
    world.service().await;
    world.route("web", "/").await;
    let proxy = world.proxy();
    let reads = |call: &Call| matches!(call.verb, Verb::List | Verb::Watch);
    proxy.inject(6, Fault::Status(500), reads);
    proxy.inject(6, Fault::TooManyRequests { retry_after: 1 }, reads);
    proxy.inject(3, Fault::Gone, reads);
    proxy.inject(3, Fault::Cut, reads);
    let running = world.replica(&proxy, "a").await;
    running.leads().await;
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    everything_arrives(&world).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_fail_are_tried_again() {
    let world = World::new("refused").await;
    let (running, proxy) = world.controller().await;
    world.gateway().await;
    world.service().await;
    for fault in [
        Fault::Status(500),
        Fault::TooManyRequests { retry_after: 1 },
        Fault::Cut,
        Fault::CutAnswer,
        Fault::Status(409),
    ] {
        proxy.inject(1, fault, |call| call.is_status_write() && call.is_about("httproutes", "refused", "web"));
    }
    let mark = proxy.mark();
    world.route("web", "/").await;
    // A write that was done although nobody learnt of it is no reason to write again.
    world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    proxy.heal();
    for path in ["/1", "/2"] {
        world.route("web", path).await;
        world.settles("HTTPRoute", "web", "ResolvedRefs=True").await;
    }
    let answers: Vec<_> =
        proxy.writes_since(mark).into_iter().filter(Call::is_status_write).map(|call| call.answer).collect();
    assert!(answers.contains(&Some(500)), "{answers:?}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_was_away_finds_everything_as_it_was() {
    let (world, mut running, proxy) = settled("away").await;
    let before = world.get("HTTPRoute", "web").await.unwrap();
    let mark = proxy.mark();
    proxy.go_away().await;
    // The lease cannot be renewed: this replica stops writing, and its process would end and be started again.
    running.loses_the_lease().await;
    world.apply("{apiVersion: v1, kind: Service, metadata: {name: meanwhile}, spec: {ports: [{port: 80}]}}").await;
    proxy.come_back();
    assert_eq!(proxy.writes_since(mark), []);
    running.shutdown().await;

    let running = world.replica(&proxy, "a-again").await;
    running.leads().await;
    everything_arrives(&world).await;
    let after = world.get("HTTPRoute", "web").await.unwrap();
    assert_eq!(before["status"], after["status"], "nothing was taken back");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_outlives_an_api_server_that_is_away() {
    let (world, leader, _leaders_way) = settled("follower").await;
    let proxy = world.proxy();
    let follower = world.replica(&proxy, "b").await;
    follower.is_ready().await;
    proxy.go_away().await;
    // What changes meanwhile is not seen, and nothing is given up.
    world.route("meanwhile", "/meanwhile").await;
    world.settles("HTTPRoute", "meanwhile", "Accepted=True").await;
    proxy.come_back();
    leader.shutdown().await;
    follower.leads().await;
    until("the follower has caught up", async || {
        let routes = follower.metric(r#"portcullis_controller_watch_synced{kind="HTTPRoute"}"#).await;
        if routes == Some(1.0) { Ok(()) } else { Err(format!("{routes:?}")) }
    })
    .await;
    everything_arrives(&world).await;
    follower.shutdown().await;
}
