//! What becomes of connections when their listener goes.

use std::time::{Duration, Instant};

use portcullis_dataplane::Settings;
use tokio::net::TcpStream;

use super::backends::{Pair, connect, echo, exchange, name, rest, tls, tls_echo, trusting};
use super::plane::{Plane, free_port, loopback};
use super::world::{backend, passthrough, removed, settings, tcp, tcp_route, tls_route};

const DEADLINE: Duration = Duration::from_millis(700);

fn hasty() -> Settings {
    Settings { drain_deadline: DEADLINE, ..settings() }
}

#[tokio::test]
async fn a_listener_that_is_removed_closes_its_port_at_once_and_its_connections_in_time() {
    let port = free_port();
    let mut plane = Plane::start(hasty()).await;
    plane.put([tcp("db", port), tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[echo("b").await])).await;
    let mut open = connect(port).await;
    assert_eq!(name(&mut open).await, "b");
    let begun = Instant::now();
    plane.remove(removed("db")).await;
    assert!(TcpStream::connect(loopback(port)).await.is_err());
    exchange(&mut open, "not yet").await;
    assert_eq!(rest(&mut open).await, (Vec::new(), true));
    assert!(begun.elapsed() >= DEADLINE);
    plane.page_comes_to_contain("/metrics", "downstream_connections_aborted_total 1\n").await;
    plane.stop().await;
}

#[tokio::test]
async fn one_listener_of_a_shared_port_drains_and_the_others_do_not() {
    let port = free_port();
    let mut plane = Plane::start(hasty()).await;
    let (a, b) = (Pair::new("a.example"), Pair::new("b.example"));
    plane
        .put([
            passthrough("a", port, "a.example"),
            passthrough("b", port, "b.example"),
            tls_route("a", "a", "a.example", "a"),
            tls_route("b", "b", "b.example", "b"),
        ])
        .await;
    let backends = backend("a", &[tls_echo("a", &a).await]).into_iter().chain(backend("b", &[tls_echo("b", &b).await]));
    plane.put(backends).await;
    let mut going = tls(port, "a.example", &trusting(&a.der)).await.unwrap();
    let mut staying = tls(port, "b.example", &trusting(&b.der)).await.unwrap();
    assert_eq!((name(&mut going).await, name(&mut staying).await), ("a".to_owned(), "b".to_owned()));
    plane.remove(removed("a")).await;
    exchange(&mut going, "not yet").await;
    assert_eq!(rest(&mut going).await, (Vec::new(), true));
    exchange(&mut staying, "still here").await;
    plane.page_comes_to_contain("/metrics", "downstream_connections_aborted_total 1\n").await;
    drop(staying);
    plane.stop().await;
}

#[tokio::test]
async fn a_drain_of_the_process_waits_for_connections_up_to_its_deadline() {
    let port = free_port();
    let mut plane = Plane::start(hasty()).await;
    plane.put([tcp("db", port), tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[echo("b").await])).await;
    let (mut ends, mut stays) = (connect(port).await, connect(port).await);
    assert_eq!((name(&mut ends).await, name(&mut stays).await), ("b".to_owned(), "b".to_owned()));
    plane.handle.drain();
    exchange(&mut ends, "last words").await;
    drop(ends);
    let report = tokio::time::timeout(super::plane::PATIENCE, plane.handle.wait()).await.unwrap();
    assert_eq!(report.aborted_connections, 1);
    assert_eq!(rest(&mut stays).await, (Vec::new(), true));
}
