//! What a data plane is told, and what that costs.

use std::net::TcpListener;
use std::sync::Arc;

use crate::support::gateway::{backend, endpoints, gateway, http, listener, route, snapshot};
use crate::support::plane::Plane;
use crate::support::replica::{Replica, ca, pki};
use crate::support::wire::Wire;
use crate::support::{until, until_in_force};
use portcullis_ir::ResourceKey;
use portcullis_publish::Publisher;
use portcullis_wire::{Limits, Rejection, RejectionCode};

#[tokio::test(flavor = "multi_thread")]
async fn a_data_plane_is_given_everything_once_and_then_what_changes() {
    let replica = Replica::start(1, &ca()).await;
    let plane = Plane::start("a", replica.address, &replica.pki);
    replica.publisher.publish(&gateway(), &snapshot([route(1, 1), backend(1), endpoints(1, 80)]));
    until_in_force(&replica.publisher, &gateway(), "a").await;
    assert_eq!(replica.sent(), (1, 0));

    let published = replica.publisher.publish(&gateway(), &snapshot([route(1, 2), backend(1), endpoints(1, 80)]));
    assert_eq!(published.target.version.number, 2);
    let pod = until_in_force(&replica.publisher, &gateway(), "a").await;
    assert_eq!(pod.held, Some(published.target));
    assert_eq!(replica.sent(), (1, 1));

    // The live lane has no number.
    let published = replica.publisher.publish(&gateway(), &snapshot([route(1, 2), backend(1), endpoints(1, 81)]));
    assert_eq!(published.target.version.number, 2);
    let pod = until_in_force(&replica.publisher, &gateway(), "a").await;
    assert_eq!(pod.held, Some(published.target));
    assert_eq!(replica.sent(), (1, 2));

    let metrics = plane.page("/metrics").await;
    assert!(metrics.contains("portcullis_dataplane_controller_connected 1"), "{metrics}");
    plane.stop().await;
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_costs_nothing_whichever_replica_answers() {
    let material = ca();
    let first = Replica::start(1, &material).await;
    let second = Replica::start(2, &material).await;
    // The two have seen different histories and the same present.
    second.publisher.publish(&gateway(), &snapshot([route(7, 7)]));
    let present = snapshot([route(1, 1), backend(1), endpoints(1, 80)]);
    for replica in [&first, &second] {
        replica.publisher.publish(&gateway(), &present);
    }
    let wire = Wire::start(Some(first.address)).await;
    let plane = Plane::start("a", wire.address, &first.pki);
    until_in_force(&first.publisher, &gateway(), "a").await;

    wire.cut();
    until("a second stream", &first.publisher, &gateway(), |fleet| {
        first.counts()["streams"] == 2 && fleet.pods["a"].connected && fleet.pods["a"].answered.is_some()
    })
    .await;
    assert_eq!(first.sent(), (1, 0));

    wire.lead(Some(second.address));
    let pod = until_in_force(&second.publisher, &gateway(), "a").await;
    assert_eq!(pod.held.map(|held| held.version.epoch), Some(1), "nothing was sent, so the number is the first's");
    assert_eq!(second.sent(), (0, 0));

    // It goes on from there by difference.
    let published = second.publisher.publish(&gateway(), &snapshot([route(1, 2), backend(1), endpoints(1, 80)]));
    let pod = until_in_force(&second.publisher, &gateway(), "a").await;
    assert_eq!((pod.held, second.sent()), (Some(published.target), (0, 1)));

    // Back at the first, which has seen the same config lane with another live lane.
    let published = first.publisher.publish(&gateway(), &snapshot([route(1, 2), backend(1), endpoints(1, 81)]));
    wire.lead(Some(first.address));
    let pod = until_in_force(&first.publisher, &gateway(), "a").await;
    assert_eq!((pod.held, first.sent()), (Some(published.target), (1, 1)));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_plane_that_restarts_is_sent_what_it_missed() {
    let replica = Replica::start(1, &ca()).await;
    replica.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    let folder = tempfile::TempDir::new().unwrap();
    let plane = Plane::start_in(folder, "a", replica.address, &replica.pki, true);
    until_in_force(&replica.publisher, &gateway(), "a").await;
    let folder = plane.stop().await;
    until("its departure", &replica.publisher, &gateway(), |fleet| !fleet.pods["a"].connected).await;
    replica.publisher.publish(&gateway(), &snapshot([route(1, 2)]));

    let plane = Plane::start_in(folder, "a", replica.address, &replica.pki, true);
    until_in_force(&replica.publisher, &gateway(), "a").await;
    assert_eq!(replica.sent(), (1, 1));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_told_to_every_replica() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let material = ca();
    let replicas = [Replica::start(1, &material).await, Replica::start(2, &material).await];
    for replica in &replicas {
        replica.publisher.publish(&gateway(), &snapshot([listener(port)]));
    }
    let wire = Wire::start(Some(replicas[0].address)).await;
    let plane = Plane::start("a", wire.address, &replicas[0].pki);
    for replica in &replicas {
        wire.lead(Some(replica.address));
        until_in_force(&replica.publisher, &gateway(), "a").await;
        let fleet = replica.publisher.fleet(&gateway()).unwrap();
        let outcome = fleet.outcome(&["a".into()].into());
        assert!(outcome.is_settled());
        let refusal = outcome.listeners[&http()].as_ref().unwrap_err();
        assert!(refusal.contains(&port.to_string()), "{refusal}");
    }
    drop(taken);
    let last = &replicas[1].publisher;
    until("the port's turn", last, &gateway(), |fleet| {
        fleet.outcome(&["a".into()].into()).listeners.get(&http()) == Some(&Ok(()))
    })
    .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_does_not_notice_that_the_controller_is_gone() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let replica = Replica::start(1, &ca()).await;
    replica.publisher.publish(&gateway(), &snapshot([listener(port), route(1, 1)]));
    let plane = Plane::start("a", replica.address, &replica.pki);
    until_in_force(&replica.publisher, &gateway(), "a").await;
    replica.stop().await;
    let mut ready = plane.page("/readyz").await;
    // The stream's end is noticed by itself; the page says so from then on.
    crate::support::within("the page's word", async {
        while !ready.contains("no controller:") {
            tokio::task::yield_now().await;
            ready = plane.page("/readyz").await;
        }
    })
    .await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let answer = crate::support::plane::request(port, "/1/1").await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    plane.stop().await;
}

#[test]
fn what_no_data_plane_takes_is_left_out_or_refused_as_a_whole() {
    let publisher = Publisher::with_limits(1, Limits { max_resources: 2, max_resource: 1000, ..Limits::default() });
    let first = publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    assert_eq!(first.refused_whole, None);
    let second = publisher.publish(&gateway(), &snapshot([route(1, 2), route(2, 1), route(3, 1)]));
    assert_eq!(second.target, first.target);
    assert!(second.refused_whole.unwrap().starts_with("3 resources are more than the 2"));

    // Beside one that is refused, the others are served, and the refused one's former self is not.
    let too_long = match route(1, 2) {
        portcullis_ir::Resource::Route(route) => {
            let mut route = portcullis_ir::Route::clone(&route);
            route.matches[0].path = portcullis_ir::PathMatch::Exact(format!("/{}", "x".repeat(1000)).into());
            portcullis_ir::Resource::Route(Arc::new(route))
        }
        other => other,
    };
    let third = publisher.publish(&gateway(), &snapshot([too_long.clone(), route(2, 1), backend(1)]));
    assert_eq!(third.refused_whole, None);
    assert!(matches!(&third.refused[..], [(key, why)] if *key == too_long.key() && why.contains("1000")));
    let left = publisher.publish(&gateway(), &snapshot([route(2, 1), backend(1)]));
    assert_eq!((left.target, left.refused), (third.target, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_one_gateway_may_be_told_different_versions() {
    let replica = Replica::start_with(Publisher::new(1), pki(&ca())).await;
    let publisher = &replica.publisher;
    let stable = publisher.publish(&gateway(), &snapshot([route(1, 1), endpoints(1, 80)])).target;
    let planes = ["canary", "other"].map(|pod| Plane::start(pod, replica.address, &replica.pki));
    publisher.set_target(&gateway(), Some(Arc::new(|pod: &str| (pod != "canary").then_some(1))));
    let newest = publisher.publish(&gateway(), &snapshot([route(1, 2), endpoints(1, 81)])).target;
    until_in_force(publisher, &gateway(), "canary").await;
    let told = publisher.target(&gateway(), "other").unwrap();
    assert_eq!(told.version, stable.version);
    assert_eq!(told.digests.config, stable.digests.config);
    assert_eq!(told.digests.live, newest.digests.live, "the live lane never waits");
    until("the other's version", publisher, &gateway(), |fleet| {
        fleet.pods.get("other").is_some_and(|pod| pod.held == Some(told))
    })
    .await;

    // And back: the canary too.
    publisher.set_target(&gateway(), Some(Arc::new(|_: &str| Some(1))));
    until("the way back", publisher, &gateway(), |fleet| fleet.pods["canary"].held == Some(told)).await;
    publisher.set_target(&gateway(), None);
    for pod in ["canary", "other"] {
        until_in_force(publisher, &gateway(), pod).await;
    }
    for plane in planes {
        plane.stop().await;
    }
}

#[test]
fn a_rejection_without_a_listener_says_nothing_about_listeners() {
    let key = Some(ResourceKey::Backend(portcullis_ir::BackendKey::service("team", "b", 80)));
    let rejected = vec![Rejection { key, code: RejectionCode::Unsupported, message: "newer".to_owned() }];
    let publisher = Publisher::new(1);
    let target = publisher.publish(&gateway(), &snapshot([listener(80)])).target;
    let peer = "peer#0".into();
    let state = portcullis_publish::Pod {
        held: Some(target),
        answered: Some(target.digests),
        rejected,
        connected: true,
        ..portcullis_publish::Pod::default()
    };
    let report = portcullis_publish::PodReport { gateway: gateway(), pod: "a".into(), state: Some(state) };
    publisher.merge_peer(&peer, report);
    let outcome = publisher.fleet(&gateway()).unwrap().outcome(&["a".into()].into());
    assert!(outcome.is_settled());
    assert_eq!(outcome.listeners, [(http(), Ok(()))].into());
}
