//! Orders of events that a real data plane does not show at will.

use crate::support::gateway::{gateway, route, snapshot};
use crate::support::pod::{Stream, dial, hello, identity, subscribe};
use crate::support::replica::{Replica, ca, token};
use crate::support::until;
use portcullis_wire::{Ack, ClientMessage, Nack, ServerMessage};
use tonic::Code;

async fn pod(replica: &Replica, held: Option<portcullis_wire::State>) -> Stream {
    let channel = dial(replica.address, &replica.pki, Some(identity(&replica.pki, "a"))).await;
    subscribe(channel, Some(&token("a")), hello(gateway(), held)).await.unwrap()
}

/// All parts of a snapshot, and its version.
async fn snapshot_of(stream: &mut Stream) -> u64 {
    loop {
        let Some(ServerMessage::Snapshot(part)) = stream.next().await.unwrap() else { panic!("a snapshot is due") };
        if part.part + 1 == part.head.parts {
            return part.head.config.unwrap().version;
        }
    }
}

fn refusal(stream: &Stream, why: &str) -> ClientMessage {
    ClientMessage::Nack(Nack {
        version: stream.reader.held().map(|held| held.version),
        held: None,
        rejected: Vec::new(),
        warnings: Vec::new(),
        message: why.to_owned(),
    })
}

#[tokio::test]
async fn nothing_is_told_before_there_is_something_to_tell() {
    let replica = Replica::start(1, &ca()).await;
    let mut stream = pod(&replica, None).await;
    assert_eq!(replica.publisher.fleet(&gateway()), None);
    let target = replica.publisher.publish(&gateway(), &snapshot([])).target;
    assert_eq!(stream.update().await, target, "an empty configuration is one, too");
}

#[tokio::test]
async fn one_update_is_in_flight_and_what_comes_meanwhile_is_one_update_more() {
    let replica = Replica::start(1, &ca()).await;
    replica.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    let mut stream = pod(&replica, None).await;
    stream.update().await;
    for edition in 2..=9 {
        replica.publisher.publish(&gateway(), &snapshot([route(1, edition)]));
    }
    stream.acknowledge().await;
    let Some(ServerMessage::Delta(part)) = stream.next().await.unwrap() else { panic!("a delta is due") };
    let step = part.head.config.unwrap();
    assert_eq!((step.from, step.to), (1, 9));
}

#[tokio::test]
async fn a_refused_delta_is_followed_by_a_snapshot_and_a_refused_snapshot_by_patience() {
    let replica = Replica::start(1, &ca()).await;
    replica.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    let mut stream = pod(&replica, None).await;
    stream.update().await;
    stream.acknowledge().await;
    replica.publisher.publish(&gateway(), &snapshot([route(1, 2)]));
    stream.update().await;
    stream.send(refusal(&stream, "no base")).await;
    assert_eq!(snapshot_of(&mut stream).await, 2);
    stream.send(refusal(&stream, "it does not compile")).await;
    let fleet = until("the refusal", &replica.publisher, &gateway(), |fleet| {
        fleet.pods["a"].refused.as_deref() == Some("it does not compile")
    })
    .await;
    let outcome = fleet.outcome(&["a".into()].into());
    assert_eq!(outcome.laggards[0].why, "it refused the newest version: it does not compile");

    // Another version is tried at once, as a whole.
    let target = replica.publisher.publish(&gateway(), &snapshot([route(1, 3)])).target;
    assert_eq!(snapshot_of(&mut stream).await, 3);
    stream.send(ClientMessage::Ack(Ack { held: target, warnings: Vec::new() })).await;
    let is_settled = |fleet: &portcullis_publish::Fleet| fleet.outcome(&["a".into()].into()).is_settled();
    let fleet = until("the end of it", &replica.publisher, &gateway(), is_settled).await;
    assert_eq!(fleet.pods["a"].refused, None);
    assert_eq!(replica.counts()["refused"], 2);
}

#[tokio::test]
async fn a_state_that_nobody_knows_is_replaced() {
    let replica = Replica::start(1, &ca()).await;
    let target = replica.publisher.publish(&gateway(), &snapshot([route(1, 1)])).target;
    let mut stranger = target;
    stranger.version.epoch = 99;
    stranger.digests.config = portcullis_ir::Digest::from_bits(99);
    let mut stream = pod(&replica, Some(stranger)).await;
    assert!(matches!(stream.next().await, Ok(Some(ServerMessage::Snapshot(_)))));
    drop(stream);

    // The same number of the same epoch with other content: what was rejected is sent again.
    let mut rejecting = target;
    rejecting.digests.config = portcullis_ir::Digest::EMPTY;
    let mut stream = pod(&replica, Some(rejecting)).await;
    assert!(matches!(stream.next().await, Ok(Some(ServerMessage::Snapshot(_)))));
}

#[tokio::test]
async fn a_newer_stream_of_a_pod_ends_the_older_one() {
    let replica = Replica::start(1, &ca()).await;
    replica.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    let mut older = pod(&replica, None).await;
    let mut newer = pod(&replica, None).await;
    assert_eq!(older.end().await.code(), Code::Aborted);
    newer.update().await;
    newer.acknowledge().await;
    until("the newer one", &replica.publisher, &gateway(), |fleet| {
        fleet.pods["a"].connected && fleet.pods["a"].answered == Some(fleet.target.digests)
    })
    .await;
}

#[tokio::test]
async fn a_retired_gateway_ends_its_streams() {
    let replica = Replica::start(1, &ca()).await;
    replica.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    let mut stream = pod(&replica, None).await;
    stream.update().await;
    replica.publisher.retire(&gateway());
    assert_eq!(stream.end().await.code(), Code::NotFound);
    assert_eq!(replica.publisher.fleet(&gateway()), None);
    assert_eq!(replica.publisher.target(&gateway(), "a"), None);
}

#[tokio::test]
async fn a_replica_that_ends_says_so() {
    let replica = Replica::start(1, &ca()).await;
    let mut stream = pod(&replica, None).await;
    let stopped = tokio::spawn(replica.stop());
    assert_eq!(stream.end().await.code(), Code::Unavailable);
    drop(stream);
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    let replica = Replica::start(1, &ca()).await;
    let channel = dial(replica.address, &replica.pki, Some(identity(&replica.pki, "slow"))).await;
    let _slow = subscribe(channel, Some(&token("slow")), hello(gateway(), None)).await.unwrap();
    // More than its windows and queues take.
    let many: Vec<_> = (0..20_000).map(|number| route(number, 1)).collect();
    replica.publisher.publish(&gateway(), &snapshot(many.clone()));
    let mut stream = pod(&replica, None).await;
    stream.update().await;
    stream.acknowledge().await;
    let target = replica.publisher.publish(&gateway(), &snapshot(many.into_iter().skip(1))).target;
    assert_eq!(stream.update().await, target);
}
