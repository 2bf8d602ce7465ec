//! Against servers that are down, slow, hung, endless or not who they should be.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use portcullis_fetch::{Bounds, Client, FetchError, Security};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const LONG: Bounds = Bounds { timeout: Duration::from_secs(20), body: 64 };
const SHORT: Bounds = Bounds { timeout: Duration::from_millis(50), body: 64 };

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &str) {
    read_head(stream).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Gives each connection one of the answers, in turn, and keeps it open.
async fn server(answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        for one in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            answer(&mut stream, one).await;
            open.push(stream);
        }
        std::future::pending::<()>().await;
    });
    address
}

fn client() -> Client {
    let root = rcgen::generate_simple_self_signed(["unused".to_owned()]).unwrap();
    Client::new(&[root.cert.der().to_vec().into()], Security::HttpAllowed).unwrap()
}

async fn get(address: SocketAddr, bounds: Bounds) -> Result<(u16, Bytes), FetchError> {
    let response = client().get(&format!("http://{address}/keys?x=1"), bounds).await?;
    Ok((response.status().as_u16(), response.into_body()))
}

#[tokio::test]
async fn an_answer_comes_whatever_its_status() {
    let address = server(&["HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnope"]).await;
    assert_eq!(get(address, LONG).await, Ok((404, Bytes::from_static(b"nope"))));
}

#[tokio::test]
async fn a_redirect_on_the_same_server_is_followed_a_few_times() {
    let there = "HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let done = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let answers: &'static [&'static str] = Box::leak(Box::new([there, done]));
    assert_eq!(get(server(answers).await, LONG).await, Ok((200, Bytes::from_static(b"ok"))));
    let answers: &'static [&'static str] = Box::leak(Box::new([there; 8]));
    assert_eq!(get(server(answers).await, LONG).await, Err(FetchError::Redirected));
}

#[tokio::test]
async fn an_endless_answer_is_given_up_at_the_bound() {
    let address = server(&["HTTP/1.1 200 OK\r\ncontent-length: 52428800\r\n\r\n\
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])
    .await;
    assert_eq!(get(address, LONG).await, Err(FetchError::TooLarge(64)));
}

#[tokio::test]
async fn whoever_hangs_is_given_up_at_the_deadline() {
    assert_eq!(get(server(&[""]).await, SHORT).await, Err(FetchError::Timeout));
    let half = server(&["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"]).await;
    assert_eq!(get(half, SHORT).await, Err(FetchError::Timeout));
}

#[tokio::test]
async fn nonsense_and_nobody_are_errors() {
    assert!(matches!(get(server(&["SSH-2.0-OpenSSH\r\n\r\n"]).await, LONG).await, Err(FetchError::Broken(_))));
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(matches!(get(gone, LONG).await, Err(FetchError::Connect(_))));
}

#[tokio::test]
async fn only_a_server_that_the_roots_vouch_for_is_spoken_to() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            answer(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    });
    let address = format!("https://localhost:{port}/");
    let trusting = Client::new(&[own.cert.der().to_vec().into()], Security::HttpsOnly).unwrap();
    assert_eq!(trusting.get(&address, LONG).await.unwrap().body(), "ok");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let distrusting = Client::new(&[other.cert.der().to_vec().into()], Security::HttpsOnly).unwrap();
    let refused = distrusting.get(&address, LONG).await.unwrap_err();
    assert!(matches!(refused, FetchError::Tls(_)), "{refused:?}");
}
