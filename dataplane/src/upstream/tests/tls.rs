//! Whom we speak TLS with, and whom not.

use std::sync::Arc;
use std::time::Instant;

use portcullis_ir as ir;
use portcullis_ir::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::authority::{Authority, tls_backend};
use super::support::http2_backend::{Http2Backend, Options, numbered};
use super::support::{PATIENCE, World, exchange, get, key, over_tls, plain};
use crate::upstream::raw::{Carry, Raw};
use crate::upstream::{BackendProgram, ConnectError, TlsReason, Want};

const ALPN: &[&str] = &["http/1.1"];

/// What connecting with `policy` ends in when the backend's certificate carries `names` and `uris`.
async fn meet(
    names: &[&str],
    uris: &[&str],
    policy: impl Fn(&Authority) -> ir::BackendTls,
) -> Result<String, ConnectError> {
    let (world, authority) = (World::new(), Authority::new());
    let address = tls_backend(authority.identity(names, uris).server_config(None, ALPN)).await;
    let program = world.program(over_tls(Protocol::Http, policy(&authority)), &[address]);
    let up = world.connect(&program).await?;
    assert!(up.tls() && !up.is_http2());
    Ok(exchange(up, get("/")).await.unwrap().text().to_owned())
}

fn refused(reason: TlsReason) -> Result<String, ConnectError> {
    Err(ConnectError::Tls(reason))
}

#[tokio::test]
async fn the_hostname_is_asked_for_by_sni_and_verified() {
    assert_eq!(meet(&["app.test"], &[], |it| it.policy("app.test", &[])).await.as_deref(), Ok("app.test"));
    let below = |it: &Authority| it.policy("shop.app.test", &[]);
    assert_eq!(meet(&["*.app.test"], &[], below).await.as_deref(), Ok("shop.app.test"));
}

#[tokio::test]
async fn another_name_is_refused() {
    assert_eq!(meet(&["other.test"], &[], |it| it.policy("app.test", &[])).await, refused(TlsReason::WrongName));
}

#[tokio::test]
async fn another_authority_is_refused() {
    let stranger = Authority::new();
    assert_eq!(
        meet(&["app.test"], &[], |_| stranger.policy("app.test", &[])).await,
        refused(TlsReason::UntrustedIssuer)
    );
}

#[tokio::test]
async fn a_listed_dns_name_counts_instead_of_the_hostname() {
    let listed = |it: &Authority| it.policy("app.test", &["no.test", "real.test"]);
    assert_eq!(meet(&["real.test"], &[], listed).await.as_deref(), Ok("app.test"));
    // The hostname alone no longer counts.
    assert_eq!(meet(&["app.test"], &[], listed).await, refused(TlsReason::WrongName));
}

#[tokio::test]
async fn a_listed_uri_counts_byte_by_byte() {
    let listed = |it: &Authority| it.policy("app.test", &["spiffe://mesh/cart"]);
    assert_eq!(meet(&[], &["spiffe://mesh/cart"], listed).await.as_deref(), Ok("app.test"));
    assert_eq!(meet(&[], &["spiffe://mesh/cart2"], listed).await, refused(TlsReason::WrongName));
    assert_eq!(meet(&["app.test"], &["spiffe://Mesh/cart"], listed).await, refused(TlsReason::WrongName));
}

#[tokio::test]
async fn a_listed_name_does_not_excuse_another_authority() {
    let stranger = Authority::new();
    let listed = |_: &Authority| stranger.policy("app.test", &["spiffe://mesh/cart"]);
    assert_eq!(meet(&[], &["spiffe://mesh/cart"], listed).await, refused(TlsReason::UntrustedIssuer));
}

#[tokio::test]
async fn a_connection_verified_by_one_authority_is_never_used_under_another() {
    let (world, authority, stranger) = (World::new(), Authority::new(), Authority::new());
    let address = tls_backend(authority.identity(&["app.test"], &[]).server_config(None, ALPN)).await;
    let trusting = world.program(over_tls(Protocol::Http, authority.policy("app.test", &[])), &[address]);
    let doubting = world.program(over_tls(Protocol::Http, stranger.policy("app.test", &[])), &[address]);
    world.get(&trusting).await;
    assert_eq!(world.upstreams.counts().0, 1);
    assert_eq!(world.connect(&doubting).await.unwrap_err(), ConnectError::Tls(TlsReason::UntrustedIssuer));
    assert!(world.get(&trusting).await.reused);
}

