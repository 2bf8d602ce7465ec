use portcullis_dataplane::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::plane::{Plane, free_port, loopback, read_head, settings};
use super::resources::{backend, behind_proxy, forward};

fn header() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend_from_slice(&[192, 0, 2, 7, 127, 0, 0, 1]);
    header.extend_from_slice(&[0x30, 0x39, 0, 80]);
    header
}

#[tokio::test]
async fn the_client_behind_a_trusted_load_balancer_is_the_client() {
    let port = free_port();
    let backend_listener = TcpListener::bind(loopback(0)).await.unwrap();
    let trusting = Settings { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..settings() };
    let mut plane = Plane::start(trusting).await;
    let [service, endpoints] = backend("b", backend_listener.local_addr().unwrap());
    plane.put([behind_proxy("web", port), forward("r", &["web"], "b"), service, endpoints]).await;

    let mut client = TcpStream::connect(loopback(port)).await.unwrap();
    let mut bytes = header();
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    // In two pieces that cut both the header and what follows.
    client.write_all(&bytes[..9]).await.unwrap();
    client.flush().await.unwrap();
    client.write_all(&bytes[9..]).await.unwrap();
    let (mut upstream, _) = backend_listener.accept().await.unwrap();
    let head = read_head(&mut upstream).await.to_lowercase();
    assert!(head.contains("x-forwarded-for: 192.0.2.7"), "{head}");
    upstream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 204"), "{text}");
    plane.stop().await;
}

#[tokio::test]
async fn a_header_from_nobody_we_trust_and_a_missing_header_are_refused() {
    let port = free_port();
    for (trusted, sent) in
        [(Vec::new(), header()), (vec!["127.0.0.0/8".parse().unwrap()], b"GET / HTTP/1.1\r\n\r\n".to_vec())]
    {
        let mut plane = Plane::start(Settings { trusted_proxies: trusted, ..settings() }).await;
        plane.put([behind_proxy("web", port)]).await;
        let mut client = TcpStream::connect(loopback(port)).await.unwrap();
        // The refusal may come while we still write.
        let _ = client.write_all(&sent).await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
        let line = r#"downstream_connections_refused_total{reason="proxy_protocol"} 1"#;
        plane.page_comes_to_contain("/metrics", line).await;
        plane.stop().await;
    }
}
