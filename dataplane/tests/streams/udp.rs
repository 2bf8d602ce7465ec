use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use portcullis_dataplane::{Settings, StreamLimits};
use portcullis_ir::{ResourceKey, Transport};
use portcullis_wire::RejectionCode;

use super::backends::{ask, connect, echo, is_answered, name, udp_client, udp_echo};
use super::plane::{Plane, free_port, loopback};
use super::world::{
    backend, backend_key, endpoints, listener_key, removed, settings, tcp, tcp_route, udp, udp_backend, udp_route,
};

const LABELS: &str = r#"route_kind="UDPRoute",route_namespace="ns",route="r",rule="0""#;

fn open_sessions(count: u32) -> String {
    format!("stream_connections{{{LABELS}}} {count}\n")
}

fn dropped(reason: &str, count: u32) -> String {
    format!("stream_datagrams_dropped_total{{{LABELS},reason=\"{reason}\"}} {count}\n")
}

#[tokio::test]
async fn datagrams_go_to_one_backend_per_client_and_answers_come_back() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (b, c) = (udp_echo("b").await, udp_echo("c").await);
    plane.put([udp("dns", port), udp_route("r", "dns", &[("b", 1), ("c", 1)])]).await;
    plane.put(udp_backend("b", &[b]).into_iter().chain(udp_backend("c", &[c]))).await;
    let client = udp_client(port).await;
    let first = ask(&client, "0").await;
    let backend = &first[..1];
    for text in ["", "two", &"x".repeat(60_000)] {
        assert_eq!(ask(&client, text).await, format!("{backend}:{text}"));
    }
    // Several at once from a client that is new: none is lost while its session is made.
    let client = udp_client(port).await;
    for _ in 0..10 {
        client.send(b"x").await.unwrap();
    }
    let mut buffer = [0; 8];
    for _ in 0..10 {
        tokio::time::timeout(super::plane::PATIENCE, client.recv(&mut buffer)).await.unwrap().unwrap();
    }
    plane.page_comes_to_contain("/metrics", &format!("stream_datagrams_in_total{{{LABELS}}} 14\n")).await;
    plane.page_comes_to_contain("/metrics", &format!("stream_datagrams_out_total{{{LABELS}}} 14\n")).await;
    plane.page_comes_to_contain("/metrics", &format!("stream_bytes_in_total{{{LABELS}}} 60014\n")).await;
    plane.stop().await;
}

