//! Who gets nothing, and what they are told.

use std::time::{Duration, SystemTime};

use crate::support::gateway::{gateway, route, snapshot};
use crate::support::pod::{Identity, dial, hello, identity, identity_at, issue, report, request_for, subscribe};
use crate::support::replica::{Replica, ca, pki, token};
use portcullis_ir::GatewayKey;
use portcullis_publish::DeniedReason;
use portcullis_wire::{IssueRequest, PodReport, Report};
use tonic::{Code, Status};

async fn replica() -> Replica {
    let replica = Replica::start(1, &ca()).await;
    replica.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    replica
}

/// What a stranger with these papers is told.
async fn refused(replica: &Replica, identity: Option<Identity>, token: Option<&str>, first: Vec<u8>) -> Status {
    let channel = dial(replica.address, &replica.pki, identity).await;
    match subscribe(channel, token, first).await {
        Ok(_) => panic!("a stream was opened"),
        Err(status) => status,
    }
}

fn is(status: &Status, code: Code, text: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(text), "{status:?}");
}

#[tokio::test]
async fn a_certificate_is_given_for_a_token_of_the_gateway_only() {
    let replica = replica().await;
    let channel = dial(replica.address, &replica.pki, None).await;
    let reply = issue(channel.clone(), Some(&token("a")), request_for(gateway())).await.unwrap();
    assert_eq!(reply.chain.len(), 1);
    let other = || request_for(GatewayKey::new("team", "other"));
    let status = issue(channel.clone(), Some(&token("a")), other()).await.unwrap_err();
    is(&status, Code::PermissionDenied, "may not have this Gateway");
    let status = issue(channel.clone(), Some("stolen"), request_for(gateway())).await.unwrap_err();
    is(&status, Code::Unauthenticated, "the token is refused: it is expired");
    let status = issue(channel.clone(), None, request_for(gateway())).await.unwrap_err();
    is(&status, Code::Unauthenticated, "there is no token");
    let nonsense = IssueRequest { gateway: gateway(), csr: b"nonsense".to_vec() };
    let status = issue(channel, Some(&token("a")), nonsense.encode_to_vec()).await.unwrap_err();
    is(&status, Code::InvalidArgument, "PKCS#10");
    let stats = replica.publisher.stats();
    let counts = [DeniedReason::Gateway, DeniedReason::Token, DeniedReason::Protocol].map(|why| stats.denied(why));
    assert_eq!(counts, [1, 2, 1]);
}

#[tokio::test]
async fn a_stream_needs_a_certificate_that_is_ours_and_good_today() {
    let replica = replica().await;
    let status = refused(&replica, None, Some(&token("a")), hello(gateway(), None)).await;
    is(&status, Code::Unauthenticated, "no client certificate");
    let long_ago = SystemTime::now() - Duration::from_hours(48);
    let expired = identity_at(&replica.pki, &gateway(), "a", long_ago);
    let status = refused(&replica, Some(expired), Some(&token("a")), hello(gateway(), None)).await;
    is(&status, Code::Unauthenticated, "expired");
    let foreign = identity(&pki(&ca()), "a");
    let status = refused(&replica, Some(foreign), Some(&token("a")), hello(gateway(), None)).await;
    is(&status, Code::Unauthenticated, "the client certificate is refused");
    let stats = replica.publisher.stats();
    assert_eq!([DeniedReason::NoCertificate, DeniedReason::Certificate].map(|why| stats.denied(why)), [1, 2]);
}

#[tokio::test]
async fn a_stream_needs_a_token_that_agrees_with_the_certificate() {
    let replica = replica().await;
    let mine = identity(&replica.pki, "a");
    let status = refused(&replica, Some(mine.clone()), None, hello(gateway(), None)).await;
    is(&status, Code::Unauthenticated, "there is no token");
    let status = refused(&replica, Some(mine.clone()), Some("stolen"), hello(gateway(), None)).await;
    is(&status, Code::Unauthenticated, "the token is refused");
    let status = refused(&replica, Some(mine.clone()), Some(&token("b")), hello(gateway(), None)).await;
    is(&status, Code::PermissionDenied, "the token is of pod b, the certificate of a");
    let status = refused(&replica, Some(mine), Some("team/other/a"), hello(gateway(), None)).await;
    is(&status, Code::PermissionDenied, "may not have this Gateway");
}

#[tokio::test]
async fn a_pod_gets_its_own_gateway_only() {
    let replica = replica().await;
    let other = GatewayKey::new("team", "other");
    replica.publisher.publish(&other, &snapshot([route(2, 1)]));
    let mine = identity(&replica.pki, "a");
    let status = refused(&replica, Some(mine.clone()), Some(&token("a")), hello(other.clone(), None)).await;
    is(&status, Code::PermissionDenied, "the certificate is for Gateway team/web, Hello asks for team/other");
    // Nor by a token of the other Gateway that somebody lost.
    let status = refused(&replica, Some(mine), Some("team/other/a"), hello(other, None)).await;
    is(&status, Code::PermissionDenied, "the certificate is for Gateway team/web");
    assert_eq!(replica.publisher.stats().denied(DeniedReason::Gateway), 2);
}

#[tokio::test]
async fn another_schema_is_named_together_with_ours() {
    let replica = replica().await;
    // The schema is the first field.
    let mut newer = hello(gateway(), None);
    assert_eq!(newer[..2], [1 << 3, 1]);
    newer[1] = 2;
    let mine = identity(&replica.pki, "a");
    let status = refused(&replica, Some(mine.clone()), Some(&token("a")), newer).await;
    is(&status, Code::FailedPrecondition, "the peer speaks schema 2, this build speaks schema 1");
    let status = refused(&replica, Some(mine), Some(&token("a")), b"nonsense".to_vec()).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert_eq!(replica.publisher.stats().denied(DeniedReason::Schema), 2);
}

#[tokio::test]
async fn data_planes_do_not_report_and_replicas_do_not_subscribe() {
    let replica = replica().await;
    let gossip = Report::Pod(PodReport { gateway: gateway(), pod: "b".into(), state: None }).encode_to_vec();
    let channel = dial(replica.address, &replica.pki, Some(identity(&replica.pki, "a"))).await;
    let Err(status) = report(channel, gossip.clone()).await else { panic!("a report was taken") };
    is(&status, Code::Unauthenticated, "only replicas of the controller report");
    let channel = dial(replica.address, &replica.pki, None).await;
    let Err(status) = report(channel, gossip).await else { panic!("a report was taken") };
    is(&status, Code::Unauthenticated, "no client certificate");
}
