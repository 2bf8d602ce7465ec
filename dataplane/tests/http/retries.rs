//! When a request is sent again, and above all when it is not.

use portcullis_ir as ir;
use tokio::io::AsyncWriteExt;

use super::support::{Backend, Setup, ok};

/// Serves one request per connection, then does what `second` says with the next one on it.
async fn dying_on_reuse(partial: &'static [u8]) -> Backend {
    Backend::with_connections(move |backend, mut reader, number| async move {
        let Some(seen) = reader.request(number).await else { return };
        backend.note(seen);
        reader.stream.write_all(&ok("first")).await.unwrap();
        if number > 0 {
            // Later connections behave.
            while let Some(seen) = reader.request(number).await {
                backend.note(seen);
                reader.stream.write_all(&ok("again")).await.unwrap();
            }
            return;
        }
        let Some(seen) = reader.request(number).await else { return };
        backend.note(seen);
        reader.stream.write_all(partial).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again_when_a_reused_connection_dies_without_a_byte() {
    let backend = dying_on_reuse(b"").await;
    let gateway = Setup::before(backend.address).start().await;
    assert_eq!(gateway.get("/1").await.status, 200);
    assert_eq!(gateway.get("/2").await.status, 200);
    let targets: Vec<_> = backend.seen().iter().map(|seen| (seen.target().to_owned(), seen.connection)).collect();
    assert_eq!(targets, [("/1".to_owned(), 0), ("/2".to_owned(), 0), ("/2".to_owned(), 1)]);
    let (first, second) = (&backend.seen()[1], &backend.seen()[2]);
    assert_eq!(first.headers, second.headers, "the same request, its id too");
    gateway.counts("portcullis_dataplane_request_flags_total{flag=\"RT\"}", 1).await;
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let backend = dying_on_reuse(b"").await;
    let gateway = Setup::before(backend.address).start().await;
    assert_eq!(gateway.get("/1").await.status, 200);
    for raw in ["POST /2 HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let mut client = gateway.connect().await;
        client.send(raw).await;
        assert_eq!(client.response().await.status, 502);
    }
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn a_request_with_a_body_is_never_sent_twice_even_if_idempotent() {
    let backend = dying_on_reuse(b"").await;
    let gateway = Setup::before(backend.address).start().await;
    assert_eq!(gateway.get("/1").await.status, 200);
    let mut client = gateway.connect().await;
    client.send("PUT /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await;
    assert_eq!(client.response().await.status, 502);
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn nothing_is_sent_again_after_a_byte_of_an_answer() {
    let backend = dying_on_reuse(b"HTTP/1.1 2").await;
    let gateway = Setup::before(backend.address).start().await;
    assert_eq!(gateway.get("/1").await.status, 200);
    assert_eq!(gateway.get("/2").await.status, 502);
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn a_new_connection_that_dies_is_an_answer() {
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        let seen = reader.request(number).await.unwrap();
        backend.note(seen);
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    assert_eq!(gateway.get("/").await.status, 502);
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_of_the_backend_is_never_replaced() {
    let backend = Backend::answering(|_| b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nmine".to_vec()).await;
    let gateway = Setup::before(backend.address).start().await;
    let response = gateway.get("/").await;
    assert_eq!((response.status, response.reason.as_str(), response.text().as_str()), (503, "Busy", "mine"));
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn refused_connections_are_tried_elsewhere_whatever_the_method() {
    let backend = Backend::echoing_lines().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Setup::new().backend("b", &[backend.address, closed], ir::Protocol::Http).route(|_| {}).start().await;
    for _ in 0..20 {
        let mut client = gateway.connect().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await;
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!(backend.seen().len(), 20);
    assert!(backend.seen().iter().all(|seen| seen.body == b"hi"));
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_is_noticed_before_it_is_used() {
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        let Some(seen) = reader.request(number).await else { return };
        backend.note(seen);
        reader.stream.write_all(&ok("bye")).await.unwrap();
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    for number in 1..=5 {
        let mut client = gateway.connect().await;
        // A method that must not be sent twice: so only noticing helps.
        client.send("POST / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.text(), "bye");
        assert_eq!(backend.connections(), number);
        // The close is on its way; it arrives before the next request on any machine.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