#[tokio::test]
async fn new_clients_are_shared_out_by_weight_and_an_invalid_backend_is_silence() {
    let port = free_port();
    let mut plane = Plane::start(Settings { workers: 1, ..settings() }).await;
    let (b, c) = (udp_echo("b").await, udp_echo("c").await);
    plane.put([udp("dns", port), udp_route("r", "dns", &[("b", 7), ("c", 2), ("", 1)])]).await;
    plane.put(udp_backend("b", &[b]).into_iter().chain(udp_backend("c", &[c]))).await;
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    let mut silent = None;
    for _ in 0..20 {
        let client = udp_client(port).await;
        client.send(b"x").await.unwrap();
        let mut buffer = [0; 8];
        let answered = tokio::time::timeout(Duration::from_millis(400), client.recv(&mut buffer)).await;
        let who = if answered.is_ok() { char::from(buffer[0]).to_string() } else { "silence".to_owned() };
        if answered.is_err() {
            silent = Some(client);
        }
        *taken.entry(who).or_default() += 1;
    }
    let expected = [("b", 14), ("c", 4), ("silence", 2)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(taken, BTreeMap::from(expected));
    plane.page_comes_to_contain("/metrics", &dropped("invalid", 2)).await;

    plane.put([udp_route("r", "dns", &[("c", 1)])]).await;
    assert_eq!(ask(&silent.unwrap(), "again").await, "c:again", "a configuration that heals is not waited for");
    plane.stop().await;
}

#[tokio::test]
async fn a_session_ends_when_it_is_silent_and_its_place_is_given_to_another() {
    let port = free_port();
    let streams =
        StreamLimits { udp_idle_timeout: Duration::from_millis(300), max_udp_sessions: 2, ..StreamLimits::default() };
    let mut plane = Plane::start(Settings { streams, ..settings() }).await;
    plane.put([udp("dns", port), udp_route("r", "dns", &[("b", 1)])]).await;
    plane.put(udp_backend("b", &[udp_echo("b").await])).await;
    let (first, second, third) = (udp_client(port).await, udp_client(port).await, udp_client(port).await);
    assert_eq!((ask(&first, "1").await, ask(&second, "2").await), ("b:1".to_owned(), "b:2".to_owned()));
    third.send(b"3").await.unwrap();
    plane.page_comes_to_contain("/metrics", &dropped("full", 1)).await;
    plane.page_comes_to_contain("/metrics", &open_sessions(0)).await;
    assert_eq!(ask(&third, "3").await, "b:3");
    plane.stop().await;
}

#[tokio::test]
async fn a_session_leaves_an_endpoint_that_is_gone_and_a_backend_that_is_not_named_any_more() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (b, c, d) = (udp_echo("b").await, udp_echo("c").await, udp_echo("d").await);
    plane.put([udp("dns", port), udp_route("r", "dns", &[("b", 1)])]).await;
    plane.put(udp_backend("b", &[b]).into_iter().chain(udp_backend("d", &[d]))).await;
    let client = udp_client(port).await;
    assert_eq!(ask(&client, "1").await, "b:1");
    plane.put([endpoints(backend_key("b", Transport::Udp), &[c])]).await;
    assert_eq!(ask(&client, "2").await, "c:2");
    plane.put([udp_route("r", "dns", &[("d", 1)])]).await;
    assert_eq!(ask(&client, "3").await, "d:3");
    plane.put([udp_route("r", "dns", &[("d", 5)]), udp_route("other", "dns", &[("b", 1)])]).await;
    // By rank the rule `other` goes first now; the session's rule does not have the listener any more.
    assert_eq!(ask(&client, "4").await, "c:4");
    plane.stop().await;
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_left_at_the_next_datagram() {
    let port = free_port();
    let mut plane = Plane::start(Settings { workers: 1, ..settings() }).await;
    let nobody = UdpSocket::bind(loopback(0)).unwrap().local_addr().unwrap();
    plane.put([udp("dns", port), udp_route("r", "dns", &[("b", 1)])]).await;
    plane.put(udp_backend("b", &[nobody, udp_echo("b").await])).await;
    for number in 0..6 {
        let client = udp_client(port).await;
        let text = number.to_string();
        let mut asked = 1;
        while !is_answered(&client, &text).await {
            asked += 1;
            assert!(asked < 5, "the session stays with an endpoint that is not there");
        }
    }
    plane.stop().await;
}

#[tokio::test]
async fn without_a_route_or_an_endpoint_there_is_silence() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    plane.put([udp("dns", port)]).await;
    let client = udp_client(port).await;
    client.send(b"x").await.unwrap();
    let unmatched = r#"stream_datagrams_dropped_total{route_kind="",route_namespace="",route="",rule="unmatched",reason="no_route"} 1"#;
    plane.page_comes_to_contain("/metrics", unmatched).await;
    plane.put([udp_route("r", "dns", &[("b", 1)])]).await;
    plane.put(udp_backend("b", &[])).await;
    client.send(b"x").await.unwrap();
    plane.page_comes_to_contain("/metrics", &dropped("no_endpoints", 1)).await;
    plane.put([endpoints(backend_key("b", Transport::Udp), &[udp_echo("b").await])]).await;
    assert_eq!(ask(&client, "now").await, "b:now");
    plane.stop().await;
}

