//! A CA is followed by another one, and nobody is turned away.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::support::gateway::{gateway, route, snapshot};
use crate::support::plane::{Plane, trust};
use crate::support::pod::{dial, hello, identity, subscribe};
use crate::support::replica::{HOST, Replica, ca, pki, token};
use crate::support::wire::Wire;
use crate::support::{until, until_in_force};
use portcullis_publish::{Ca, CaMaterial, InvalidCa, Pki, report_to};

const DAY: Duration = Duration::from_hours(24);

fn read(material: &CaMaterial) -> Ca {
    Ca::from_pem(material, SystemTime::now()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_go_on_and_both_bundles_connect() {
    let old = ca();
    let replica = Replica::start(1, &old).await;
    replica.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    let wire = Wire::start(Some(replica.address)).await;
    let plane = Plane::start("a", wire.address, &replica.pki);
    until_in_force(&replica.publisher, &gateway(), "a").await;
    let before = pki(&old);
    let new = read(&old).renew(SystemTime::now()).unwrap();
    replica.pki.replace(read(&new));

    // The stream that is open.
    replica.publisher.publish(&gateway(), &snapshot([route(1, 2)]));
    until_in_force(&replica.publisher, &gateway(), "a").await;
    assert_eq!(replica.counts()["streams"], 1);

    // The old certificate and the old bundle, until the ConfigMap has been renewed.
    wire.cut();
    until("a second stream", &replica.publisher, &gateway(), |_| replica.counts()["streams"] == 2).await;
    replica.publisher.publish(&gateway(), &snapshot([route(1, 3)]));
    until_in_force(&replica.publisher, &gateway(), "a").await;

    // A new pod with the old bundle, one with the new bundle, and one whose bundle has forgotten the old CA.
    let late = Plane::start("late", wire.address, &before);
    until_in_force(&replica.publisher, &gateway(), "late").await;
    let fresh = Plane::start("fresh", wire.address, &replica.pki);
    until_in_force(&replica.publisher, &gateway(), "fresh").await;
    let forgetful = CaMaterial { bundle_pem: String::new(), ..new.clone() };
    let forgetful = Plane::start("forgetful", wire.address, &pki(&forgetful));
    until_in_force(&replica.publisher, &gateway(), "forgetful").await;

    // A bundle that is renewed under a running data plane is read for the next connection.
    trust(plane.folder.path(), &replica.pki);
    wire.cut();
    until("streams anew", &replica.publisher, &gateway(), |fleet| {
        replica.counts()["streams"] == 9 && fleet.pods.values().all(|pod| pod.connected)
    })
    .await;
    for plane in [plane, late, fresh, forgetful] {
        plane.stop().await;
    }
}

#[tokio::test]
async fn a_replica_that_has_not_seen_the_new_ca_takes_its_certificates() {
    let old = ca();
    let behind = Replica::start(1, &old).await;
    let ahead = pki(&read(&old).renew(SystemTime::now()).unwrap());
    let channel = dial(behind.address, &behind.pki, Some(identity(&ahead, "a"))).await;
    let _stream = subscribe(channel, Some(&token("a")), hello(gateway(), None)).await.unwrap();
    // And the other way round, its pods are reported.
    let ahead = Replica::start_with(portcullis_publish::Publisher::new(2), ahead).await;
    ahead.publisher.publish(&gateway(), &snapshot([route(1, 1)]));
    tokio::spawn(report_to(
        ahead.address.to_string(),
        "behind".into(),
        Arc::clone(&behind.pki),
        Arc::clone(&behind.publisher),
        std::future::pending(),
    ));
    until("the report", &ahead.publisher, &gateway(), |fleet| fleet.pods.contains_key("a")).await;
}

#[test]
fn a_ca_is_due_when_a_third_of_its_life_is_left_and_no_use_when_it_is_over() {
    let now = SystemTime::now();
    let old = ca();
    let is_due = |days| read(&old).is_due(now + DAY * days);
    assert_eq!([0, 240, 245, 364].map(is_due), [false, false, true, true]);
    assert_eq!(Ca::from_pem(&old, now + DAY * 366).unwrap_err(), InvalidCa::Expired);
}

#[test]
fn a_bundle_holds_the_old_root_until_it_expires() {
    let now = SystemTime::now();
    let old = ca();
    let later = now + DAY * 250;
    let new = Ca::from_pem(&old, later).unwrap().renew(later).unwrap();
    let roots = |at| Ca::from_pem(&new, later).unwrap().bundle_pem(at).matches("BEGIN CERTIFICATE").count();
    assert_eq!([later, now + DAY * 364, now + DAY * 366].map(roots), [2, 2, 1]);
    let again = Ca::from_pem(&new, now + DAY * 370).unwrap();
    assert_eq!(again.bundle_pem(now + DAY * 370).matches("BEGIN CERTIFICATE").count(), 1);
}

#[tokio::test]
async fn an_issuer_of_somebody_else_serves_as_well() {
    // As cert-manager writes it: an intermediate CA in tls.crt, the root in ca.crt.
    let root = ca();
    let intermediate = read(&root).renew(SystemTime::now()).unwrap();
    let second = intermediate.certificate_pem.find("-----BEGIN").unwrap();
    let vouched = intermediate.certificate_pem[second + 1..].find("-----BEGIN").unwrap() + second + 1;
    let material = CaMaterial {
        certificate_pem: intermediate.certificate_pem[vouched..].to_owned(),
        key_pem: intermediate.key_pem,
        bundle_pem: root.certificate_pem,
    };
    let replica = Replica::start(1, &material).await;
    let channel = dial(replica.address, &replica.pki, Some(identity(&replica.pki, "a"))).await;
    subscribe(channel, Some(&token("a")), hello(gateway(), None)).await.unwrap();
}

#[test]
fn a_secret_that_is_no_ca_says_which_field_is_wrong() {
    let (one, other) = (ca(), ca());
    let now = SystemTime::now();
    let error = |material: CaMaterial| Ca::from_pem(&material, now).unwrap_err().to_string();
    let text = error(CaMaterial { key_pem: other.key_pem, ..one.clone() });
    assert!(text.starts_with("tls.key is not the key of tls.crt"), "{text}");
    let text = error(CaMaterial { key_pem: "nonsense".to_owned(), ..one.clone() });
    assert!(text.starts_with("tls.key holds no"), "{text}");
    let text = error(CaMaterial { certificate_pem: String::new(), ..one.clone() });
    assert!(text.starts_with("tls.crt holds no"), "{text}");
    let text = error(CaMaterial { bundle_pem: "-----BEGIN CERTIFICATE-----\nAA".to_owned(), ..one.clone() });
    assert!(text.starts_with("ca.crt holds no"), "{text}");
    let leaf = identity(&Pki::new(read(&one), vec![HOST.to_owned()]), "a");
    assert!(!format!("{one:?}{:?}{leaf:?}", read(&one)).contains("PRIVATE"));
}
