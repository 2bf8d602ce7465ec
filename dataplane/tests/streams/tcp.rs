use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_dataplane::{HttpLimits, Settings, StreamLimits};
use portcullis_ir as ir;
use portcullis_ir::{Resource, Transport};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::backends::{connect, echo, exchange, is_reset, name, nobody, rest};
use super::plane::{Plane, free_port, loopback};
use super::world::{backend, backend_key, broken_backend, endpoints, listener, settings, tcp, tcp_route};

fn total(outcome: &str, count: u64) -> String {
    let labels = format!(r#"route_kind="TCPRoute",route_namespace="ns",route="r",rule="0",outcome="{outcome}""#);
    format!("stream_connections_total{{{labels}}} {count}\n")
}

#[tokio::test]
async fn bytes_pass_both_ways_whoever_speaks_first_and_each_direction_ends_by_itself() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    plane.put([tcp("db", port), tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[echo("b").await])).await;

    let mut client = connect(port).await;
    assert_eq!(name(&mut client).await, "b", "the backend speaks first");
    exchange(&mut client, "hello").await;
    // Many buffers full, in one direction at a time as the echo gives them back.
    let much = "x".repeat(300_000);
    let (mut reading, mut writing) = client.split();
    let (_, (heard, reset)) = tokio::join!(
        async {
            writing.write_all(much.as_bytes()).await.unwrap();
            writing.shutdown().await.unwrap();
        },
        rest(&mut reading)
    );
    assert!(!reset && heard == much.as_bytes(), "all came, after the client had ended: {}", heard.len());
    plane.page_comes_to_contain("/metrics", &total("ok", 1)).await;
    plane
        .page_comes_to_contain(
            "/metrics",
            r#"stream_connections{route_kind="TCPRoute",route_namespace="ns",route="r",rule="0"} 0"#,
        )
        .await;
    plane
        .page_comes_to_contain(
            "/metrics",
            "stream_bytes_in_total{route_kind=\"TCPRoute\",route_namespace=\"ns\",route=\"r\",rule=\"0\"} 300005\n",
        )
        .await;
    plane
        .page_comes_to_contain(
            "/metrics",
            "stream_bytes_out_total{route_kind=\"TCPRoute\",route_namespace=\"ns\",route=\"r\",rule=\"0\"} 300007\n",
        )
        .await;
    plane.stop().await;
}

#[tokio::test]
async fn each_connection_goes_to_a_backend_by_weight_and_an_invalid_one_resets_its_share() {
    let port = free_port();
    let mut plane = Plane::start(Settings { workers: 1, ..settings() }).await;
    let (b, c) = (echo("b").await, echo("c").await);
    plane.put([tcp("db", port), tcp_route("r", "db", &[("b", 7), ("c", 2), ("", 1), ("d", 0)])]).await;
    plane.put(backend("b", &[b]).into_iter().chain(backend("c", &[c]))).await;
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..50 {
        let mut first = [0; 2];
        let heard = async { TcpStream::connect(loopback(port)).await?.read_exact(&mut first).await };
        let who = if heard.await.is_ok() { char::from(first[0]).to_string() } else { "reset".to_owned() };
        *taken.entry(who).or_default() += 1;
    }
    let expected = [("b", 35), ("c", 10), ("reset", 5)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(taken, BTreeMap::from(expected));
    plane.page_comes_to_contain("/metrics", &total("invalid", 5)).await;
    plane.stop().await;
}

#[tokio::test]
async fn what_leads_nowhere_is_reset_and_counted_by_its_cause() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    plane.put([tcp("db", port)]).await;
    assert!(is_reset(port).await, "no route");
    plane
        .page_comes_to_contain(
            "/metrics",
            r#"route_kind="",route_namespace="",route="",rule="unmatched",outcome="no_route"} 1"#,
        )
        .await;

    plane.put([tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[])).await;
    assert!(is_reset(port).await, "no endpoints");
    plane.page_comes_to_contain("/metrics", &total("no_endpoints", 1)).await;

    plane.put(backend("b", &[nobody().await])).await;
    assert!(is_reset(port).await, "nobody listens");
    plane.page_comes_to_contain("/metrics", &total("connect_failed", 1)).await;

    plane.put(broken_backend("b", &[echo("b").await])).await;
    assert!(is_reset(port).await, "nothing may be sent there");
    plane.page_comes_to_contain("/metrics", &total("invalid", 1)).await;
    plane.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over_for_another() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    plane.put([tcp("db", port), tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[nobody().await, echo("b").await])).await;
    for _ in 0..20 {
        assert_eq!(name(&mut connect(port).await).await, "b");
    }
    plane.stop().await;
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_reset_on_the_other_side() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let listener = TcpListener::bind(loopback(0)).await.unwrap();
    plane.put([tcp("db", port), tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[listener.local_addr().unwrap()])).await;
    let mut client = connect(port).await;
    let (upstream, _) = listener.accept().await.unwrap();
    socket2::SockRef::from(&upstream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(upstream);
    assert_eq!(rest(&mut client).await, (Vec::new(), true));
    plane.stop().await;
}

#[tokio::test]
async fn an_edit_of_route_or_endpoints_leaves_connections_alone_and_counts_for_new_ones() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (b, c) = (echo("b").await, echo("c").await);
    plane.put([tcp("db", port), tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[b]).into_iter().chain(backend("c", &[c]))).await;
    let mut old = connect(port).await;
    assert_eq!(name(&mut old).await, "b");
    plane.put([tcp_route("r", "db", &[("c", 1)])]).await;
    plane.put([endpoints(backend_key("b", Transport::Tcp), &[])]).await;
    assert_eq!(name(&mut connect(port).await).await, "c");
    exchange(&mut old, "still here").await;
    plane.stop().await;
}

