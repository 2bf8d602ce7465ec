//! Listeners that ask their clients for certificates.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_ir::ClientValidationMode::{Request, Require};
use portcullis_ir::{Resource, ResourceKey};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::plane::{Answer, Plane, exchange, free_port, loopback, settings};
use super::resources::{certificate, https, https_asking, listener_key, redirect};

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
}

/// A client that trusts `server`, with a certificate of `authority`.
fn client(server: &[u8], authority: Option<&Authority>, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(server.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["me".to_owned()]).unwrap();
            let leaf = params.signed_by(&key, &authority.issuer).unwrap().der().clone();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![leaf], key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn connect(port: u16, name: &str, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(loopback(port)).await?;
    TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), tcp).await
}

/// A request on a connection of its own. In TLS 1.3 a client learns that its certificate was refused when it reads.
async fn ask(
    port: u16,
    name: &str,
    config: &Arc<ClientConfig>,
) -> Result<(Answer, HandshakeKind), Option<AlertDescription>> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let asking = async {
        let mut stream = connect(port, name, config).await?;
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        stream.flush().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok((super::plane::parse(&text), stream.get_ref().1.handshake_kind().unwrap()))
    };
    tokio::time::timeout(super::plane::PATIENCE, asking).await.unwrap().map_err(|error: io::Error| {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => None,
        }
    })
}

#[tokio::test]
async fn each_listener_requires_certificates_of_its_own_roots() {
    let (port, other_port) = (free_port(), free_port());
    let mut plane = Plane::start(settings()).await;
    let (server, der) = certificate("c", &["a.example"]);
    let (ours, theirs) = (Authority::new(), Authority::new());
    plane
        .put([
            https_asking("one", port, "", "c", Require, &[&ours.root]),
            https_asking("two", other_port, "", "c", Require, &[&theirs.root]),
            server,
            redirect("r", &["one", "two"], "to.example"),
        ])
        .await;
    let (our_client, their_client) = (client(&der, Some(&ours), &[]), client(&der, Some(&theirs), &[]));
    for _ in 0..2 {
        assert_eq!(ask(port, "a.example", &our_client).await.unwrap().0.status, 302);
        assert_eq!(ask(other_port, "a.example", &their_client).await.unwrap().0.status, 302);
        // Neither with the other's certificate, nor with a session of the other listener.
        assert!(ask(port, "a.example", &their_client).await.is_err());
        assert!(ask(other_port, "a.example", &our_client).await.is_err());
    }
    assert_eq!(ask(port, "a.example", &our_client).await.unwrap().1, HandshakeKind::Resumed);
    let refused = ask(port, "a.example", &client(&der, None, &[])).await.unwrap_err();
    assert_eq!(refused, Some(AlertDescription::CertificateRequired));
    plane.page_comes_to_contain("/metrics", r#"tls_handshakes_total{outcome="client_certificate"} 5"#).await;
    plane.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_only_asked_for_keeps_nobody_out() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (server, der) = certificate("c", &["a.example"]);
    let (ours, theirs) = (Authority::new(), Authority::new());
    let listener = https_asking("one", port, "", "c", Request, &[&ours.root]);
    plane.put([listener, server, redirect("r", &["one"], "to.example")]).await;
    for shown in [None, Some(&ours), Some(&theirs)] {
        assert_eq!(ask(port, "a.example", &client(&der, shown, &[])).await.unwrap().0.status, 302);
    }
    plane.stop().await;
}

#[tokio::test]
async fn a_listener_without_a_root_refuses_everybody_and_is_reported() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (server, der) = certificate("c", &["a.example"]);
    let ours = Authority::new();
    for mode in [Require, Request] {
        let rootless = https_asking("one", port, "", "c", mode, &[]);
        let verdict = plane.put([rootless, server.clone(), redirect("r", &["one"], "to.example")]).await;
        let rejected: Vec<_> = verdict.rejected.iter().map(|rejection| rejection.key.clone()).collect();
        assert_eq!(rejected, [Some(ResourceKey::Listener(listener_key("one")))]);
        assert!(verdict.rejected[0].message.contains("caCertificateRefs"), "{verdict:?}");
        let refused = ask(port, "a.example", &client(&der, Some(&ours), &[])).await.unwrap_err();
        assert_eq!(refused, Some(AlertDescription::InternalError));
    }
    // A root that does not parse beside one that does: told, and the listener serves.
    let verdict = plane.put([https_asking("one", port, "", "c", Require, &[b"nonsense", &ours.root])]).await;
    assert!(verdict.rejected.is_empty(), "{verdict:?}");
    assert_eq!(verdict.warnings.len(), 1, "{verdict:?}");
    assert_eq!(ask(port, "a.example", &client(&der, Some(&ours), &[])).await.unwrap().0.status, 302);
    plane.stop().await;
}

#[tokio::test]
async fn an_http_2_connection_is_of_no_use_for_a_host_that_judges_its_clients_otherwise() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (server, der) = certificate("c", &["open.example", "closed.example"]);
    let ours = Authority::new();
    plane
        .put([
            https("open", port, "open.example", &["c"]),
            https_asking("closed", port, "closed.example", "c", Require, &[&ours.root]),
            server,
            redirect("r", &["closed", "open"], "to.example"),
        ])
        .await;
    let stream = connect(port, "open.example", &client(&der, None, &["h2"])).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let status = async |host: &str| {
        let request = http::Request::builder().uri(format!("https://{host}:{port}/")).body(()).unwrap();
        let mut client: h2::client::SendRequest<Bytes> = client.clone().ready().await.unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        response.await.unwrap().status().as_u16()
    };
    assert_eq!(status("open.example").await, 302);
    assert_eq!(status("closed.example").await, 421);
    // The host of the connection begins to ask: what was opened before is of no use any more.
    plane.put([https_asking("open", port, "open.example", "c", Require, &[&ours.root])]).await;
    assert_eq!(status("open.example").await, 421);
    plane.stop().await;
}

#[tokio::test]
async fn a_connection_ends_when_its_listener_begins_to_judge_otherwise() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (server, der) = certificate("c", &["a.example"]);
    let ours = Authority::new();
    let resources: [Resource; 3] = [https("a", port, "", &["c"]), server, redirect("r", &["a"], "to.example")];
    plane.put(resources).await;
    let mut before = connect(port, "a.example", &client(&der, None, &[])).await.unwrap();
    plane.put([https_asking("a", port, "", "c", Require, &[&ours.root])]).await;
    assert_eq!(exchange(&mut before, "a.example", "/").await.status, 421);
    assert_eq!(ask(port, "a.example", &client(&der, Some(&ours), &[])).await.unwrap().0.status, 302);
    plane.stop().await;
}
