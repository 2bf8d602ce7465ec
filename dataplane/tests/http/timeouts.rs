//! Deadlines of rules and of the gateway.

use std::time::Duration;

use portcullis_ir as ir;
use tokio::io::AsyncWriteExt;

use super::support::{Backend, Setup};

/// Reads requests and sends `bytes`, then nothing more.
async fn stuck_after(bytes: &'static [u8]) -> Backend {
    Backend::with_connections(move |backend, mut reader, number| async move {
        while let Some(seen) = reader.request(number).await {
            backend.note(seen);
            reader.stream.write_all(bytes).await.unwrap();
        }
    })
    .await
}

fn with_timeouts(backend: &Backend, timeouts: ir::Timeouts) -> Setup {
    Setup::new().backend("b", &[backend.address], ir::Protocol::Http).route(|route| route.timeouts = timeouts)
}

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_backend_that_does_not_answer_in_time_is_504() {
    let backend = stuck_after(b"").await;
    for timeouts in [
        ir::Timeouts { request: Some(SHORT), backend_request: None },
        ir::Timeouts { request: None, backend_request: Some(SHORT) },
        ir::Timeouts { request: Some(Duration::from_secs(60)), backend_request: Some(SHORT) },
    ] {
        let gateway = with_timeouts(&backend, timeouts).start().await;
        let mut client = gateway.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.status, 504);
        // The client did nothing wrong: its connection lives.
        client.send("GET /404 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.status, 504);
        gateway.counts("portcullis_dataplane_request_flags_total{flag=\"UT\"}", 2).await;
    }
}

#[tokio::test]
async fn half_an_answer_at_the_deadline_is_cut_and_looks_cut() {
    let backend = stuck_after(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").await;
    let timeouts = ir::Timeouts { request: Some(SHORT), backend_request: None };
    let gateway = with_timeouts(&backend, timeouts).start().await;
    let response = gateway.get("/").await;
    assert_eq!((response.status, response.complete, response.body.as_slice()), (200, false, &b"12345"[..]));
}

#[tokio::test]
async fn without_a_timeout_of_the_rule_the_default_applies() {
    let backend = stuck_after(b"").await;
    let setup = Setup::before(backend.address);
    let gateway = setup.settings(|settings| settings.limits.default_request_timeout = Some(SHORT)).start().await;
    assert_eq!(gateway.get("/").await.status, 504);
}

#[tokio::test]
async fn streams_without_a_byte_end() {
    let backend = stuck_after(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").await;
    let setup = Setup::before(backend.address);
    let gateway = setup.settings(|settings| settings.limits.stream_idle_timeout = SHORT).start().await;
    assert!(!gateway.get("/").await.complete);

    // A client that stops half way through its body.
    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n123").await;
    let response = client.response().await;
    assert_eq!((response.status, response.header("connection")), (408, Some("close")));
}

#[tokio::test]
async fn a_stream_that_moves_lives_longer_than_the_idle_time() {
    let backend = Backend::with_connections(|_, mut reader, number| async move {
        reader.request(number).await.unwrap();
        reader.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await.unwrap();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            reader.stream.write_all(b"x").await.unwrap();
        }
        reader.closed().await;
    })
    .await;
    let setup = Setup::before(backend.address);
    let gateway =
        setup.settings(|settings| settings.limits.stream_idle_timeout = Duration::from_millis(800)).start().await;
    let response = gateway.get("/").await;
    assert_eq!((response.complete, response.body.len()), (true, 10));
}
