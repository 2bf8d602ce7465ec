//! One exchange on HTTP/1.1, byte by byte.

use super::support::raw_backend::{Do, RawBackend};
use super::support::{World, answer, chunk, exchange, final_head, get, plain, request};
use crate::upstream::UpstreamErrorKind;
use crate::upstream::stream::HEAD_BUDGET;

use portcullis_ir::Protocol;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

async fn fails(script: &'static [Do]) -> crate::upstream::UpstreamError {
    let (world, backend) = (World::new(), RawBackend::start(script).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let up = world.connect(&program).await.unwrap();
    exchange(up, get("/")).await.unwrap_err()
}

#[tokio::test]
async fn a_request_without_a_body_leaves_as_its_head_alone() {
    let (world, backend) = (World::new(), RawBackend::start(&[Do::Answer(OK)]).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let answer = world.get(&program).await;
    assert_eq!((answer.head.status.as_u16(), answer.text(), answer.http2), (200, "hi", false));
    assert_eq!(backend.seen(), "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
}

#[tokio::test]
async fn an_empty_piece_of_a_chunked_body_is_not_its_last_chunk() {
    let (world, backend) =
        (World::new(), RawBackend::start(&[Do::AnswerAfter { seen: "0\r\n\r\n", with: OK }, Do::Answer(OK)]).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let mut up = world.connect(&program).await.unwrap();
    let mut head = request("POST", "/");
    head.insert_header("transfer-encoding", "chunked").unwrap();
    up.write_head(head, false).await.unwrap();
    for piece in ["", "abc", "", "de", ""] {
        up.write_body(chunk(piece)).await.unwrap();
    }
    up.finish(None).await.unwrap();
    up.finish(None).await.unwrap();
    answer(&mut up).await.unwrap();
    up.release(true);
    let second = world.get(&program).await;
    assert!(second.reused);
    let body = "\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let expected = format!(
        "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked{body}GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
    );
    assert_eq!(backend.seen(), expected);
}

#[tokio::test]
async fn a_body_beyond_its_content_length_is_refused_and_never_sent() {
    let (world, backend) = (World::new(), RawBackend::start(&[Do::Answer(OK)]).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let mut up = world.connect(&program).await.unwrap();
    let mut head = request("POST", "/");
    head.insert_header("content-length", "3").unwrap();
    up.write_head(head, false).await.unwrap();
    let error = up.write_body(chunk("abcd")).await.unwrap_err();
    assert_eq!(error.kind(), UpstreamErrorKind::InvalidRequest);
}

#[tokio::test]
async fn informational_heads_come_before_the_final_one() {
    let script =
        &[Do::Answer("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 Fine\r\ncontent-length: 0\r\n\r\n")];
    let (world, backend) = (World::new(), RawBackend::start(script).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let mut up = world.connect(&program).await.unwrap();
    up.write_head(get("/"), true).await.unwrap();
    let hints = up.read_head().await.unwrap();
    assert_eq!((hints.status.as_u16(), hints.headers["link"].to_str().unwrap()), (103, "</a>"));
    let head = up.read_head().await.unwrap();
    assert_eq!((head.status.as_u16(), head.get_reason_phrase()), (200, Some("Fine")));
    assert!(up.is_body_done());
}

#[tokio::test]
async fn an_early_answer_is_read_although_the_backend_closed_on_the_body() {
    let script = &[Do::AnswerAndClose("HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n")];
    let (world, backend) = (World::new(), RawBackend::start(script).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let mut up = world.connect(&program).await.unwrap();
    let mut head = request("POST", "/");
    head.insert_header("transfer-encoding", "chunked").unwrap();
    up.write_head(head, false).await.unwrap();
    let head = final_head(&mut up).await.unwrap();
    // Written into a closed connection: not an error of its own.
    for _ in 0..64 {
        up.write_body(bytes::Bytes::from(vec![b'x'; 32 * 1024])).await.unwrap();
        up.flush().await;
    }
    assert_eq!(head.status.as_u16(), 413);
    up.release(true);
    assert_eq!(world.upstreams.counts(), (0, 0));
}

#[tokio::test]
async fn a_backend_that_closes_without_an_answer_is_a_reset() {
    let error = fails(&[Do::Close]).await;
    assert_eq!(error.kind(), UpstreamErrorKind::Reset);
    assert!(error.before_response() && !error.provably_unsent());
}

#[tokio::test]
async fn a_head_that_stops_short_is_truncated() {
    let error = fails(&[Do::AnswerAndClose("HTTP/1.1 200 OK\r\ncontent-le")]).await;
    assert_eq!(error.kind(), UpstreamErrorKind::Truncated);
    assert!(!error.before_response());
}

#[tokio::test]
async fn a_sized_body_that_stops_short_is_truncated() {
    assert_eq!(
        fails(&[Do::AnswerAndClose("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi")]).await.kind(),
        UpstreamErrorKind::Truncated
    );
}

#[tokio::test]
async fn a_chunked_body_that_stops_short_is_truncated() {
    let script = &[Do::AnswerAndClose("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")];
    assert_eq!(fails(script).await.kind(), UpstreamErrorKind::Truncated);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_malformed() {
    assert_eq!(fails(&[Do::Answer("SSH-2.0-OpenSSH_9.2\r\n\r\n")]).await.kind(), UpstreamErrorKind::Malformed);
}

#[tokio::test]
async fn conflicting_content_lengths_are_malformed() {
    let script = &[Do::Answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi!")];
    assert_eq!(fails(script).await.kind(), UpstreamErrorKind::Malformed);
}

#[tokio::test]
async fn a_bad_chunk_size_is_malformed() {
    let script = &[Do::Answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nhi\r\n0\r\n\r\n")];
    assert_eq!(fails(script).await.kind(), UpstreamErrorKind::Malformed);
}

#[tokio::test]
async fn a_head_beyond_the_budget_is_too_large() {
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "y".repeat(HEAD_BUDGET));
    // Leaked on purpose: scripts are static.
    let script: &'static [Do] = vec![Do::Answer(head.leak())].leak();
    assert_eq!(fails(script).await.kind(), UpstreamErrorKind::TooLarge);
}

#[tokio::test]
async fn a_body_is_not_held_to_the_budget_of_the_head() {
    let size = HEAD_BUDGET * 4;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n{}", "y".repeat(size));
    let script: &'static [Do] = vec![Do::Answer(answer.leak())].leak();
    let (world, backend) = (World::new(), RawBackend::start(script).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    assert_eq!(world.get(&program).await.body.len(), size);
}

#[tokio::test]
async fn both_directions_run_at_once() {
    // The backend answers what it was sent while it is still being sent more than sockets and we would hold.
    let (world, backend) = (
        World::new(),
        RawBackend::start(&[Do::AnswerAfter { seen: "\r\n\r\n", with: "HTTP/1.1 200 OK\r\n\r\n" }, Do::Echo]).await,
    );
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let mut up = world.connect(&program).await.unwrap();
    let (piece, pieces) = (vec![b'z'; 64 * 1024], 512);
    let mut head = request("POST", "/");
    head.insert_header("content-length", (piece.len() * pieces).to_string()).unwrap();
    up.write_head(head, false).await.unwrap();
    final_head(&mut up).await.unwrap();
    let (mut written, mut read) = (0, 0);
    while read < piece.len() * pieces {
        if written < pieces && up.pending_bytes() <= crate::upstream::WRITE_BEHIND_HIGH {
            up.write_body(bytes::Bytes::copy_from_slice(&piece)).await.unwrap();
            written += 1;
            continue;
        }
        let drained = up.drained();
        tokio::select! {
            biased;
            body = up.read_body() => read += body.unwrap().unwrap().len(),
            () = drained, if written < pieces => {}
        }
    }
    assert_eq!(written, pieces);
}