#[tokio::test]
async fn a_connection_that_carries_nothing_is_cut_and_one_that_trickles_is_not() {
    let port = free_port();
    let streams = StreamLimits { idle_timeout: Duration::from_millis(400), ..StreamLimits::default() };
    let mut plane = Plane::start(Settings { streams, ..settings() }).await;
    plane.put([tcp("db", port), tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[echo("b").await])).await;
    let (mut silent, mut busy) = (connect(port).await, connect(port).await);
    assert_eq!((name(&mut silent).await, name(&mut busy).await), ("b".to_owned(), "b".to_owned()));
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        exchange(&mut busy, "x").await;
    }
    assert_eq!(rest(&mut silent).await, (Vec::new(), true));
    exchange(&mut busy, "y").await;
    plane.stop().await;
}

#[tokio::test]
async fn connections_count_against_the_limit_of_all() {
    let port = free_port();
    let limits = HttpLimits { max_connections: 1, ..HttpLimits::default() };
    let mut plane = Plane::start(Settings { limits, ..settings() }).await;
    plane.put([tcp("db", port), tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[echo("b").await])).await;
    let mut only = connect(port).await;
    assert_eq!(name(&mut only).await, "b");
    assert_eq!(rest(&mut connect(port).await).await.0, b"");
    plane.page_comes_to_contain("/metrics", r#"downstream_connections_refused_total{reason="limit"} 1"#).await;
    plane.stop().await;
}

#[tokio::test]
async fn a_proxy_header_is_taken_off_before_the_first_byte_is_handed_on() {
    let port = free_port();
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let mut plane = Plane::start(Settings { trusted_proxies, ..settings() }).await;
    let behind = ir::Listener { proxy_protocol: true, ..listener("db", port, "", ir::ListenerProtocol::Tcp) };
    plane.put([Resource::Listener(Arc::new(behind)), tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[echo("b").await])).await;
    let mut client = connect(port).await;
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend_from_slice(&[192, 0, 2, 7, 127, 0, 0, 1, 0x30, 0x39, 0, 80]);
    bytes.extend_from_slice(b"first");
    client.write_all(&bytes).await.unwrap();
    assert_eq!(name(&mut client).await, "b");
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, (b"first".to_vec(), false));
    let mut other = connect(port).await;
    other.write_all(&[b'x'; 20]).await.unwrap();
    assert_eq!(rest(&mut other).await.0, b"", "a header is asked for");
    plane.stop().await;
}