#[tokio::test]
async fn tcp_and_udp_listeners_of_one_number_are_served_side_by_side() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let parts = [tcp("t", port), udp("u", port), tcp_route("t", "t", &[("b", 1)]), udp_route("u", "u", &[("b", 1)])];
    let verdict = plane.put(parts).await;
    assert!(verdict.rejected.is_empty(), "{verdict:?}");
    plane.put(backend("b", &[echo("tcp").await]).into_iter().chain(udp_backend("b", &[udp_echo("udp").await]))).await;
    assert_eq!(plane.handle.bound(), [loopback(port), loopback(port)]);
    assert_eq!(name(&mut connect(port).await).await, "tcp");
    let client = udp_client(port).await;
    assert_eq!(ask(&client, "x").await, "udp:x");
    plane.remove(removed("t")).await;
    assert_eq!(ask(&client, "y").await, "udp:y", "the other port is another port");
    plane.stop().await;
}

#[tokio::test]
async fn a_udp_port_that_somebody_has_is_reported_and_taken_when_it_is_free() {
    let other = UdpSocket::bind(loopback(0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let mut plane = Plane::start(settings()).await;
    let verdict = plane.put([udp("dns", port), udp_route("r", "dns", &[("b", 1)])]).await;
    let [rejection] = &verdict.rejected[..] else { panic!("{verdict:?}") };
    assert_eq!(rejection.key, Some(ResourceKey::Listener(listener_key("dns"))));
    assert_eq!(rejection.code, RejectionCode::Unbindable);
    drop(other);
    assert!(plane.answer().await.rejected.is_empty());
    plane.put(udp_backend("b", &[udp_echo("b").await])).await;
    assert_eq!(ask(&udp_client(port).await, "x").await, "b:x");
    plane.stop().await;
}

#[tokio::test]
async fn sessions_outlive_their_listener_for_a_while_unless_it_comes_back() {
    let port = free_port();
    let mut plane = Plane::start(Settings { drain_deadline: Duration::from_secs(1), ..settings() }).await;
    plane.put([udp("dns", port), udp_route("r", "dns", &[("b", 1)])]).await;
    plane.put(udp_backend("b", &[udp_echo("b").await])).await;
    let (client, late) = (udp_client(port).await, udp_client(port).await);
    assert_eq!(ask(&client, "1").await, "b:1");
    plane.remove(removed("dns")).await;
    assert_eq!(ask(&client, "2").await, "b:2");
    // No place says that the port is not what it was; there is just no new session.
    late.send(b"x").await.unwrap();
    let again = plane.put([udp("dns", port)]).await;
    assert!(again.rejected.is_empty(), "the old sockets make way: {again:?}");
    assert_eq!(ask(&client, "3").await, "b:3");
    assert_eq!(ask(&udp_client(port).await, "4").await, "b:4");

    let begun = Instant::now();
    plane.remove(removed("dns")).await;
    let mut talks = true;
    while talks {
        assert!(begun.elapsed() < super::plane::PATIENCE, "the session never ends");
        // A port without a socket says so.
        talks = client.send(b"x").await.is_ok() && is_answered_quietly(&client).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
    plane.stop().await;
}

async fn is_answered_quietly(client: &tokio::net::UdpSocket) -> bool {
    let mut buffer = [0; 64];
    matches!(tokio::time::timeout(Duration::from_millis(300), client.recv(&mut buffer)).await, Ok(Ok(_)))
}

#[tokio::test]
async fn a_drain_of_the_process_does_not_wait_for_sessions_that_have_said_all() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    plane.put([udp("dns", port), udp_route("r", "dns", &[("b", 1)])]).await;
    plane.put(udp_backend("b", &[udp_echo("b").await])).await;
    assert_eq!(ask(&udp_client(port).await, "1").await, "b:1");
    let begun = Instant::now();
    assert_eq!(plane.stop().await.aborted_connections, 0);
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
}
