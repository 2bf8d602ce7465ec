#![allow(clippy::unwrap_used)]

use rcgen::{KeyPair, RsaKeySize};
use rustls::version::{TLS12, TLS13};

use super::super::shake::{Authority, Identity, client, shake};
use super::*;

fn certificate(name: &str, names: &[&str]) -> Arc<ir::Certificate> {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let signed = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    Arc::new(ir::Certificate {
        key: ir::CertificateKey::new("ns", name),
        chain: vec![signed.der().to_vec().into()],
        private_key: ir::Secret::new(key.serialize_der()),
    })
}

fn termination(names: &[&str]) -> ir::TlsTermination {
    ir::TlsTermination {
        certificates: names.iter().map(|&name| ir::CertificateKey::new("ns", name)).collect(),
        client_validation: None,
    }
}

fn key() -> ir::ListenerKey {
    ir::ListenerKey::new(ir::GatewayKey::new("ns", "gw"), "https")
}

#[test]
fn what_tls_carries_decides_which_protocols_are_answered() {
    let certificate = certificate("a", &["a.example"]);
    let mut table = TlsTable::default();
    for (inside, protocols) in [(Inside::Http, 2), (Inside::Bytes, 0), (Inside::Http, 2)] {
        table.put(&key(), inside, &termination(&["a"]), &|_| Some(Arc::clone(&certificate)));
        assert_eq!(table.config(&key()).unwrap().alpn_protocols.len(), protocols);
    }
}

#[test]
fn the_first_certificate_that_covers_the_name_is_served_else_the_first() {
    let provider = install_provider();
    let served = |names: &[&str]| Served::new(&certificate("c", names), &provider).unwrap();
    let certificates = Certificates(vec![served(&["a.example"]), served(&["*.b.example"]), served(&["x.b.example"])]);
    let chosen = |name: Option<&str>| {
        let chosen = certificates.choose(name).unwrap();
        certificates.0.iter().position(|served| std::ptr::eq(served, chosen)).unwrap()
    };
    assert_eq!(chosen(Some("A.example")), 0);
    assert_eq!(chosen(Some("x.b.example")), 1);
    assert_eq!(chosen(Some("y.x.b.example")), 0, "a certificate's wildcard is one label");
    assert_eq!(chosen(None), 0);
}

#[test]
fn unchanged_material_keeps_its_configuration_and_its_tickets() {
    let mut table = TlsTable::default();
    let (a, b) = (certificate("a", &["a.example"]), certificate("a", &["a.example"]));
    table.put(&key(), Inside::Http, &termination(&["a"]), &|_| Some(Arc::clone(&a)));
    let first = Arc::clone(table.config(&key()).unwrap());
    table.put(&key(), Inside::Http, &termination(&["a"]), &|_| Some(Arc::clone(&a)));
    assert!(Arc::ptr_eq(&first, table.config(&key()).unwrap()));
    table.put(&key(), Inside::Http, &termination(&["a"]), &|_| Some(Arc::clone(&b)));
    assert!(!Arc::ptr_eq(&first, table.config(&key()).unwrap()), "a rotation serves the new certificate");
}

#[test]
fn a_listener_without_a_usable_certificate_refuses_and_says_why() {
    let mut table = TlsTable::default();
    assert!(table.config(&key()).is_err());
    table.put(&key(), Inside::Http, &termination(&["a"]), &|_| None);
    assert!(table.config(&key()).is_err());
    assert_eq!(table.unusable(&key()).len(), 1);

    let (a, other) = (certificate("a", &["a.example"]), certificate("b", &["b.example"]));
    let mixed = Arc::new(ir::Certificate { private_key: other.private_key.clone(), ..(*a).clone() });
    table.put(&key(), Inside::Http, &termination(&["a"]), &|_| Some(Arc::clone(&mixed)));
    assert!(table.config(&key()).is_err());
    assert!(table.unusable(&key())[0].1.contains("pair"), "{:?}", table.unusable(&key()));

    table.put(&key(), Inside::Http, &termination(&["a", "gone"]), &|key| (&*key.name == "a").then(|| Arc::clone(&a)));
    assert!(table.config(&key()).is_ok(), "what is left is served");
    assert_eq!(table.unusable(&key()).len(), 1);
}

