//! HTTP/1 connections: keep-alive, pipelining, slow heads, bounds, and the end.

use std::time::Duration;

use super::support::{Backend, Setup, ok, soon};

#[tokio::test]
async fn a_connection_serves_one_request_after_another_on_one_backend_connection() {
    let backend = Backend::echoing_lines().await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    for number in 0..5 {
        client.send(format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let response = client.response().await;
        assert_eq!(response.text(), format!("GET /{number} HTTP/1.1"));
        assert_eq!(response.header("connection"), None);
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::answering(|seen| ok(&format!("{} {}", seen.target(), seen.body.len()))).await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    let one = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n";
    let two = "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
    let three = "POST /3 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let four = "GET /4 HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send([one, two, three, four].concat()).await;
    for expected in ["/1 0", "/2 3", "/3 2", "/4 0"] {
        assert_eq!(client.response().await.text(), expected);
    }
}

#[tokio::test]
async fn a_request_sent_while_another_runs_neither_disturbs_it_nor_is_lost() {
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        use tokio::io::AsyncWriteExt;
        while let Some(seen) = reader.request(number).await {
            let slow = seen.target() == "/slow";
            let target = seen.target().to_owned();
            backend.note(seen);
            if slow {
                // Answered only when the client has sent its second request.
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            reader.stream.write_all(&ok(&target)).await.unwrap();
        }
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    backend.wait_for(1).await;
    client.send("GET /second HTTP/1.1\r\nhost: a\r\n\r\nGET /thi").await;
    client.send("rd HTTP/1.1\r\nhost: a\r\n\r\n").await;
    for expected in ["/slow", "/second", "/third"] {
        assert_eq!(client.response().await.text(), expected);
    }
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_at_the_deadline() {
    let backend = Backend::echoing_lines().await;
    let setup = Setup::before(backend.address);
    let gateway = setup.settings(|settings| settings.limits.header_deadline = Duration::from_millis(400)).start().await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\n").await;
    let trickle = async {
        // Far more bytes than the deadline allows time for; ends when the gateway hangs up.
        for number in 0..10_000 {
            use tokio::io::AsyncWriteExt;
            if client.stream.write_all(format!("x-{number}: y\r\n").as_bytes()).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the end of the trickle", trickle).await;
    assert!(backend.seen().is_empty());
    gateway.counts("portcullis_dataplane_request_flags_total{flag=\"DT\"}", 1).await;

    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx: ").await;
    let response = client.response().await;
    assert_eq!((response.status, response.header("connection")), (408, Some("close")));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn silent_and_idle_connections_are_closed() {
    let backend = Backend::echoing_lines().await;
    let setup = Setup::before(backend.address).settings(|settings| {
        settings.limits.header_deadline = Duration::from_millis(300);
        settings.limits.idle_timeout = Duration::from_millis(300);
    });
    let gateway = setup.start().await;
    let mut silent = gateway.connect().await;
    assert_eq!(silent.rest().await, b"");
    let mut idle = gateway.connect().await;
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(idle.response().await.status, 200);
    assert_eq!(idle.rest().await, b"");
}

#[tokio::test]
async fn the_last_request_that_a_connection_may_bring_says_so() {
    let backend = Backend::echoing_lines().await;
    let setup = Setup::before(backend.address);
    let gateway = setup.settings(|settings| settings.limits.max_requests_per_connection = 2).start().await;
    let mut client = gateway.connect().await;
    client
        .send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\nGET /3 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    assert_eq!(client.response().await.header("connection"), None);
    assert_eq!(client.response().await.header("connection"), Some("close"));
    assert_eq!(client.rest().await, b"");
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn close_asked_for_is_close_given() {
    let backend = Backend::echoing_lines().await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!(client.response().await.header("connection"), Some("close"));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_request_that_meets_a_drain_on_its_way_is_answered() {
    let backend = Backend::echoing_lines().await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.header("connection"), None);
    gateway.handle.drain();
    // Whoever had to notice the drain has noticed: the port is closed.
    while tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.is_ok() {
        tokio::task::yield_now().await;
    }
    client.send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.header("connection"), Some("close"));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn draining_closes_idle_connections_and_lets_requests_finish() {
    let (release, released) = tokio::sync::watch::channel(false);
    let backend = Backend::with_connections(move |backend, mut reader, number| {
        let mut released = released.clone();
        async move {
            use tokio::io::AsyncWriteExt;
            while let Some(seen) = reader.request(number).await {
                backend.note(seen);
                released.wait_for(|released| *released).await.unwrap();
                reader.stream.write_all(&ok("done")).await.unwrap();
            }
        }
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut idle = gateway.connect().await;
    let mut busy = gateway.connect().await;
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    backend.wait_for(1).await;
    gateway.handle.drain();
    assert_eq!(idle.rest().await, b"");
    release.send_replace(true);
    let response = busy.response().await;
    assert_eq!((response.text().as_str(), response.header("connection")), ("done", Some("close")));
    assert_eq!(busy.rest().await, b"");
    assert_eq!(soon("the end", gateway.handle.wait()).await.aborted_connections, 0);
}
