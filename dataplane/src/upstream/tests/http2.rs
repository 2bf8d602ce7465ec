//! HTTP/2 towards backends: sharing, leaving, refusing, trailers.

use bytes::Bytes;
use futures::future::join_all;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use portcullis_ir::Protocol;

use super::support::http2_backend::{Http2Backend, Options, numbered};
use super::support::raw_backend::{Do, RawBackend};
use super::support::{World, answer, chunk, exchange, get, plain, request};
use crate::upstream::UpstreamErrorKind;

type Handling = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Answers with what it was asked, and the trailers it was sent.
fn mirror(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, _: usize) -> Handling {
    Box::pin(async move {
        let head = format!("{} {} {:?}", request.method(), request.uri(), request.headers().keys().collect::<Vec<_>>());
        let mut body = request.into_body();
        let mut send =
            respond.send_response(Response::builder().header("seen", head).body(()).unwrap(), false).unwrap();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            let _ = send.send_data(data, false);
        }
        let mut trailers = body.trailers().await.unwrap().unwrap_or_default();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let _ = send.send_trailers(trailers);
    })
}

/// Refuses the first request of each connection unprocessed.
fn refuse_first(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, number: usize) -> Handling {
    if number > 0 {
        return numbered(request, respond, number);
    }
    Box::pin(async move { respond.send_reset(h2::Reason::REFUSED_STREAM) })
}

/// Promises more than it sends.
fn stop_short(_: Request<RecvStream>, mut respond: SendResponse<Bytes>, _: usize) -> Handling {
    Box::pin(async move {
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        let _ = send.send_data("half".into(), false);
        send.send_reset(h2::Reason::INTERNAL_ERROR);
    })
}