/// Serves `identity` from a listener and shakes hands with it, by both versions.
fn is_served(authority: &Authority, identity: &Identity, what: &str) {
    let mut table = TlsTable::default();
    let served = identity.certificate("a");
    table.put(&key(), Inside::Http, &termination(&["a"]), &|_| Some(Arc::clone(&served)));
    let server = table.config(&key()).unwrap_or_else(|_| panic!("{what}: {:?}", table.unusable(&key())));
    for version in [&TLS12, &TLS13] {
        let (client, _) = shake(&client(&authority.root, None, version), server, "a.example").expect(what);
        assert_eq!(client.peer_certificates().unwrap(), identity.chain, "{what}");
    }
}

#[test]
fn every_usual_kind_of_key_is_served() {
    let authority = Authority::new();
    let keys = [
        ("P-256", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)),
        ("P-384", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("P-521", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512)),
        ("Ed25519", KeyPair::generate_for(&rcgen::PKCS_ED25519)),
        ("RSA 2048", KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048)),
        ("RSA 3072", KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072)),
        ("RSA 4096", KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096)),
    ];
    for (what, key) in keys {
        let mut identity = authority.identity_of("a.example", &key.unwrap());
        is_served(&authority, &identity, what);
        // The older encodings: PKCS#1 for RSA, SEC1 for elliptic curves.
        if let Some(older) = older_encoding(&identity.key) {
            identity.key = older;
            is_served(&authority, &identity, &format!("{what}, older encoding"));
        }
    }
}

/// What a PKCS#8 key holds inside; of Ed25519 there is no older encoding. OpenSSL's SEC1 keys name their curve, which
/// those inside of PKCS#8 leave to it.
fn older_encoding(pkcs8: &[u8]) -> Option<Vec<u8>> {
    let [_version, algorithm, inner, ..] = &parts(content(pkcs8))[..] else { panic!("no PKCS#8") };
    let [name, parameters @ ..] = &parts(content(algorithm))[..] else { panic!("no algorithm") };
    match content(name) {
        // rsaEncryption, 1.2.840.113549.1.1.1
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01] => Some(content(inner).to_vec()),
        // id-ecPublicKey, 1.2.840.10045.2.1
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01] => {
            let key = parts(content(content(inner)));
            let curve = [&[0xa0, u8::try_from(parameters[0].len()).unwrap()], parameters[0]].concat();
            let content = [key[0], key[1], &curve, key[2]].concat();
            let length = u8::try_from(content.len()).unwrap();
            let head = if length < 0x80 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
            Some([head, content].concat())
        }
        _ => None,
    }
}

/// The content of a DER value.
fn content(value: &[u8]) -> &[u8] {
    &value[split(value).0..split(value).1]
}

/// The DER values that a value's content consists of.
fn parts(mut content: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while !content.is_empty() {
        let (part, rest) = content.split_at(split(content).1);
        parts.push(part);
        content = rest;
    }
    parts
}

/// Where a DER value's content begins and where it ends.
fn split(value: &[u8]) -> (usize, usize) {
    match value[1] {
        short @ 0..0x80 => (2, 2 + usize::from(short)),
        long => {
            let begin = 2 + usize::from(long & 0x7f);
            let length = value[2..begin].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (begin, begin + length)
        }
    }
}

#[test]
fn a_long_chain_of_large_certificates_is_served_whole() {
    let authority = Authority::new();
    let identity = authority.identity_behind("a.example", 4, &rcgen::PKCS_RSA_SHA512);
    assert_eq!(identity.chain.len(), 5);
    is_served(&authority, &identity, "four intermediates");

    let key = KeyPair::generate().unwrap();
    let names = (0..1000).map(|number| format!("host-{number}.some.long.name.example")).chain(["a.example".to_owned()]);
    let signed = rcgen::CertificateParams::new(names.collect::<Vec<_>>()).unwrap().self_signed(&key).unwrap();
    assert!(signed.der().len() > 16 * 1024, "more than one record: {}", signed.der().len());
    let alone = Identity { chain: vec![signed.der().clone()], key: key.serialize_der() };
    let served = Served::new(&alone.certificate("a"), &install_provider()).unwrap();
    assert_eq!(served.names.len(), 1001);
}
