//! What is written is held for a moment, bounded, and never waits for long.

use bytes::Bytes;
use futures::FutureExt;
use portcullis_ir::Protocol;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::support::{World, chunk, plain, request};
use crate::upstream::Upstream;

const HELD: usize = 256 * 1024;

async fn begin(world: &World, length: usize) -> (Upstream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = world.program(plain(Protocol::Http), &[listener.local_addr().unwrap()]);
    let (up, accepted) = tokio::join!(world.connect(&program), listener.accept());
    let mut up = up.unwrap();
    let mut head = request("POST", "/");
    head.insert_header("content-length", length.to_string()).unwrap();
    up.write_head(head, false).await.unwrap();
    (up, accepted.unwrap().0)
}

#[tokio::test]
async fn a_head_and_the_first_piece_of_body_leave_in_one_write() {
    let world = World::new();
    let (mut up, mut backend) = begin(&world, 5).await;
    up.write_body(chunk("hello")).await.unwrap();
    up.finish(None).await.unwrap();
    let held = up.pending_bytes();
    assert!(held > 5);
    // Awaiting the answer is what lets it go.
    assert!(up.read_head().now_or_never().is_none());
    assert_eq!(up.pending_bytes(), 0);
    let mut first = vec![0; 4096];
    let count = backend.read(&mut first).await.unwrap();
    assert_eq!(count, held);
    assert!(first[..count].ends_with(b"\r\n\r\nhello"));
}

#[tokio::test]
async fn held_bytes_are_bounded_and_writing_waits_beyond_the_bound() {
    let world = World::new();
    let (mut up, mut backend) = begin(&world, 1 << 30).await;
    let piece = Bytes::from(vec![b'x'; 1024]);
    // The backend does not read: its socket fills, then ours, then what is held.
    while up.write_body(piece.clone()).now_or_never().is_some() {
        assert!(up.pending_bytes() <= HELD);
    }
    assert_eq!(up.pending_bytes(), HELD);
    assert!(up.drained().now_or_never().is_none());
    let reading = tokio::spawn(async move {
        let mut buf = vec![0; 64 * 1024];
        while matches!(backend.read(&mut buf).await, Ok(count) if count > 0) {}
    });
    let drained = up.drained();
    let head = up.read_head();
    tokio::select! {
        _ = head => panic!("nobody answered"),
        () = drained => {}
    }
    assert!(up.pending_bytes() <= HELD / 8);
    up.flush().await;
    assert_eq!(up.pending_bytes(), 0);
    drop(up);
    reading.await.unwrap();
}

#[tokio::test]
async fn a_request_of_which_no_byte_left_was_provably_not_sent() {
    let world = World::new();
    let (mut up, backend) = begin(&world, 5).await;
    // Reset before anything was written.
    socket2::SockRef::from(&backend).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(backend);
    let error = up.read_head().await.unwrap_err();
    assert!(error.provably_unsent() && error.before_response(), "{error:?}");
}
