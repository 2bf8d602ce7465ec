//! WebSocket and other upgrades: raw bytes both ways after a 101, whatever came early included.

use portcullis_dataplane::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Backend, Setup, soon};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// Accepts every upgrade, sends `early` with the head, then echoes until the end.
async fn echo(early: &'static [u8]) -> Backend {
    Backend::with_connections(move |backend, mut reader, number| async move {
        let Some(seen) = reader.head(number).await else { return };
        backend.note(seen);
        let mut first = ACCEPTED.to_vec();
        first.extend_from_slice(early);
        if reader.stream.write_all(&first).await.is_err() {
            return;
        }
        while let Some(bytes) = reader.take(4).await {
            if reader.stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_web_socket_carries_bytes_both_ways_early_ones_too() {
    let backend = echo(b"wake").await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send([HANDSHAKE.as_bytes(), b"ping"].concat()).await;
    let response = client.response().await;
    assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")));
    assert_eq!(client.bytes(8).await, b"wakeping");
    client.send("pong").await;
    assert_eq!(client.bytes(4).await, b"pong");
    let seen = &backend.seen()[0];
    assert_eq!(seen.header("upgrade"), Some("websocket"));
    assert_eq!(seen.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
}

#[tokio::test]
async fn an_idle_web_socket_outlives_the_idle_limits_of_requests() {
    let backend = echo(b"").await;
    let gateway = Setup::before(backend.address)
        .settings(|settings: &mut Settings| {
            settings.limits.idle_timeout = std::time::Duration::from_millis(50);
            settings.limits.stream_idle_timeout = std::time::Duration::from_millis(50);
            settings.limits.header_deadline = std::time::Duration::from_millis(500);
        })
        .start()
        .await;
    let mut client = gateway.connect().await;
    client.send(HANDSHAKE).await;
    assert_eq!(client.response().await.status, 101);
    // Not synchronisation: the time that must pass without anything happening.
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    client.send("late").await;
    assert_eq!(client.bytes(4).await, b"late");
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let backend = Backend::answering(|_| super::support::ok("no")).await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send(HANDSHAKE).await;
    let response = client.response().await;
    assert_eq!((response.status, response.text().as_str()), (200, "no"));
}

#[tokio::test]
async fn the_end_of_one_side_is_the_end_of_the_other() {
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        let Some(seen) = reader.head(number).await else { return };
        backend.note(seen);
        let _ = reader.stream.write_all(ACCEPTED).await;
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send(HANDSHAKE).await;
    assert_eq!(client.response().await.status, 101);
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = soon("the end of the tunnel", client.stream.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"");
}