#[tokio::test]
async fn pseudo_headers_come_from_target_and_host_and_the_rest_of_http_1_stays_behind() {
    let (world, backend) = (World::new(), Http2Backend::start(Options::plain(mirror)).await);
    let program = world.program(plain(Protocol::Http2), &[backend.address]);
    let mut head = request("POST", "/a?b=c");
    head.insert_header("connection", "keep-alive").unwrap();
    head.insert_header("transfer-encoding", "chunked").unwrap();
    head.insert_header("te", "trailers").unwrap();
    let answer = exchange(world.connect(&program).await.unwrap(), head).await.unwrap();
    assert_eq!(answer.head.headers["seen"].to_str().unwrap(), r#"POST http://app.test/a?b=c ["te"]"#);
}

#[tokio::test]
async fn bodies_and_trailers_go_both_ways() {
    let (world, backend) = (World::new(), Http2Backend::start(Options::plain(mirror)).await);
    let program = world.program(plain(Protocol::Http2), &[backend.address]);
    let mut up = world.connect(&program).await.unwrap();
    up.write_head(request("POST", "/"), false).await.unwrap();
    up.write_body(chunk("hello ")).await.unwrap();
    up.write_body(chunk("")).await.unwrap();
    up.write_body(chunk("world")).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", "7".parse().unwrap());
    up.finish(Some(trailers)).await.unwrap();
    let (_, body) = answer(&mut up).await.unwrap();
    assert_eq!(body, b"hello world");
    let trailers = up.read_trailers().await.unwrap().unwrap();
    assert_eq!((&trailers["checksum"], &trailers["grpc-status"]), (&"7".parse().unwrap(), &"0".parse().unwrap()));
}

#[tokio::test]
async fn a_body_larger_than_every_window_goes_both_ways_at_once() {
    let (world, backend) = (World::new(), Http2Backend::start(Options::plain(mirror)).await);
    let program = world.program(plain(Protocol::Http2), &[backend.address]);
    let mut up = world.connect(&program).await.unwrap();
    up.write_head(request("POST", "/"), false).await.unwrap();
    let (piece, pieces, mut written, mut read) = (Bytes::from(vec![b'x'; 64 * 1024]), 128, 0, 0);
    up.read_head().await.unwrap();
    loop {
        if written < pieces && up.pending_bytes() <= crate::upstream::WRITE_BEHIND_HIGH {
            up.write_body(piece.clone()).await.unwrap();
            written += 1;
            if written == pieces {
                up.finish(None).await.unwrap();
            }
            continue;
        }
        let drained = up.drained();
        tokio::select! {
            biased;
            body = up.read_body() => match body.unwrap() {
                Some(body) => read += body.len(),
                None => break,
            },
            () = drained, if written < pieces => {}
        }
    }
    assert_eq!(read, piece.len() * pieces);
}

#[tokio::test]
async fn a_burst_shares_one_connection() {
    let (world, backend) = (World::new(), Http2Backend::start(Options::plain(numbered)).await);
    let program = world.program(plain(Protocol::Http2), &[backend.address]);
    let answers = join_all((0..50).map(|_| world.get(&program))).await;
    assert!(answers.iter().all(|answer| answer.head.status.as_u16() == 200));
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn more_streams_than_a_connection_takes_open_another() {
    let options = Options { max_streams: 4, ..Options::plain(numbered) };
    let (world, backend) = (World::new(), Http2Backend::start(options).await);
    let program = world.program(plain(Protocol::Http2), &[backend.address]);
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(world.connect(&program).await.unwrap());
    }
    // What a backend has not said yet is not guessed: each new connection is shared once its limit is known.
    assert_eq!(backend.connections(), 3);
}

#[tokio::test]
async fn a_backend_that_says_goaway_finishes_its_streams_and_gets_no_more() {
    let options = Options { goaway_after: 2, ..Options::plain(numbered) };
    let (world, backend) = (World::new(), Http2Backend::start(options).await);
    let program = world.program(plain(Protocol::Http2), &[backend.address]);
    let mut texts = Vec::new();
    while texts.len() < 6 {
        let up = world.connect(&program).await.unwrap();
        match exchange(up, get("/")).await {
            Ok(answer) => texts.push(answer.text().to_owned()),
            // Sent while the GOAWAY was on its way: never processed, so it may go again.
            Err(error) => assert!(error.provably_unsent(), "{error:?}"),
        }
    }
    assert_eq!(texts, ["0", "1", "0", "1", "0", "1"]);
    assert_eq!(backend.connections(), 3);
}

#[tokio::test]
async fn a_refused_stream_was_provably_not_processed() {
    let (world, backend) = (World::new(), Http2Backend::start(Options::plain(refuse_first)).await);
    let program = world.program(plain(Protocol::Http2), &[backend.address]);
    let error = exchange(world.connect(&program).await.unwrap(), get("/")).await.unwrap_err();
    assert!(error.provably_unsent() && error.before_response());
    assert_eq!(world.get(&program).await.text(), "1");
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_stream_reset_in_its_body_is_truncated_and_never_an_end() {
    let (world, backend) = (World::new(), Http2Backend::start(Options::plain(stop_short)).await);
    let program = world.program(plain(Protocol::Http2), &[backend.address]);
    let mut up = world.connect(&program).await.unwrap();
    up.write_head(get("/"), true).await.unwrap();
    let error = match up.read_head().await {
        Err(error) => error,
        Ok(_) => loop {
            match up.read_body().await {
                Ok(body) => assert!(body.is_some(), "a truncated body ended"),
                Err(error) => break error,
            }
        },
    };
    assert!(!up.is_body_done());
    assert!(matches!(error.kind(), UpstreamErrorKind::Truncated | UpstreamErrorKind::Reset), "{error:?}");
}

#[tokio::test]
async fn what_is_not_http_2_is_no_answer() {
    let script = &[Do::AnswerAfter { seen: "SM\r\n\r\n", with: "HTTP/1.1 400 Bad Request\r\n\r\n" }];
    let (world, backend) = (World::new(), RawBackend::start(script).await);
    let program = world.program(plain(Protocol::Http2), &[backend.address]);
    let error = exchange(world.connect(&program).await.unwrap(), get("/")).await.unwrap_err();
    assert!(error.before_response());
    assert!(matches!(error.kind(), UpstreamErrorKind::Malformed | UpstreamErrorKind::Reset), "{error:?}");
    // Nobody else is sent there, and the endpoint is blamed.
    while program.endpoints().iter().any(|endpoint| endpoint.failures() == 0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let limits =
        crate::settings::HttpLimits { upstream_idle_timeout: std::time::Duration::from_secs(2), ..Default::default() };
    let (world, backend) = (World::with(&limits), Http2Backend::start(Options::plain(numbered)).await);
    let program = world.program(plain(Protocol::Http2), &[backend.address]);
    world.get(&program).await;
    assert!(world.upstreams.sweep());
    assert!(world.get(&program).await.reused);
    while world.upstreams.sweep() {}
    // The connection's task ends once it sees that nobody holds it.
    while world.upstreams.counts().1 > 0 {
        tokio::task::yield_now().await;
    }
    assert!(!world.get(&program).await.reused);
}
