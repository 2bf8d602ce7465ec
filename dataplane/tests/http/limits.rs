//! What a client may send, and what it hears when it sends more.

use super::support::{Backend, Setup, ok};

#[tokio::test]
async fn heads_beyond_the_bound_are_431_to_the_byte() {
    let backend = Backend::answering(|_| ok("fine")).await;
    let setup = Setup::before(backend.address);
    let gateway = setup.settings(|settings| settings.limits.max_header_bytes = 1000).start().await;
    let head = |size: usize| {
        let fixed = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(size - fixed))
    };
    for (size, status) in [(1000, 200), (1001, 431), (5000, 431), (100_000, 431)] {
        let mut client = gateway.connect().await;
        client.send(head(size)).await;
        assert_eq!(client.response().await.status, status, "{size}");
    }
    assert_eq!(backend.seen().len(), 1);
    // A bound on a head is none on what is sent behind it.
    let mut client = gateway.connect().await;
    let body = "b".repeat(5000);
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n{body}")).await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(backend.seen()[1].body.len(), 5000);
}

#[tokio::test]
async fn header_counts_beyond_the_bound_are_431() {
    let backend = Backend::answering(|_| ok("fine")).await;
    let setup = Setup::before(backend.address);
    let gateway = setup.settings(|settings| settings.limits.max_headers = 10).start().await;
    for (count, status) in [(9, 200), (10, 431)] {
        let mut client = gateway.connect().await;
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(count))).await;
        assert_eq!(client.response().await.status, status, "{count}");
    }
}

#[tokio::test]
async fn bodies_beyond_the_bound_are_413_announced_or_not() {
    let backend = Backend::answering(|_| ok("fine")).await;
    let setup = Setup::before(backend.address);
    let gateway = setup.settings(|settings| settings.limits.max_body_bytes = Some(10)).start().await;
    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n0123456789").await;
    assert_eq!(client.response().await.status, 200);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n01234567890").await;
    let response = client.response().await;
    assert_eq!((response.status, response.header("connection")), (413, Some("close")));

    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n").await;
    assert_eq!(client.response().await.status, 413);
    assert_eq!(backend.seen().len(), 1);
    gateway.counts("portcullis_dataplane_request_flags_total{flag=\"RL\"}", 2).await;
}
