//! What a rule's retry policy adds to what is always safe, and where it ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use portcullis_ir as ir;
use tokio::io::AsyncWriteExt;

use super::support::h2::{backend, body_of, connect, exchange};
use super::support::{Backend, Setup, ok};

fn retry(attempts: u32, codes: &[u16]) -> ir::Retry {
    ir::Retry { attempts, codes: codes.to_vec(), backoff: Some(Duration::from_millis(1)) }
}

fn before(addresses: &[SocketAddr], retry: ir::Retry) -> Setup {
    let setup = Setup::new().backend("b", addresses, ir::Protocol::Http);
    setup.route(|route| route.retry = Some(Box::new(retry)))
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Answers `status` to the first `times` requests, then 200.
async fn failing(status: u16, times: usize) -> Backend {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Backend::answering(move |seen| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if number < times {
            answer(status, &format!("failure {number}"))
        } else {
            ok(&format!("{} {}", seen.request_line, String::from_utf8_lossy(&seen.body)))
        }
    })
    .await
}

fn closed() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_named_status_is_tried_again_as_often_as_is_allowed_and_the_last_one_is_the_answer() {
    for (status, failures, attempts, codes, expected, tries) in [
        (500, 2, 3, &[500][..], 200, 3),
        (500, 9, 3, &[500], 500, 4),
        (503, 2, 3, &[500], 503, 1),
        (502, 1, 2, &[500, 502, 503, 504], 200, 2),
        (504, 3, 2, &[500, 502, 503, 504], 504, 3),
        (500, 1, 0, &[500, 502, 503, 504], 500, 1),
        (429, 1, 1, &[429], 200, 2),
        (500, 1, 1, &[], 500, 1),
    ] {
        let case = format!("{status} {failures} times, {attempts} retries of {codes:?}");
        let backend = failing(status, failures).await;
        let gateway = before(&[backend.address], retry(attempts, codes)).start().await;
        let response = gateway.get("/").await;
        assert_eq!((response.status, backend.seen().len()), (expected, tries), "{case}");
        if expected != 200 {
            let text = format!("failure {}", tries - 1);
            assert_eq!((response.reason.as_str(), response.text()), ("Said", text), "{case}");
        }
        let (first, last) = (&backend.seen()[0], &backend.seen()[tries - 1]);
        assert_eq!(first.headers, last.headers, "the same request, its id too: {case}");
        let retried = u64::try_from(tries - 1).unwrap();
        gateway.counts("portcullis_dataplane_upstream_retries_total{cause=\"status\"}", retried).await;
        gateway.counts("portcullis_dataplane_request_flags_total{flag=\"RT\"}", retried.min(1)).await;
    }
}

