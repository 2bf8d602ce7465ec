//! Certificates as people paste them: every encoding of a key, every way a chain is wrong, and what is said about it.

#![allow(clippy::unwrap_used)]

use portcullis_ir::{CertificateKey, ListenerProtocol, Snapshot};
use portcullis_translate::{Inputs, Memo, Object, Output, Settings, translate};
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::{Value, json};

/// A Gateway with one HTTPS listener and the Secret that it names.
fn output(data: &Value) -> Output {
    let class = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "c" },
        "spec": { "controllerName": "portcullis.dev/gateway-controller" } });
    let gateway = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": "g" },
        "spec": { "gatewayClassName": "c", "listeners": [{ "name": "https", "port": 443, "protocol": "HTTPS",
            "tls": { "certificateRefs": [{ "name": "s" }] } }] } });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": data });
    let mut inputs = Inputs { now: "2026-06-01T00:00:00Z".parse().unwrap(), ..Inputs::default() };
    for object in [class, gateway, secret] {
        inputs.insert(Object::parse(object).unwrap());
    }
    translate(&inputs, &Settings::default(), &mut Memo::default())
}

/// What `ResolvedRefs` of the listener says.
fn said(output: &Output) -> String {
    let gateway = output.statuses.gateways.values().next().unwrap();
    let listener = &gateway.listeners.as_ref().unwrap()[0];
    let condition = listener.conditions.iter().find(|one| one.type_ == "ResolvedRefs").unwrap();
    format!("{} {}: {}", condition.status, condition.reason, condition.message)
}

fn served(output: &Output) -> bool {
    let snapshot: &Snapshot = output.snapshots.values().next().unwrap();
    let listener = snapshot.config.listeners.values().next().unwrap();
    let ListenerProtocol::Https(tls) = &listener.protocol else { panic!("not HTTPS") };
    let key = CertificateKey::new("default", "s");
    assert_eq!(tls.certificates.contains(&key), snapshot.live.certificates.contains_key(&key));
    tls.certificates.contains(&key)
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

fn leaf(authority: &Authority, key: &KeyPair) -> String {
    leaf_valid(authority, key, (2026, 2027))
}

fn leaf_valid(authority: &Authority, key: &KeyPair, (from, to): (i32, i32)) -> String {
    let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    params.signed_by(key, &authority.issuer).unwrap().pem()
}

#[test]
fn every_kind_of_key_is_served() {
    let authority = authority();
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let output = output(&json!({ "tls.crt": leaf(&authority, &key), "tls.key": key.serialize_pem() }));
        assert!(served(&output), "{algorithm:?}: {}", said(&output));
    }
}

#[test]
fn a_whole_chain_with_words_between_is_taken_in_order() {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let chain = format!("Bag Attributes\n{}\n# issuer\r\n{}\n", leaf(&authority, &key), authority.pem);
    let output = output(&json!({ "tls.crt": chain, "tls.key": key.serialize_pem() }));
    assert_eq!(said(&output), "True ResolvedRefs: all references are resolved");
    let snapshot = output.snapshots.values().next().unwrap();
    assert_eq!(snapshot.live.certificates.values().next().unwrap().chain.len(), 2);
}

#[test]
fn a_chain_out_of_order_is_served_and_reported() {
    let (authority, other) = (authority(), authority_named("another"));
    let key = KeyPair::generate().unwrap();
    let chain = format!("{}{}", leaf(&authority, &key), other.pem);
    let output = output(&json!({ "tls.crt": chain, "tls.key": key.serialize_pem() }));
    assert!(served(&output));
    assert!(said(&output).contains("not signed by the next"), "{}", said(&output));
}

fn authority_named(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

#[test]
fn dates_are_reported_and_keep_nobody_out() {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    for (years, word) in [((2020, 2021), "expired at 2021-01-01"), ((2030, 2031), "not valid before 2030-01-01")] {
        let output = output(&json!({ "tls.crt": leaf_valid(&authority, &key, years), "tls.key": key.serialize_pem() }));
        assert!(served(&output));
        assert!(said(&output).starts_with("True ResolvedRefs") && said(&output).contains(word), "{}", said(&output));
    }
}

#[test]
fn what_cannot_be_served_is_refused_and_the_message_names_secret_and_fix() {
    let authority = authority();
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let (crt, pem) = (leaf(&authority, &key), key.serialize_pem());
    let half = &crt[..crt.len() / 2];
    let garbled = crt.replacen("\nMI", "\nAA", 1);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (data, word) in [
        (json!({}), "has no tls.crt"),
        (json!({ "tls.crt": crt }), "has no tls.key"),
        (json!({ "tls.crt": "", "tls.key": pem }), "no certificate"),
        (json!({ "tls.crt": pem, "tls.key": pem }), "no certificate"),
        (json!({ "tls.crt": half, "tls.key": pem }), "malformed PEM"),
        (json!({ "tls.crt": garbled, "tls.key": pem }), "cannot be parsed"),
        (json!({ "tls.crt": crt, "tls.key": crt }), "no private key"),
        (json!({ "tls.crt": crt, "tls.key": "rubbish" }), "no private key"),
        (json!({ "tls.crt": crt, "tls.key": encrypted }), "encrypted"),
        (json!({ "tls.crt": crt, "tls.key": other.serialize_pem() }), "does not belong"),
        (json!({ "tls.crt": format!("{}{crt}", authority.pem), "tls.key": pem }), "put that one first"),
    ] {
        let output = output(&data);
        let said = said(&output);
        assert!(!served(&output), "{said}");
        assert!(said.starts_with("False InvalidCertificateRef: Secret default/s ") && said.contains(word), "{said}");
        assert!(!said.contains("BEGIN"), "a message shows what is in a Secret: {said}");
    }
}
