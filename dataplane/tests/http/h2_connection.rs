//! HTTP/2 connections: their bounds, their end, and what a stream's end means.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{Method, Request};
use portcullis_ir as ir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::h2::{connect, echo_backend, exchange};
use super::support::{Backend, Gateway, Setup, ok, soon};

fn request(gateway: &Gateway, method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://a.test:{}{path}", gateway.port)).body(()).unwrap()
}

#[tokio::test]
async fn a_truncated_answer_is_a_reset_never_an_end() {
    let backend = Backend::with_connections(|_, mut reader, number| async move {
        reader.head(number).await.unwrap();
        reader.stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n").await.unwrap();
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let client = connect(gateway.address()).await;
    let mut client = soon("readiness", client.ready()).await.unwrap();
    let (response, _) = client.send_request(request(&gateway, Method::GET, "/"), true).unwrap();
    let error = soon("the end", async {
        // The reset may overtake what came before it.
        let mut body = match response.await {
            Ok(answer) => answer.into_body(),
            Err(error) => return error,
        };
        loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("a clean end"),
            }
        }
    })
    .await;
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn a_reset_by_the_client_cancels_the_backend() {
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        let seen = reader.head(number).await.unwrap();
        backend.note(seen.clone());
        reader.closed().await;
        backend.note(seen);
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let client = connect(gateway.address()).await;
    let mut client = soon("readiness", client.ready()).await.unwrap();
    let (response, mut stream) = client.send_request(request(&gateway, Method::POST, "/"), false).unwrap();
    backend.wait_for(1).await;
    stream.send_reset(Reason::CANCEL);
    drop((response, stream));
    backend.wait_for(2).await;
}

#[tokio::test]
async fn informational_responses_reach_http_2_clients() {
    let backend =
        Backend::answering(|_| [b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec(), ok("hi")].concat()).await;
    let gateway = Setup::before(backend.address).start().await;
    let client = connect(gateway.address()).await;
    let mut client = soon("readiness", client.ready()).await.unwrap();
    let (mut response, _) = client.send_request(request(&gateway, Method::GET, "/"), true).unwrap();
    let hints = soon("hints", poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!((hints.status().as_u16(), &hints.headers()["link"]), (103, &"</a>".parse().unwrap()));
    assert_eq!(soon("the answer", response).await.unwrap().status(), 200);
}

#[tokio::test]
async fn authorities_that_contradict_each_other_are_refused_and_too_many_end_the_connection() {
    let backend = Backend::answering(|_| ok("")).await;
    let gateway = Setup::before(backend.address).start().await;
    let client = connect(gateway.address()).await;
    let mut refused = 0;
    loop {
        let Ok(mut client) = soon("readiness", client.clone().ready()).await else { break };
        let mut head = request(&gateway, Method::GET, "/");
        head.headers_mut().insert("host", "other.test".parse().unwrap());
        let Ok((response, _)) = client.send_request(head, true) else { break };
        match soon("an answer", response).await {
            Ok(answer) => assert_eq!(answer.status(), 400),
            Err(error) => {
                assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
                break;
            }
        }
        refused += 1;
        assert!(refused < 100, "the connection is never closed");
    }
    assert!(refused >= 31, "{refused}");
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn connect_is_refused() {
    let gateway = Setup::before(echo_backend().await).start().await;
    let client = connect(gateway.address()).await;
    let head = Request::builder().method(Method::CONNECT).uri("a.test:443").body(()).unwrap();
    let mut client = soon("readiness", client.ready()).await.unwrap();
    let (response, _stream) = client.send_request(head, false).unwrap();
    assert_eq!(soon("the answer", response).await.unwrap().status(), 405);
}

#[tokio::test]
async fn large_header_lists_are_refused() {
    let backend = Backend::answering(|_| ok("")).await;
    let setup = Setup::before(backend.address);
    let gateway = setup.settings(|settings| settings.limits.max_header_bytes = 4096).start().await;
    let client = connect(gateway.address()).await;
    // Twice: the first makes our side know the peer's bound, or not; either way it is refused.
    let mut head = request(&gateway, Method::GET, "/");
    head.headers_mut().insert("x-large", "x".repeat(10_000).parse().unwrap());
    let mut ready = soon("readiness", client.clone().ready()).await.unwrap();
    if let Ok((response, _)) = ready.send_request(head, true) {
        match soon("an answer", response).await {
            Ok(answer) => assert_eq!(answer.status(), 431),
            Err(error) => assert!(error.reason().is_some(), "{error}"),
        }
    }
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let backend = Backend::answering(|_| ok("")).await;
    let gateway = Setup::before(backend.address).start().await;
    // By hand, because a client library would not do it: HEADERS and RST_STREAM, again and again.
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let block = [0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
    let mut flood = Vec::new();
    for id in (1..6001_u32).step_by(2) {
        flood.extend_from_slice(&[0, 0, 6, 0x01, 0x05]);
        flood.extend_from_slice(&id.to_be_bytes());
        flood.extend_from_slice(&block);
        flood.extend_from_slice(&[0, 0, 4, 0x03, 0]);
        flood.extend_from_slice(&id.to_be_bytes());
        flood.extend_from_slice(&8_u32.to_be_bytes());
    }
    // It may be cut off while sending.
    let _ = soon("the flood", stream.write_all(&flood)).await;
    let mut received = Vec::new();
    let mut chunk = [0; 16 * 1024];
    soon("the end of the connection", async {
        use tokio::io::AsyncReadExt;
        while let Ok(read) = stream.read(&mut chunk).await {
            if read == 0 {
                break;
            }
            received.extend_from_slice(&chunk[..read]);
        }
    })
    .await;
    assert!(backend.seen().len() < 1000, "{}", backend.seen().len());
}

#[tokio::test]
async fn draining_says_goaway_and_lets_streams_finish() {
    let (release, released) = tokio::sync::watch::channel(false);
    let backend = Backend::with_connections(move |backend, mut reader, number| {
        let mut released = released.clone();
        async move {
            while let Some(seen) = reader.request(number).await {
                backend.note(seen);
                released.wait_for(|released| *released).await.unwrap();
                let _ = reader.stream.write_all(&ok("done")).await;
            }
        }
    })
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (response, _) = client.send_request(request(&gateway, Method::GET, "/"), true).unwrap();
    backend.wait_for(1).await;
    gateway.handle.drain();
    release.send_replace(true);
    assert_eq!(soon("the answer", response).await.unwrap().status(), 200);
    drop(client);
    // The gateway closes it, in good order.
    soon("the end of the connection", connection).await.unwrap().unwrap();
    assert_eq!(soon("the end", gateway.handle.wait()).await.aborted_connections, 0);
}

#[tokio::test]
async fn idle_and_half_open_connections_are_closed() {
    let setup = Setup::before(echo_backend().await).settings(|settings| {
        settings.limits.idle_timeout = Duration::from_millis(200);
        settings.limits.header_deadline = Duration::from_millis(200);
    });
    let gateway = setup.start().await;
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (_client, connection) = h2::client::handshake(stream).await.unwrap();
    let _ = soon("the end of an idle connection", connection).await;

    let mut half = gateway.connect().await;
    half.send("PRI * HTTP/2.0\r\n\r").await;
    half.rest().await;
}

#[tokio::test]
async fn a_stream_that_the_backend_refused_to_begin_with_is_sent_again() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let requests = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let requests = Arc::clone(&requests);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    if requests.fetch_add(1, Ordering::SeqCst) == 0 {
                        respond.send_reset(Reason::REFUSED_STREAM);
                    } else {
                        let answer = http::Response::builder().status(204).body(()).unwrap();
                        let _: h2::SendStream<Bytes> = respond.send_response(answer, true).unwrap();
                    }
                }
            });
        }
    });
    let gateway = Setup::new().backend("b", &[address], ir::Protocol::Http2).route(|_| {}).start().await;
    let mut client = gateway.connect().await;
    // Whatever the method: the backend said that it has not begun.
    client.send("POST / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.status, 204);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn bodies_larger_than_every_window_pass() {
    let gateway = Setup::before_h2(echo_backend().await).start().await;
    let client = connect(gateway.address()).await;
    let body = vec![b'x'; 5 * 1024 * 1024];
    let answer = exchange(&client, request(&gateway, Method::POST, "/"), &body, None).await;
    assert_eq!(answer.body.len(), body.len());
}
