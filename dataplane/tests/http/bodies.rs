//! Bodies in both directions: whole, bounded, at their own pace, and never cut without a sign.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Backend, Client, Setup, ok, soon};

#[tokio::test]
async fn sized_and_chunked_bodies_arrive_whole() {
    let backend = Backend::answering(|seen| ok(&format!("{} {}", seen.request_line, seen.body.len()))).await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    let large = vec![b'x'; 3 * 1024 * 1024];
    client.send(format!("POST /sized HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", large.len())).await;
    client.send(&large).await;
    assert_eq!(client.response().await.text(), format!("POST /sized HTTP/1.1 {}", large.len()));
    client.send("POST /chunked HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.send("5;ext=1\r\nhello\r\n").await;
    client.send("1\r\n \r\n5\r\nworld\r\n0\r\ntrailer: dropped\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "POST /chunked HTTP/1.1 11");
    let seen = backend.seen();
    assert!(seen.iter().all(|seen| seen.violations.is_empty()), "{seen:#?}");
    assert_eq!(seen[1].body, b"hello world");
    assert_eq!(seen[0].connection, seen[1].connection);
}

#[tokio::test]
async fn a_chunk_of_nothing_is_never_written_between_chunks() {
    let backend = Backend::answering(|_| ok("fine")).await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        for piece in ["1", "\r", "\na\r\n", "2\r\nb", "c\r\n", "0\r", "\n\r\n"] {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.response().await.status, 200);
    }
    let seen = backend.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.violations.is_empty() && seen.body == b"abc"), "{seen:#?}");
}

