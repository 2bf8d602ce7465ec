#![allow(clippy::unwrap_used)]

use portcullis_router::Bind;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;

async fn pair(ahead: &[u8]) -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    let info = ConnInfo {
        bind: Bind { address: None, port: 80 },
        client: peer,
        local: server.local_addr().unwrap(),
        tls: None,
    };
    (Stream::plain(server, ahead.to_vec(), &info), client)
}

#[tokio::test]
async fn a_body_waits_for_its_flush_but_a_read_sends_it_too() {
    let (mut stream, mut client) = pair(b"").await;
    stream.write_all(b"head").await.unwrap();
    stream.write_all(b"body").await.unwrap();
    assert_eq!(stream.control().bytes_out(), 0);
    let mut byte = [0];
    let reading = stream.read(&mut byte);
    let answering = async {
        let mut received = [0; 8];
        client.read_exact(&mut received).await.unwrap();
        client.write_all(b"x").await.unwrap();
        received
    };
    let (_, received) = tokio::join!(reading, answering);
    assert_eq!(&received, b"headbody");
    assert_eq!(stream.control().bytes_out(), 8);
}

#[tokio::test]
async fn large_writes_arrive_whole_and_in_order() {
    let (mut stream, mut client) = pair(b"").await;
    let sizes = [10, 100_000, 3, 8192, 70_000, 1, 300_000];
    let writing = async {
        for (index, size) in sizes.iter().enumerate() {
            stream.write_all(&vec![u8::try_from(index).unwrap(); *size]).await.unwrap();
        }
        Shutdown::shutdown(&mut stream).await;
        stream
    };
    let mut received = Vec::new();
    let reading = client.read_to_end(&mut received);
    let (_stream, read) = tokio::join!(writing, reading);
    read.unwrap();
    let expected: Vec<u8> =
        sizes.iter().enumerate().flat_map(|(index, size)| vec![u8::try_from(index).unwrap(); *size]).collect();
    assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
}

#[tokio::test]
async fn what_was_read_ahead_comes_first() {
    let (mut stream, mut client) = pair(b"GET ").await;
    assert!(stream.detect_preface().await.unwrap());
    assert!(!stream.is_h2_preface());
    client.write_all(b"/").await.unwrap();
    let mut received = [0; 5];
    stream.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"GET /");
}

#[tokio::test]
async fn a_preface_in_pieces_is_recognised_and_stays_readable() {
    let (mut stream, mut client) = pair(b"PRI").await;
    let sending = async {
        for byte in &PREFACE[3..] {
            client.write_all(&[*byte]).await.unwrap();
        }
    };
    let (detected, ()) = tokio::join!(stream.detect_preface(), sending);
    assert!(detected.unwrap() && stream.is_h2_preface());
    let mut received = [0; 24];
    stream.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, PREFACE);
}

#[tokio::test]
async fn a_client_that_leaves_without_a_byte_is_no_request() {
    let (mut stream, client) = pair(b"").await;
    drop(client);
    assert!(!stream.detect_preface().await.unwrap());
}

#[tokio::test]
async fn a_deadline_that_has_passed_ends_a_read_that_finds_nothing() {
    let (mut stream, _client) = pair(b"").await;
    let control = stream.control();
    control.set_read_deadline(Some(Instant::now()));
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_head_beyond_its_budget_is_not_read_on() {
    let (mut stream, mut client) = pair(b"").await;
    let control = stream.control();
    control.set_head_budget(Some(4));
    client.write_all(b"abcd").await.unwrap();
    let mut received = [0; 4];
    stream.read_exact(&mut received).await.unwrap();
    client.write_all(b"e").await.unwrap();
    assert_eq!(stream.read(&mut received).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(control.head_exceeded());
    control.set_head_budget(None);
    assert_eq!(stream.read(&mut received).await.unwrap(), 1);
}