#[tokio::test]
async fn equal_policies_share_their_connections_whoever_compiled_them() {
    let (world, authority) = (World::new(), Authority::new());
    let address = tls_backend(authority.identity(&["app.test"], &[]).server_config(None, ALPN)).await;
    let one = world.program(over_tls(Protocol::Http, authority.policy("app.test", &[])), &[address]);
    let two = world.program(over_tls(Protocol::Http, authority.policy("app.test", &[])), &[address]);
    world.get(&one).await;
    assert!(world.get(&two).await.reused);
}

#[tokio::test]
async fn tls_connections_are_used_again_after_session_tickets_came() {
    let (world, authority) = (World::new(), Authority::new());
    let address = tls_backend(authority.identity(&["app.test"], &[]).server_config(None, ALPN)).await;
    let program = world.program(over_tls(Protocol::Http, authority.policy("app.test", &[])), &[address]);
    assert!(!world.get(&program).await.reused);
    for _ in 0..3 {
        assert!(world.get(&program).await.reused);
    }
}

#[tokio::test]
async fn http_2_is_spoken_where_alpn_agrees_on_it() {
    let (world, authority) = (World::new(), Authority::new());
    let tls = Some(authority.identity(&["app.test"], &[]).server_config(None, &["h2", "http/1.1"]));
    let backend = Http2Backend::start(Options { tls, ..Options::plain(numbered) }).await;
    for protocol in [Protocol::Http, Protocol::Http2] {
        let program = world.program(over_tls(protocol, authority.policy("app.test", &[])), &[backend.address]);
        let answer = world.get(&program).await;
        assert_eq!((answer.http2, answer.text()), (true, "0"));
    }
}

#[tokio::test]
async fn a_backend_named_http_2_that_does_not_agree_is_refused() {
    let (world, authority) = (World::new(), Authority::new());
    let address = tls_backend(authority.identity(&["app.test"], &[]).server_config(None, &[])).await;
    let program = world.program(over_tls(Protocol::Http2, authority.policy("app.test", &[])), &[address]);
    assert_eq!(world.connect(&program).await.unwrap_err(), ConnectError::Protocol);
}

