//! Endpoints that refuse.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use portcullis_ir::Protocol;

use super::support::raw_backend::{Do, RawBackend};
use super::support::{World, plain};
use crate::upstream::{ConnectError, Want};

/// An address at which nothing listens.
fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_refused_connection_is_named_and_counted_against_the_endpoint() {
    let world = World::new();
    let program = world.program(plain(Protocol::Http), &[dead()]);
    assert_eq!(world.connect(&program).await.unwrap_err(), ConnectError::Refused);
    let endpoints = program.endpoints();
    assert_eq!(endpoints.iter().map(|endpoint| endpoint.failures()).collect::<Vec<_>>(), [1]);
    // The only one there is stays in use.
    assert_eq!(world.connect(&program).await.unwrap_err(), ConnectError::Refused);
}

#[tokio::test]
async fn a_dead_endpoint_among_living_ones_is_hardly_tried() {
    let ok = &[Do::AnswerAndClose("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")];
    let (world, first, second) = (World::new(), RawBackend::start(ok).await, RawBackend::start(ok).await);
    let program = world.program(plain(Protocol::Http), &[dead(), first.address, second.address]);
    let (begun, mut refused) = (Instant::now(), 0);
    for _ in 0..200 {
        let endpoint = world.upstreams.pick(&program, None).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        match world.upstreams.connect(&program, &endpoint, Want::Any, deadline).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, ConnectError::Refused);
                refused += 1;
            }
        }
    }
    // One per back-off: 50 ms, 100 ms, 200 ms, ... and then one a second.
    let allowed = 6 + begun.elapsed().as_secs();
    assert!((1..=allowed).contains(&refused), "{refused} of 200 went to the dead endpoint");
}

#[tokio::test]
async fn an_endpoint_that_answers_again_is_forgiven() {
    let ok = &[Do::Answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")];
    let (world, backend) = (World::new(), RawBackend::start(ok).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let endpoints = program.endpoints();
    let endpoint = endpoints.iter().next().unwrap();
    endpoint.connect_failed();
    endpoint.connect_failed();
    world.get(&program).await;
    assert_eq!((endpoint.failures(), endpoint.active()), (0, 0));
}

#[tokio::test]
async fn a_request_out_of_time_says_nothing_about_the_endpoint() {
    let world = World::new();
    // Bound but never accepted from, with TLS asked for: the handshake cannot end.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = super::support::authority::Authority::new();
    let backend = super::support::over_tls(Protocol::Http, authority.policy("app.test", &[]));
    let program = world.program(backend, &[silent.local_addr().unwrap()]);
    let endpoint = world.upstreams.pick(&program, None).unwrap();
    let connected = world.upstreams.connect(&program, &endpoint, Want::Any, Instant::now()).await;
    assert_eq!(connected.unwrap_err(), ConnectError::Timeout);
    assert_eq!(endpoint.failures(), 0);
}

#[tokio::test]
async fn the_connect_timeout_of_the_backend_counts_against_the_endpoint() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = super::support::authority::Authority::new();
    let mut backend = super::support::over_tls(Protocol::Http, authority.policy("app.test", &[]));
    backend.connect_timeout = Duration::from_millis(1);
    let program = world.program(backend, &[silent.local_addr().unwrap()]);
    assert_eq!(world.connect(&program).await.unwrap_err(), ConnectError::Timeout);
    assert_eq!(program.endpoints().iter().next().unwrap().failures(), 1);
}