#[tokio::test]
async fn the_connection_of_an_answer_that_is_thrown_away_is_kept_if_it_ends_soon() {
    let backend = failing(503, 3).await;
    let policy = ir::Retry { backoff: Some(Duration::from_millis(100)), ..retry(3, &[503]) };
    let gateway = before(&[backend.address], policy).start().await;
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!((backend.seen().len(), backend.connections()), (4, 1));
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_cut_off_and_not_waited_for() {
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        let Some(seen) = reader.request(number).await else { return };
        backend.note(seen);
        let endless = b"HTTP/1.1 503 Endless\r\ncontent-length: 1000000\r\n\r\nxx";
        let bytes = if number == 0 { endless.to_vec() } else { ok("fine") };
        reader.stream.write_all(&bytes).await.unwrap();
        reader.closed().await;
    })
    .await;
    let gateway = before(&[backend.address], retry(1, &[503])).start().await;
    assert_eq!(gateway.get("/").await.text(), "fine");
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn a_body_is_sent_again_with_its_request_however_it_is_framed() {
    for raw in [
        "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        let backend = failing(503, 2).await;
        let gateway = before(&[backend.address], retry(2, &[503])).start().await;
        let mut client = gateway.connect().await;
        client.send(raw).await;
        let response = client.response().await;
        assert_eq!(response.status, 200, "{raw}");
        assert!(response.text().ends_with(" hello"), "{}", response.text());
        for seen in backend.seen() {
            assert_eq!((seen.body.as_slice(), seen.violations.len()), (&b"hello"[..], 0), "{seen:?}");
        }
        // Nothing of the body is left over for the next request.
        client.send("GET /next HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.text(), "GET /next HTTP/1.1 ");
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_sent_once() {
    let backend = failing(503, 1).await;
    let setup = before(&[backend.address], retry(2, &[503]));
    let gateway = setup.settings(|settings| settings.limits.max_replay_bytes = 10).start().await;
    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\nhello world").await;
    assert_eq!(client.response().await.status, 503);
    assert_eq!(backend.seen().len(), 1);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhelloworld").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_still_coming_goes_on_to_the_next_try() {
    // The first connection answers before the body is there, the second waits for it.
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        if number == 0 {
            let head = reader.head(number).await.unwrap();
            reader.take(3).await.unwrap();
            backend.note(head);
            reader.stream.write_all(&answer(503, "early")).await.unwrap();
            reader.closed().await;
            return;
        }
        let seen = reader.request(number).await.unwrap();
        reader.stream.write_all(&ok(&String::from_utf8_lossy(&seen.body))).await.unwrap();
        backend.note(seen);
    })
    .await;
    let gateway = before(&[backend.address], retry(2, &[503])).start().await;
    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc").await;
    backend.wait_for(1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send("def").await;
    assert_eq!(client.response().await.text(), "abcdef");
}

#[tokio::test]
async fn a_body_that_was_asked_for_is_not_sent_twice() {
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        let head = reader.head(number).await.unwrap();
        backend.note(head);
        reader.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        reader.take(2).await.unwrap();
        reader.stream.write_all(&answer(503, "no")).await.unwrap();
        reader.closed().await;
    })
    .await;
    let gateway = before(&[backend.address], retry(2, &[503])).start().await;
    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.response().await.status, 100);
    client.send("hi").await;
    assert_eq!(client.response().await.status, 503);
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn what_may_have_been_acted_on_is_not_tried_again() {
    for partial in ["", "HTTP/1.1 5", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
        let backend = Backend::with_connections(move |backend, mut reader, number| async move {
            let Some(seen) = reader.request(number).await else { return };
            backend.note(seen);
            reader.stream.write_all(partial.as_bytes()).await.unwrap();
        })
        .await;
        let gateway = before(&[backend.address], retry(3, &[500, 502])).start().await;
        let response = gateway.get("/").await;
        let half = partial.ends_with("half");
        assert_eq!((response.status, response.complete), (if half { 200 } else { 502 }, !half), "{partial:?}");
        assert_eq!(backend.seen().len(), 1, "{partial:?}");
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_tried_again_and_elsewhere_first() {
    for (attempts, connects) in [(0, 1), (5, 6)] {
        let gateway = before(&[closed()], retry(attempts, &[])).start().await;
        assert_eq!(gateway.get("/").await.status, 503);
        gateway.counts("portcullis_dataplane_upstream_connects_total{outcome=\"refused\"}", connects).await;
        gateway.counts("portcullis_dataplane_upstream_retries_total{cause=\"connect\"}", connects - 1).await;
    }
    let backend = Backend::echoing_lines().await;
    let gateway = before(&[closed(), backend.address, closed()], retry(100, &[])).start().await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn another_endpoint_is_preferred_to_the_one_that_just_failed() {
    let (bad, good) = (failing(500, usize::MAX).await, Backend::echoing_lines().await);
    let gateway = before(&[bad.address, good.address], retry(1, &[500])).start().await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert!(!bad.seen().is_empty());
}

/// Keeps the first `silent` requests waiting, then answers.
async fn slow(silent: usize) -> Backend {
    Backend::with_connections(move |backend, mut reader, number| async move {
        let Some(seen) = reader.request(number).await else { return };
        backend.note(seen);
        if number >= silent {
            reader.stream.write_all(&ok("late")).await.unwrap();
        }
        reader.closed().await;
    })
    .await
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_given_up_for_the_next_one() {
    let timeouts = |request| ir::Timeouts { request, backend_request: Some(Duration::from_millis(100)) };
    let start = |backend: &Backend, attempts, request| {
        let setup = Setup::new().backend("b", &[backend.address], ir::Protocol::Http);
        setup.route(move |route| {
            (route.retry, route.timeouts) = (Some(Box::new(retry(attempts, &[500]))), timeouts(request));
        })
    };
    let backend = slow(2).await;
    let gateway = start(&backend, 2, Some(Duration::from_secs(15))).start().await;
    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await;
    assert_eq!(client.response().await.text(), "late");
    assert!(backend.seen().len() == 3 && backend.seen().iter().all(|seen| seen.body == b"hi"));
    gateway.counts("portcullis_dataplane_upstream_retries_total{cause=\"timeout\"}", 2).await;

    let backend = slow(usize::MAX).await;
    let gateway = start(&backend, 1, None).start().await;
    assert_eq!((gateway.get("/").await.status, backend.seen().len()), (504, 2));
    // The request's own time ends it, whatever is left of its tries.
    let gateway = start(&backend, 100, Some(Duration::from_millis(250))).start().await;
    let begun = Instant::now();
    assert_eq!(gateway.get("/").await.status, 504);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_answer_at_hand_is_better_than_a_pause_beyond_the_deadline() {
    let backend = failing(503, 9).await;
    let policy = ir::Retry { backoff: Some(Duration::from_secs(60)), ..retry(5, &[503]) };
    let setup = Setup::new().backend("b", &[backend.address], ir::Protocol::Http);
    let gateway = setup
        .route(|route| {
            route.retry = Some(Box::new(policy));
            route.timeouts.request = Some(Duration::from_secs(30));
        })
        .start()
        .await;
    assert_eq!((gateway.get("/").await.text().as_str(), backend.seen().len()), ("failure 0", 1));
}

#[tokio::test]
async fn a_client_that_leaves_during_a_pause_ends_its_request() {
    let backend = failing(503, 9).await;
    let policy = ir::Retry { backoff: Some(Duration::from_secs(60)), ..retry(5, &[503]) };
    let gateway = before(&[backend.address], policy).start().await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    backend.wait_for(1).await;
    gateway.counts("portcullis_dataplane_upstream_retries_total{cause=\"status\"}", 1).await;
    drop(client);
    gateway.counts("portcullis_dataplane_request_flags_total{flag=\"DC\"}", 1).await;
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn retries_are_bounded_when_everything_fails() {
    let backend = failing(503, usize::MAX).await;
    let policy = ir::Retry { backoff: Some(Duration::from_millis(300)), ..retry(1, &[503]) };
    let gateway = before(&[backend.address], policy).start().await;
    let gets = (0..100).map(|_| gateway.get("/"));
    let statuses = futures::future::join_all(gets).await;
    assert!(statuses.iter().all(|response| response.status == 503));
    // 32, and a fifth of those under way; what is beyond gets the answer that is there.
    let (refused, made) = ("upstream_retries_refused_total", "upstream_retries_total{cause=\"status\"}");
    let refused = gateway.metric(&format!("portcullis_dataplane_{refused}")).await;
    let made = gateway.metric(&format!("portcullis_dataplane_{made}")).await;
    assert_eq!(refused + made, 100);
    assert!((32..=52).contains(&made), "{made}");
}

#[tokio::test]
async fn a_refused_stream_is_tried_again_with_its_body() {
    let address = backend(|mut request, mut respond, number| async move {
        if number < 4 {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            return;
        }
        let body = body_of(request.body_mut()).await;
        let mut sending = respond.send_response(Response::new(()), false).unwrap();
        sending.send_data(body.into(), true).unwrap();
    })
    .await;
    for (attempts, status) in [(2, 502), (4, 200)] {
        let setup = Setup::new().backend("b", &[address], ir::Protocol::Http2);
        let gateway = setup.route(|route| route.retry = Some(Box::new(retry(attempts, &[])))).start().await;
        let client = connect(gateway.address()).await;
        let request = Request::builder().method(Method::POST).uri("http://a.test/").body(()).unwrap();
        let answer = exchange(&client, request, b"hello", None).await;
        assert_eq!(answer.head.status, status);
        if status == 200 {
            assert_eq!(answer.body, b"hello");
        }
    }
}

#[tokio::test]
async fn a_call_that_the_backend_did_not_begin_with_is_tried_again() {
    for begun in [false, true] {
        let address = backend(move |mut request, mut respond, number| async move {
            let body = body_of(request.body_mut()).await;
            let head = Response::builder().header("content-type", "application/grpc");
            if number > 0 {
                let mut sending = respond.send_response(head.body(()).unwrap(), false).unwrap();
                sending.send_data(body.into(), false).unwrap();
                sending
                    .send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect())
                    .unwrap();
            } else if begun {
                // With trailers of its own the call had been begun.
                let mut sending = respond.send_response(head.body(()).unwrap(), false).unwrap();
                sending
                    .send_trailers([("grpc-status".parse().unwrap(), "14".parse().unwrap())].into_iter().collect())
                    .unwrap();
            } else {
                respond.send_response(head.header("grpc-status", "14").body(()).unwrap(), true).unwrap();
            }
        })
        .await;
        let setup = Setup::new().backend("b", &[address], ir::Protocol::Http2);
        let gateway = setup.route(|route| route.retry = Some(Box::new(retry(1, &[])))).start().await;
        let client = connect(gateway.address()).await;
        let call = Request::builder().method(Method::POST).uri("http://a.test/a/b");
        let call = call.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap();
        let answer = exchange(&client, call, b"\0\0\0\0\x02hi", None).await;
        let status = answer.trailers.expect("trailers")["grpc-status"].clone();
        assert_eq!((status.to_str().unwrap(), answer.body.len()), if begun { ("14", 0) } else { ("0", 7) });
    }
}