#[tokio::test]
async fn an_upgrade_never_offers_http_2() {
    let (world, authority) = (World::new(), Authority::new());
    let config = authority.identity(&["app.test"], &[]).server_config(None, &["h2", "http/1.1"]);
    let address = tls_backend(config).await;
    let program = world.program(over_tls(Protocol::Http, authority.policy("app.test", &[])), &[address]);
    assert!(!world.connect_wanting(&program, Want::Http1Only).await.unwrap().is_http2());
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_absence_is_named() {
    let (world, authority) = (World::new(), Authority::new());
    let config = authority.identity(&["app.test"], &[]).server_config(Some(&authority), ALPN);
    let address = tls_backend(config).await;
    let name = ir::CertificateKey::new("shop", "client");
    let ours = authority.identity(&["client.test"], &[]).certificate(name.clone());
    let mut tls = authority.policy("app.test", &[]);
    tls.client_certificate = Some(name.clone());
    let endpoints = Arc::new(ir::Endpoints { key: key(), endpoints: vec![ir::Endpoint { address, ready: true }] });
    let backend = Arc::new(over_tls(Protocol::Http, tls));
    let found = |wanted: &ir::CertificateKey| (*wanted == name).then(|| Arc::clone(&ours));
    let program = BackendProgram::compile(&backend, Some(&endpoints), &found, None, &world.upkeep);
    assert_eq!(world.get(&program).await.text(), "app.test");
    // The certificate is withdrawn: the backend refuses to connect at all, and says so.
    let without = BackendProgram::compile(&backend, Some(&endpoints), &|_| None, Some(&program), &world.upkeep);
    assert_eq!(world.connect(&without).await.unwrap_err(), ConnectError::Misconfigured);
    // It is back, rotated: another identity than before, so no connection of the old one is used.
    let rotated = authority.identity(&["client.test"], &[]).certificate(name.clone());
    let found = |wanted: &ir::CertificateKey| (*wanted == name).then(|| Arc::clone(&rotated));
    let again = BackendProgram::compile(&backend, Some(&endpoints), &found, Some(&without), &world.upkeep);
    assert_ne!(again.identity, program.identity);
    assert!(!world.get(&again).await.reused);
}

#[tokio::test]
async fn broken_material_never_falls_back_to_plain_text() {
    let world = World::new();
    let mut tls = Authority::new().policy("app.test", &[]);
    tls.roots = vec![b"not a certificate".as_slice().into()];
    let backend = super::support::raw_backend::RawBackend::start(&[super::support::raw_backend::Do::Echo]).await;
    let program = world.program(over_tls(Protocol::Http, tls), &[backend.address]);
    assert_eq!(world.connect(&program).await.unwrap_err(), ConnectError::Misconfigured);
    assert!(program.broken_tls().is_some_and(|broken| broken.to_string().contains("CA bundle")));
    assert_ne!(program.identity, world.program(plain(Protocol::Http), &[]).identity);
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn a_listed_wildcard_is_carried_as_such() {
    let listed = |it: &Authority| it.policy("app.test", &["*.mesh.test"]);
    assert_eq!(meet(&["*.mesh.test"], &[], listed).await.as_deref(), Ok("app.test"));
    assert_eq!(meet(&["cart.mesh.test"], &[], listed).await, refused(TlsReason::WrongName));
    // The certificate's own wildcard stands for a listed name below it.
    let listed = |it: &Authority| it.policy("app.test", &["cart.mesh.test"]);
    assert_eq!(meet(&["*.mesh.test"], &[], listed).await.as_deref(), Ok("app.test"));
}

#[tokio::test]
async fn bytes_are_handed_on_over_tls_without_a_protocol_of_ours() {
    let (world, authority) = (World::new(), Authority::new());
    // A backend that insists on a protocol of its own would refuse a client that names others.
    let address = tls_backend(authority.identity(&["app.test"], &[]).server_config(None, &["mqtt"])).await;
    for protocol in [Protocol::Http, Protocol::Http2] {
        let program = world.program(over_tls(protocol, authority.policy("app.test", &[])), &[address]);
        let mut raw = raw(&world, &program).await.unwrap();
        raw.write_all(b"anything\r\n\r\n").await.unwrap();
        raw.flush().await.unwrap();
        let mut answer = [0; 15];
        raw.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        assert_eq!(world.upstreams.counts().1, 1, "it counts as open");
        drop(raw);
        assert_eq!(world.upstreams.counts().1, 0);
    }
    let stranger = world.program(over_tls(Protocol::Http, Authority::new().policy("app.test", &[])), &[address]);
    assert_eq!(raw(&world, &stranger).await.unwrap_err(), ConnectError::Tls(TlsReason::UntrustedIssuer));
    assert_eq!(world.upstreams.counts().1, 0);
}

async fn raw(world: &World, program: &Arc<BackendProgram>) -> Result<Raw, ConnectError> {
    let endpoint = world.upstreams.pick(program, None).unwrap();
    world.upstreams.connect_raw(program, &endpoint, Carry::Bytes, Instant::now() + PATIENCE).await
}

#[tokio::test]
async fn nothing_is_sent_to_a_backend_that_the_configuration_calls_broken() {
    let (world, authority) = (World::new(), Authority::new());
    let backend = super::support::raw_backend::RawBackend::start(&[super::support::raw_backend::Do::Echo]).await;
    for tls in [None, Some(authority.policy("app.test", &[]))] {
        let failure = ir::Failure::InvalidBackendTls;
        let broken = ir::Backend { tls: tls.clone().map(Box::new), broken: Some(failure), ..plain(Protocol::Http) };
        let program = world.program(broken.clone(), &[backend.address]);
        assert_eq!(program.broken(), Some(failure));
        assert_eq!(world.connect(&program).await.unwrap_err(), ConnectError::Misconfigured);
        assert_eq!(world.connect_wanting(&program, Want::Http1Only).await.unwrap_err(), ConnectError::Misconfigured);
        assert_eq!(raw(&world, &program).await.unwrap_err(), ConnectError::Misconfigured);
        // It heals with the next configuration.
        let healed = world.recompile(ir::Backend { broken: None, ..broken }, &[backend.address], Some(&program));
        assert_eq!(healed.broken(), None);
        assert_eq!(healed.is_tls(), tls.is_some());
    }
    assert_eq!(backend.connections(), 0);
}
