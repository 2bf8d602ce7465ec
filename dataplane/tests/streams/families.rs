//! IPv4 and IPv6 side by side: clients of either reach backends of either, with nothing said about it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portcullis_dataplane::Settings;
use portcullis_ir as ir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use super::backends::{ask, echo_at, exchange, name, rest, udp_echo_at};
use super::plane::{Plane, free_port};
use super::world::{backend, open, redirect, settings, tcp, tcp_route, udp, udp_backend, udp_route};

const FOUR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn dual_stack() -> Settings {
    Settings { bind_addresses: vec![FOUR, SIX], ..settings() }
}

#[tokio::test]
async fn connections_pass_between_clients_and_backends_of_either_family() {
    let ports = [free_port(), free_port()];
    let mut plane = Plane::start(dual_stack()).await;
    for ((port, family), of) in ports.iter().zip(["four", "six"]).zip([FOUR, SIX]) {
        plane.put([tcp(family, *port), tcp_route(family, family, &[(family, 1)])]).await;
        plane.put(backend(family, &[echo_at(SocketAddr::new(of, 0), family).await])).await;
    }
    for (port, family) in ports.into_iter().zip(["four", "six"]) {
        for from in [FOUR, SIX] {
            let mut client = TcpStream::connect((from, port)).await.unwrap();
            assert_eq!(name(&mut client).await, family, "{from}");
            exchange(&mut client, "hello").await;
        }
    }
    plane.stop().await;
}

/// A dual-stack Service has slices of both families: all of them are its endpoints.
#[tokio::test]
async fn endpoints_of_both_families_share_the_connections_of_one_backend() {
    let port = free_port();
    let mut plane = Plane::start(Settings { workers: 1, ..dual_stack() }).await;
    let addresses = [echo_at(SocketAddr::new(FOUR, 0), "four").await, echo_at(SocketAddr::new(SIX, 0), "six").await];
    plane.put([tcp("l", port), tcp_route("r", "l", &[("b", 1)])]).await;
    plane.put(backend("b", &addresses)).await;
    let mut seen = BTreeSet::new();
    // Each is picked from the two at random: 64 that all take one are one in 2⁶³.
    for _ in 0..64 {
        let mut client = TcpStream::connect((SIX, port)).await.unwrap();
        seen.insert(name(&mut client).await);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["four", "six"]);
    plane.stop().await;
}

#[tokio::test]
async fn datagrams_pass_between_clients_and_backends_of_either_family() {
    let ports = [free_port(), free_port()];
    let mut plane = Plane::start(dual_stack()).await;
    for ((port, family), of) in ports.iter().zip(["four", "six"]).zip([FOUR, SIX]) {
        plane.put([udp(family, *port), udp_route(family, family, &[(family, 1)])]).await;
        plane.put(udp_backend(family, &[udp_echo_at(SocketAddr::new(of, 0), family).await])).await;
    }
    for (port, family) in ports.into_iter().zip(["four", "six"]) {
        for from in [FOUR, SIX] {
            let client = UdpSocket::bind((from, 0)).await.unwrap();
            client.connect((from, port)).await.unwrap();
            assert_eq!(ask(&client, "hello").await, format!("{family}:hello"), "{from}");
        }
    }
    plane.stop().await;
}

#[tokio::test]
async fn requests_are_answered_over_either_family() {
    let port = free_port();
    let mut plane = Plane::start(dual_stack()).await;
    plane.put([open("web", port, "", ir::ListenerProtocol::Http), redirect("r", "web", "there.example")]).await;
    for from in [FOUR, SIX] {
        let mut client = TcpStream::connect((from, port)).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n").await.unwrap();
        let (answer, _) = rest(&mut client).await;
        assert!(answer.starts_with(b"HTTP/1.1 302 "), "{from}: {}", String::from_utf8_lossy(&answer));
    }
    plane.stop().await;
}
