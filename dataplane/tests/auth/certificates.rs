//! Client certificates, and what backends are told of them.

use std::sync::Arc;

use portcullis_ir as ir;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::plane::{free_port, loopback, parse};
use crate::resources::{certificate as server_certificate, https_asking};
use crate::world::{EXTRA, World, anonymous, certificate, consumer, enforce, extra, open, policy, sha256};

struct Authority {
    root: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Self { root, issuer: Issuer::new(params, key) }
    }

    fn client(&self, server: &[u8], name: &str, expired: bool) -> Arc<ClientConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Arc::new(trusting(server).with_client_auth_cert(vec![leaf], key).unwrap())
    }
}

fn trusting(server: &[u8]) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(server.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(roots)
}

async fn ask(port: u16, config: &Arc<ClientConfig>, path: &str) -> u16 {
    let tcp = TcpStream::connect(loopback(port)).await.unwrap();
    let name = ServerName::try_from("gate.test").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\nX-Forwarded-Client-Cert: Hash=root\r\nX-User: root\r\n{EXTRA}: key-extra\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    parse(&text).status
}

#[tokio::test]
async fn a_verified_certificate_that_a_rule_takes_lets_pass_in_every_mode() {
    let mut world = World::new().await;
    let (ours, theirs) = (Authority::new(), Authority::new());
    let port = free_port();
    let (pair, server) = server_certificate("c", &["gate.test"]);
    let listener =
        https_asking("tls", port, "gate.test", "c", ir::ClientValidationMode::Request, &[ours.root.as_slice()]);
    let rules = vec![ir::CertificateRule { subject_alt_names: vec!["*.partner.test".into()], ..Default::default() }];
    let flags = [false, true];
    let cases = flags.map(|shadow| flags.map(|nobody| flags.map(|both| (shadow, nobody, both))));
    let cases: Vec<(bool, bool, bool)> = cases.into_iter().flatten().flatten().collect();
    let path = |(shadow, nobody, both): (bool, bool, bool)| format!("/{shadow}-{nobody}-{both}");
    let mut all = vec![pair, listener, consumer("alice", &["extra"], vec![sha256("key-extra")])];
    for &case in &cases {
        let mut methods = vec![certificate(rules.clone())];
        methods.extend(case.2.then(extra));
        methods.extend(case.1.then(anonymous));
        let require = if case.2 { ir::Require::All } else { ir::Require::Any };
        let policy = ir::AuthPolicy { shadow: case.0, require, exempt: open(&path(case)), ..policy(methods) };
        all.push(world.rule_at("tls", &path(case), Some(enforce(policy))));
    }
    world.put(all).await;
    for (what, config, verified, taken) in [
        ("valid", ours.client(&server, "web.partner.test", false), true, true),
        ("missing", Arc::new(trusting(&server).with_no_client_auth()), false, false),
        ("of somebody else", theirs.client(&server, "web.partner.test", false), false, false),
        ("expired", ours.client(&server, "web.partner.test", true), false, false),
        ("wrong", ours.client(&server, "web.other.test", false), true, false),
    ] {
        for &case @ (shadow, nobody, both) in &cases {
            for exempt in [false, true] {
                let path = if exempt { format!("{}/open", path(case)) } else { path(case) };
                let passes = taken || shadow || (nobody && !both) || exempt;
                let before = world.backend.seen().len();
                let status = ask(port, &config, &path).await;
                assert_eq!(status, if passes { 200 } else { 401 }, "{what} {path}");
                let Some(seen) = world.backend.seen().get(before).cloned() else { continue };
                assert!(!seen.headers.iter().any(|(_, value)| value.contains("root")), "{what} {path}: {seen:?}");
                let subject = seen.header("x-user").filter(|subject| !subject.is_empty());
                assert_eq!(subject.is_some(), taken && !exempt, "{what} {path}: {seen:?}");
                // What the listener has verified is told, whoever it is of.
                let told = seen.values("x-forwarded-client-cert");
                assert_eq!(told.len(), usize::from(verified), "{what} {path}: {told:?}");
                assert!(told.iter().all(|told| told.starts_with("Hash=") && told.contains(";DNS=\"web.")), "{told:?}");
            }
        }
    }
    world.plane.stop().await;
}
