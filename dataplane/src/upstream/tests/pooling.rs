//! Which connections are used again, and which never.

use std::time::Duration;

use portcullis_ir::Protocol;

use super::support::raw_backend::{Do, RawBackend};
use super::support::{World, answer, get, plain};
use crate::settings::HttpLimits;
use crate::upstream::Want;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const FOREVER: &[Do] = &[Do::Answer(OK), Do::Answer(OK), Do::Answer(OK), Do::Answer(OK)];

/// How many connections three requests in a row take.
async fn connections_for_three(script: &'static [Do]) -> usize {
    let (world, backend) = (World::new(), RawBackend::start(script).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    for _ in 0..3 {
        world.get(&program).await;
    }
    backend.connections()
}

#[tokio::test]
async fn a_clean_exchange_leaves_its_connection_for_the_next() {
    assert_eq!(connections_for_three(FOREVER).await, 1);
}

#[tokio::test]
async fn a_backend_that_says_close_is_believed() {
    assert_eq!(
        connections_for_three(&[Do::Answer("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")]).await,
        3
    );
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_leaves_none() {
    assert_eq!(connections_for_three(&[Do::AnswerAndClose("HTTP/1.1 200 OK\r\n\r\nhi")]).await, 3);
}

#[tokio::test]
async fn http_1_0_is_kept_only_if_it_says_so() {
    assert_eq!(connections_for_three(&[Do::Answer("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n")]).await, 3);
}

#[tokio::test]
async fn surplus_bytes_end_a_connection() {
    assert_eq!(
        connections_for_three(&[Do::Answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n")])
            .await,
        3
    );
}

#[tokio::test]
async fn a_promise_too_short_to_use_is_not_used() {
    assert_eq!(
        connections_for_three(&[Do::Answer("HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n")])
            .await,
        3
    );
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_while_idle_is_not_used() {
    let (world, backend) = (World::new(), RawBackend::start(&[Do::AnswerAndClose(OK)]).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let mut up = world.connect(&program).await.unwrap();
    up.write_head(get("/"), true).await.unwrap();
    answer(&mut up).await.unwrap();
    // It has been closed by now or is about to be: wait until the close is here, as the pool's sweep would find it.
    up.release(true);
    while world.upstreams.counts().0 > 0 {
        tokio::task::yield_now().await;
        world.upstreams.sweep();
    }
    let answer = world.get(&program).await;
    assert!(!answer.reused);
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn the_connection_given_back_last_is_used_first_and_each_only_once() {
    let (world, backend) = (World::new(), RawBackend::start(FOREVER).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let mut both = Vec::new();
    for _ in 0..2 {
        let mut up = world.connect(&program).await.unwrap();
        up.write_head(get("/"), true).await.unwrap();
        answer(&mut up).await.unwrap();
        both.push(up);
    }
    both.into_iter().for_each(|up| up.release(true));
    assert_eq!(world.upstreams.counts(), (2, 2));
    let (first, second) = (world.connect(&program).await.unwrap(), world.connect(&program).await.unwrap());
    assert!(first.reused() && second.reused());
    assert!(!world.connect(&program).await.unwrap().reused());
}

#[tokio::test]
async fn a_fresh_connection_is_fresh() {
    let (world, backend) = (World::new(), RawBackend::start(FOREVER).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    world.get(&program).await;
    assert!(!world.connect_wanting(&program, Want::Fresh).await.unwrap().reused());
    assert!(world.connect(&program).await.unwrap().reused());
}

#[tokio::test]
async fn idle_connections_are_bounded_per_endpoint() {
    let limits = HttpLimits { max_idle_per_endpoint: 1, ..HttpLimits::default() };
    let (world, backend) = (World::with(&limits), RawBackend::start(FOREVER).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let mut both = Vec::new();
    for _ in 0..2 {
        let mut up = world.connect(&program).await.unwrap();
        up.write_head(get("/"), true).await.unwrap();
        answer(&mut up).await.unwrap();
        both.push(up);
    }
    both.into_iter().for_each(|up| up.release(true));
    assert_eq!(world.upstreams.counts(), (1, 1));
}

#[tokio::test]
async fn an_idle_connection_expires() {
    let limits = HttpLimits { upstream_idle_timeout: Duration::from_secs(3), ..HttpLimits::default() };
    let (world, backend) = (World::with(&limits), RawBackend::start(FOREVER).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    world.get(&program).await;
    assert!(world.upstreams.sweep() && world.upstreams.sweep());
    assert_eq!(world.upstreams.counts().0, 1);
    world.upstreams.sweep();
    assert_eq!(world.upstreams.counts(), (0, 0));
}

#[tokio::test]
async fn connections_of_an_endpoint_that_is_gone_are_dropped() {
    let (world, backend) = (World::new(), RawBackend::start(FOREVER).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let mut late = world.connect(&program).await.unwrap();
    world.get(&program).await;
    let _empty = world.recompile(plain(Protocol::Http), &[], Some(&program));
    world.upstreams.sweep();
    assert_eq!(world.upstreams.counts(), (0, 1));
    // One that was in use meanwhile finishes, and is not kept.
    late.write_head(get("/"), true).await.unwrap();
    answer(&mut late).await.unwrap();
    late.release(true);
    assert_eq!(world.upstreams.counts(), (0, 0));
}

#[tokio::test]
async fn a_recompiled_backend_keeps_its_connections() {
    let (world, backend) = (World::new(), RawBackend::start(FOREVER).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    world.get(&program).await;
    let again = world.recompile(plain(Protocol::Http), &[backend.address], Some(&program));
    assert!(world.get(&again).await.reused);
}

#[tokio::test]
async fn plain_http_1_and_http_2_are_kept_apart() {
    let world = World::new();
    let address = "127.0.0.1:9".parse().unwrap();
    let (http1, http2) =
        (world.program(plain(Protocol::Http), &[address]), world.program(plain(Protocol::Http2), &[address]));
    assert_ne!(http1.identity, http2.identity);
}