#[tokio::test]
async fn trickled_bodies_move_on_as_they_come_both_ways() {
    let backend = Backend::with_connections(|_, mut reader, number| async move {
        reader.head(number).await.unwrap();
        reader.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n").await.unwrap();
        for _ in 0..3 {
            // Each byte is answered before the next is sent: nothing may wait for company.
            let byte = reader.take(1).await.unwrap();
            reader.stream.write_all(&byte).await.unwrap();
        }
        reader.closed().await;
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n").await;
    let head = client.bytes(b"HTTP/1.1 200 OK\r\n".len()).await;
    assert_eq!(head, b"HTTP/1.1 200 OK\r\n");
    let mut rest = client.bytes(b"content-length: 3\r\nconnection: close\r\n\r\n".len()).await;
    for byte in [b"a", b"b", b"c"] {
        client.send(byte).await;
        rest = client.bytes(1).await;
        assert_eq!(&rest, byte);
    }
    assert_eq!(rest, b"c");
}

#[tokio::test]
async fn a_backend_that_answers_before_it_reads_does_not_stall() {
    const RESPONSE: usize = 30 * 1024 * 1024;
    const REQUEST: usize = 20 * 1024 * 1024;
    let backend = Backend::with_connections(|_, mut reader, number| async move {
        reader.head(number).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {RESPONSE}\r\n\r\n");
        reader.stream.write_all(head.as_bytes()).await.unwrap();
        reader.stream.write_all(&vec![b'r'; RESPONSE]).await.unwrap();
        assert_eq!(reader.take(REQUEST).await.unwrap().len(), REQUEST);
        reader.closed().await;
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let client = gateway.connect().await;
    let (mut read, mut write) = client.stream.into_split();
    let sender = tokio::spawn(async move {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {REQUEST}\r\n\r\n");
        write.write_all(head.as_bytes()).await.unwrap();
        // Stops early when the answer is complete and the connection ends.
        let _ = write.write_all(&vec![b'q'; REQUEST]).await;
        write
    });
    let mut received = 0;
    let mut chunk = vec![0; 256 * 1024];
    soon("the whole response", async {
        while received < RESPONSE {
            let read = read.read(&mut chunk).await.unwrap();
            assert!(read > 0, "ended after {received}");
            received += read;
        }
    })
    .await;
    soon("the sender's end", sender).await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_can_still_send() {
    const REQUEST: usize = 8 * 1024 * 1024;
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        let mut seen = reader.head(number).await.unwrap();
        reader.stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let ahead = reader.ahead();
        let (mut read, mut write) = reader.stream.split();
        let answer = async {
            let chunk = format!("{:x}\r\n{}\r\n", 64 * 1024, "r".repeat(64 * 1024));
            for _ in 0..128 {
                write.write_all(chunk.as_bytes()).await.unwrap();
            }
            write.write_all(b"0\r\n\r\n").await.unwrap();
        };
        let take = async {
            let mut left = REQUEST - ahead;
            let mut chunk = vec![0; 256 * 1024];
            while left > 0 {
                left -= read.read(&mut chunk).await.unwrap();
            }
            seen.body = vec![0; REQUEST];
            backend.note(seen);
        };
        tokio::join!(answer, take);
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {REQUEST}\r\n\r\n")).await;
    client.send(vec![b'q'; REQUEST]).await;
    // Only now does the client look at what came.
    let response = client.response().await;
    assert_eq!((response.body.len(), response.complete), (128 * 64 * 1024, true));
    backend.wait_for(1).await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_backend_back() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let backend = Backend::with_connections(move |_, mut reader, number| {
        let count = Arc::clone(&count);
        async move {
            reader.head(number).await.unwrap();
            reader.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await.unwrap();
            let chunk = vec![b'r'; 64 * 1024];
            while reader.stream.write_all(&chunk).await.is_ok() {
                count.fetch_add(chunk.len(), Ordering::Relaxed);
            }
        }
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.bytes(64).await;
    // Until nothing moves any more.
    let mut before = usize::MAX;
    while before != sent.load(Ordering::Relaxed) {
        before = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Sockets hold some megabytes; the gateway adds little to that.
    assert!(before < 64 * 1024 * 1024, "{before}");
}

#[tokio::test]
async fn one_hundred_continue_is_forwarded_before_the_body() {
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        let mut seen = reader.head(number).await.unwrap();
        assert_eq!(seen.header("expect"), Some("100-continue"));
        reader.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        seen.body = reader.take(5).await.unwrap();
        backend.note(seen);
        reader.stream.write_all(&ok("thanks")).await.unwrap();
        reader.closed().await;
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    let interim = client.response().await;
    assert_eq!((interim.status, interim.reason.as_str()), (100, "Continue"));
    client.send("12345").await;
    assert_eq!(client.response().await.text(), "thanks");
    assert_eq!(backend.only().body, b"12345");
}

#[tokio::test]
async fn a_refused_expectation_is_the_answer_and_ends_the_connection() {
    let backend = Backend::with_connections(|_, mut reader, number| async move {
        reader.head(number).await.unwrap();
        let refusal = b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno";
        reader.stream.write_all(refusal).await.unwrap();
        reader.closed().await;
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status, response.text().as_str()), (417, "no"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn an_early_answer_is_delivered_although_the_client_is_still_sending() {
    let backend = Backend::with_connections(|_, mut reader, number| async move {
        reader.head(number).await.unwrap();
        reader.stream.write_all(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig").await.unwrap();
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    for _ in 0..20 {
        let mut client = gateway.connect().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n").await;
        client.send(vec![b'x'; 100 * 1024]).await;
        let response = client.response().await;
        assert_eq!((response.status, response.text().as_str()), (413, "big"));
    }
}

#[tokio::test]
async fn truncated_answers_never_look_whole() {
    let heads = [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n123",
    ];
    for head in heads {
        let backend = Backend::with_connections(move |_, mut reader, number| async move {
            reader.head(number).await.unwrap();
            reader.stream.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        let gateway = Setup::before(backend.address).start().await;
        let mut client = gateway.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let response = client.response().await;
        assert!(!response.complete, "{head:?} {response:?}");
        assert_eq!(gateway.metric("portcullis_dataplane_request_flags_total{flag=\"UR\"}").await, 1, "{head:?}");
    }
}

#[tokio::test]
async fn close_delimited_answers_become_chunked() {
    let backend = Backend::with_connections(|_, mut reader, number| async move {
        reader.head(number).await.unwrap();
        reader.stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello ").await.unwrap();
        reader.stream.write_all(b"world").await.unwrap();
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        assert_eq!((response.text().as_str(), response.complete), ("hello world", true));
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_backend_at_once() {
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        let seen = reader.head(number).await.unwrap();
        backend.note(seen);
        // Never answers; ends when the gateway hangs up.
        reader.closed().await;
        let mut gone = reader_gone(number);
        gone.request_line = "GONE".to_owned();
        backend.note(gone);
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    backend.wait_for(1).await;
    drop(client);
    backend.wait_for(2).await;
    assert_eq!(backend.seen()[1].request_line, "GONE");
    gateway.counts("portcullis_dataplane_request_flags_total{flag=\"DC\"}", 1).await;
}

fn reader_gone(connection: usize) -> super::support::Seen {
    super::support::Seen {
        connection,
        request_line: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
        violations: Vec::new(),
    }
}

#[tokio::test]
async fn http_10_clients_get_what_they_understand() {
    let backend = Backend::answering(|seen| match seen.target() {
        "/sized" => ok("sized"),
        _ => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nchunk\r\n0\r\n\r\n".to_vec(),
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET /sized HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.text().as_str(), response.header("connection")), ("sized", Some("keep-alive")));
    client.send("GET /chunked HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.text().as_str(), response.header("connection")), ("chunk", Some("close")));
    assert_eq!(response.header("transfer-encoding"), None);

    let mut client = Client::connect(gateway.address()).await;
    client.send("GET /sized HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.header("connection"), Some("close"));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn truncation_towards_an_http_10_client_is_a_reset() {
    let backend = Backend::with_connections(|_, mut reader, number| async move {
        reader.head(number).await.unwrap();
        reader.stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n").await.unwrap();
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    let mut end = Ok(1);
    let mut chunk = [0; 1024];
    soon("the end", async {
        while matches!(end, Ok(read) if read > 0) {
            end = client.stream.read(&mut chunk).await;
        }
    })
    .await;
    assert!(end.is_err(), "the end of the connection is the end of the body: it must not look like one");
}
