//! Several replicas of the controller, one of which writes status.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::gateway::{gateway, route, snapshot};
use crate::support::plane::Plane;
use crate::support::pod::{dial, hello, identity, subscribe};
use crate::support::replica::{Replica, ca, token};
use crate::support::wire::Wire;
use crate::support::{until, until_in_force, within};
use portcullis_ir::IssuerKey;
use portcullis_publish::report_to;
use portcullis_wire::{ClientMessage, Wanted};
use tokio::sync::oneshot;

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_knows_pods_that_are_connected_to_others() {
    let material = ca();
    let leader = Replica::start(1, &material).await;
    let follower = Replica::start(2, &material).await;
    let wire = Wire::start(Some(leader.address)).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let reporting = tokio::spawn(report_to(
        wire.address.to_string(),
        "follower".into(),
        Arc::clone(&follower.pki),
        Arc::clone(&follower.publisher),
        async {
            let _ = stopped.await;
        },
    ));
    // The leader has not translated anything yet when the first reports come.
    follower.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    let plane = Plane::start("a", follower.address, &follower.pki);
    until_in_force(&follower.publisher, &gateway(), "a").await;
    leader.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    until_in_force(&leader.publisher, &gateway(), "a").await;

    // Digests compare, although the replicas count differently.
    for edition in 2..5 {
        follower.publisher.publish(&gateway(), &snapshot([route(1, edition)]));
    }
    leader.publisher.publish(&gateway(), &snapshot([route(1, 4)]));
    until_in_force(&leader.publisher, &gateway(), "a").await;

    // Each connection begins with everything.
    wire.cut();
    until_in_force(&leader.publisher, &gateway(), "a").await;

    // A pod that has left its replica stays known, not connected.
    plane.stop().await;
    until("the departure", &leader.publisher, &gateway(), |fleet| {
        fleet.pods.get("a").is_some_and(|pod| !pod.connected)
    })
    .await;

    // A replica that leaves takes its pods with it.
    drop(stop);
    within("the reporter's end", reporting).await.unwrap();
    until("a fleet without the follower's pods", &leader.publisher, &gateway(), |fleet| fleet.pods.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_data_plane_wants_to_be_fetched_reaches_the_leader_wherever_it_is_connected() {
    let material = ca();
    let leader = Replica::start(1, &material).await;
    let follower = Replica::start(2, &material).await;
    tokio::spawn(report_to(
        leader.address.to_string(),
        "follower".into(),
        Arc::clone(&follower.pki),
        Arc::clone(&follower.publisher),
        std::future::pending(),
    ));
    let issuers = |from: u32, to: u32| -> BTreeSet<IssuerKey> {
        (from..to).map(|at| IssuerKey(format!("https://issuer{at:03}.example").into())).collect()
    };
    let mut wanted = leader.publisher.wanted();
    for (replica, from, to) in [(&leader, 0, 2), (&follower, 2, 90)] {
        let channel = dial(replica.address, &replica.pki, Some(identity(&replica.pki, "a"))).await;
        let stream = subscribe(channel, Some(&token("a")), hello(gateway(), None)).await.unwrap();
        let mut asked = issuers(from, to);
        while let Some(some) = Wanted::take(&mut asked) {
            stream.send(ClientMessage::Wanted(some)).await;
        }
        within("the wish", wanted.wait_for(|all| all.is_superset(&issuers(from, to)))).await.unwrap();
    }
    assert_eq!(leader.publisher.take_wanted(), issuers(0, 90));
    assert!(leader.publisher.take_wanted().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_changes_its_replica_is_there_once() {
    let material = ca();
    let leader = Replica::start(1, &material).await;
    let follower = Replica::start(2, &material).await;
    tokio::spawn(report_to(
        leader.address.to_string(),
        "follower".into(),
        Arc::clone(&follower.pki),
        Arc::clone(&follower.publisher),
        std::future::pending(),
    ));
    for replica in [&leader, &follower] {
        replica.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    }
    let wire = Wire::start(Some(follower.address)).await;
    let plane = Plane::start("a", wire.address, &follower.pki);
    until_in_force(&leader.publisher, &gateway(), "a").await;
    wire.lead(Some(leader.address));
    until("the move", &leader.publisher, &gateway(), |fleet| {
        leader.counts()["streams"] == 1 && fleet.pods["a"].connected
    })
    .await;
    until("the follower's notice", &follower.publisher, &gateway(), |fleet| !fleet.pods["a"].connected).await;
    let pod = until_in_force(&leader.publisher, &gateway(), "a").await;
    assert!(pod.connected);
    plane.stop().await;
}
