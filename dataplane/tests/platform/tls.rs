use std::io;
use std::sync::Arc;

use portcullis_ir::{CertificateKey, ResourceKey};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::plane::{Plane, exchange, free_port, loopback, settings};
use super::resources::{certificate, https, redirect};

fn trusting(roots: &[&[u8]]) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(CertificateDer::from(root.to_vec())).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(store).with_no_client_auth())
}

async fn connect(port: u16, name: &str, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(loopback(port)).await?;
    TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), tcp).await
}

fn served(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[tokio::test]
async fn the_server_name_chooses_listener_and_certificate() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let ((a, a_der), (b, b_der), (c, c_der)) =
        (certificate("a", &["a.example"]), certificate("b", &["b.example"]), certificate("c", &["c.example"]));
    plane
        .put([
            https("a", port, "a.example", &["a"]),
            https("rest", port, "*.example", &["b", "c"]),
            a,
            b,
            c,
            redirect("for-a", &["a"], "a.to"),
            redirect("for-rest", &["rest"], "rest.to"),
        ])
        .await;
    let config = trusting(&[&a_der, &b_der, &c_der]);
    for (name, der, location) in [
        ("a.example", &a_der, "http://a.to/"),
        ("b.example", &b_der, "http://rest.to/"),
        ("c.example", &c_der, "http://rest.to/"),
    ] {
        let mut stream = connect(port, name, &config).await.unwrap();
        assert_eq!(&served(&stream), der, "{name}");
        assert_eq!(exchange(&mut stream, name, "/").await.location(), Some(location));
    }
    plane.stop().await;
}

#[tokio::test]
async fn an_unknown_server_name_gets_an_alert_that_says_so() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (a, der) = certificate("a", &["a.example"]);
    plane.put([https("a", port, "a.example", &["a"]), a]).await;
    let error = connect(port, "other.example", &trusting(&[&der])).await.unwrap_err();
    assert_eq!(alert(&error), Some(AlertDescription::UnrecognisedName), "{error}");
    plane.page_comes_to_contain("/metrics", r#"tls_handshakes_total{outcome="unknown_name"} 1"#).await;
    plane.stop().await;
}

#[tokio::test]
async fn a_rotated_certificate_is_served_to_the_next_handshake_and_no_connection_is_cut() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let ((old, old_der), (new, new_der)) = (certificate("a", &["a.example"]), certificate("a", &["a.example"]));
    plane.put([https("a", port, "a.example", &["a"]), old, redirect("r", &["a"], "to.example")]).await;
    let config = trusting(&[&old_der, &new_der]);
    let mut open = connect(port, "a.example", &config).await.unwrap();
    assert_eq!(served(&open), old_der);
    plane.put([new]).await;
    assert_eq!(served(&connect(port, "a.example", &trusting(&[&old_der, &new_der])).await.unwrap()), new_der);
    assert_eq!(exchange(&mut open, "a.example", "/").await.status, 302);
    plane.stop().await;
}

#[tokio::test]
async fn a_listener_that_lost_its_certificate_refuses_handshakes_until_it_is_back() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (pair, der) = certificate("a", &["a.example"]);
    plane.put([https("a", port, "a.example", &["a"]), pair.clone()]).await;
    let key = ResourceKey::Certificate(CertificateKey::new("ns", "a"));
    let verdict = plane.remove(key.clone()).await;
    assert_eq!(verdict.warnings.iter().map(|warning| warning.key.clone()).collect::<Vec<_>>(), [Some(key)]);
    let error = connect(port, "a.example", &trusting(&[&der])).await.unwrap_err();
    assert_eq!(alert(&error), Some(AlertDescription::InternalError), "{error}");
    plane.put([pair]).await;
    connect(port, "a.example", &trusting(&[&der])).await.unwrap();
    plane.stop().await;
}

#[tokio::test]
async fn sessions_resume_across_unrelated_changes() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (a, der) = certificate("a", &["a.example"]);
    plane.put([https("a", port, "a.example", &["a"]), a, redirect("r", &["a"], "to.example")]).await;
    let config = trusting(&[&der]);
    let handshake = async || {
        let mut stream = connect(port, "a.example", &config).await.unwrap();
        // Tickets come with the first answer.
        exchange(&mut stream, "a.example", "/").await;
        stream.get_ref().1.handshake_kind().unwrap()
    };
    assert_eq!(handshake().await, HandshakeKind::Full);
    assert_eq!(handshake().await, HandshakeKind::Resumed);
    plane.put([redirect("r", &["a"], "elsewhere.example")]).await;
    assert_eq!(handshake().await, HandshakeKind::Resumed);
    plane.stop().await;
}

#[tokio::test]
async fn plain_text_on_a_tls_port_gets_an_alert() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (a, _) = certificate("a", &["a.example"]);
    plane.put([https("a", port, "a.example", &["a"]), a]).await;
    let mut tcp = TcpStream::connect(loopback(port)).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Whether the close is orderly depends on what had been read by then.
    let _ = tcp.read_to_end(&mut answer).await;
    assert_eq!(answer.first(), Some(&0x15), "a TLS alert: {answer:?}");
    plane.page_comes_to_contain("/metrics", r#"tls_handshakes_total{outcome="failed"} 1"#).await;
    plane.stop().await;
}
