use super::backends::{Pair, connect, echo, exchange, hello, name, rest, tls, tls_echo, trusting};
use super::plane::{Plane, free_port};
use super::world::{backend, https, passthrough, redirect, settings, tcp_route, terminate, tls_backend, tls_route};
use tokio::io::AsyncWriteExt;

/// A hello for a name, and all that comes back.
async fn greeted(port: u16, sni: &str) -> (Vec<u8>, bool) {
    let mut client = connect(port).await;
    client.write_all(&hello(sni)).await.unwrap();
    rest(&mut client).await
}

#[tokio::test]
async fn passthrough_leads_to_the_backend_of_the_server_name_and_nobody_else_opens_it() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (a, b) = (Pair::new("a.example"), Pair::new("b.example"));
    plane
        .put([
            passthrough("tls", port, "*.example"),
            tls_route("a", "tls", "a.example", "a"),
            tls_route("rest", "tls", "*.example", "b"),
        ])
        .await;
    // What the backend's own policy asks for is of no account to TLS that is not ours.
    plane.put(tls_backend("a", "nobody.example", &b.der, &[tls_echo("a", &a).await])).await;
    plane.put(backend("b", &[tls_echo("b", &b).await])).await;
    for (sni, pair, backend) in [("a.example", &a, "a"), ("b.example", &b, "b")] {
        let mut client = tls(port, sni, &trusting(&pair.der)).await.unwrap();
        assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"of-the-backend"[..]), "the backend's own answer");
        assert_eq!(name(&mut client).await, backend);
        exchange(&mut client, "hello").await;
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut client).await, (Vec::new(), false));
    }
    plane.stop().await;
}

#[tokio::test]
async fn a_server_name_that_nobody_has_gets_no_byte() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let a = Pair::new("a.example");
    let parts = [passthrough("tls", port, "*.example"), tls_route("a", "tls", "a.example", "a")];
    plane.put(parts.into_iter().chain(backend("a", &[tls_echo("a", &a).await]))).await;
    assert_eq!(greeted(port, "other.test").await.0, b"", "no listener");
    assert_eq!(greeted(port, "b.example").await.0, b"", "a listener without a route");
    plane
        .page_comes_to_contain(
            "/metrics",
            r#"route_kind="",route_namespace="",route="",rule="unmatched",outcome="no_route"} 1"#,
        )
        .await;
    plane.page_comes_to_contain("/metrics", r#"tls_handshakes_total{outcome="unknown_name"} 1"#).await;

    plane.put([https("web", port, "web.example", "a"), a.resource("a")]).await;
    assert_eq!(greeted(port, "other.test").await.0.first(), Some(&0x15), "an HTTPS port says so by an alert");
    assert_eq!(greeted(port, "b.example").await.0, b"", "that listener still does not");
    plane.stop().await;
}

#[tokio::test]
async fn tls_that_ends_here_goes_on_as_plain_bytes_or_as_the_backend_asks() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (own, inner) = (Pair::new("a.example"), Pair::new("inner.example"));
    plane
        .put([terminate("tls", port, "", "own"), own.resource("own"), tls_route("plain", "tls", "a.example", "plain")])
        .await;
    plane.put(backend("plain", &[echo("plain").await])).await;
    let trusted = trusting(&own.der);
    let mut client = tls(port, "a.example", &trusted).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), None, "no protocol is promised in the backend's name");
    assert_eq!(name(&mut client).await, "plain");
    exchange(&mut client, "hello").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, (Vec::new(), false), "both directions ended in order");

    let address = tls_echo("inner", &inner).await;
    plane.put(tls_backend("plain", "inner.example", &inner.der, &[address])).await;
    let mut client = tls(port, "a.example", &trusted).await.unwrap();
    assert_eq!(name(&mut client).await, "inner");
    exchange(&mut client, "hello").await;

    plane.put(tls_backend("plain", "other.example", &inner.der, &[address])).await;
    let mut client = tls(port, "a.example", &trusted).await.unwrap();
    assert_eq!(rest(&mut client).await, (Vec::new(), true), "never to a backend of another name");
    plane
        .page_comes_to_contain(
            "/metrics",
            r#"route_kind="TLSRoute",route_namespace="ns",route="plain",rule="0",outcome="connect_failed"} 1"#,
        )
        .await;
    plane.stop().await;
}

#[tokio::test]
async fn https_and_both_kinds_of_tls_share_a_port_by_the_server_name() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let (web, ended, passed) = (Pair::new("web.example"), Pair::new("ended.example"), Pair::new("passed.example"));
    let verdict = plane
        .put([
            https("web", port, "web.example", "web"),
            terminate("ended", port, "ended.example", "ended"),
            passthrough("passed", port, "passed.example"),
            web.resource("web"),
            ended.resource("ended"),
            redirect("r", "web", "to.example"),
            tls_route("e", "ended", "ended.example", "e"),
            tls_route("p", "passed", "passed.example", "p"),
        ])
        .await;
    assert!(verdict.rejected.is_empty(), "{verdict:?}");
    plane.put(backend("e", &[echo("e").await]).into_iter().chain(backend("p", &[tls_echo("p", &passed).await]))).await;

    let mut client = tls(port, "ended.example", &trusting(&ended.der)).await.unwrap();
    assert_eq!(name(&mut client).await, "e");
    let mut client = tls(port, "passed.example", &trusting(&passed.der)).await.unwrap();
    assert_eq!(name(&mut client).await, "p");
    let mut http = (*trusting(&web.der)).clone();
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut client = tls(port, "web.example", &std::sync::Arc::new(http)).await.unwrap();
    let answer = super::plane::exchange(&mut client, "web.example", "/").await;
    assert_eq!(answer.location(), Some("http://to.example/"));
    plane.stop().await;
}

#[tokio::test]
async fn a_tcp_listener_contradicts_tls_on_its_port_and_is_rejected_alone() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let a = Pair::new("a.example");
    let verdict = plane
        .put([
            passthrough("a", port, ""),
            super::world::tcp("b", port),
            tls_route("a", "a", "", "a"),
            tcp_route("b", "b", &[("a", 1)]),
        ])
        .await;
    let [rejection] = &verdict.rejected[..] else { panic!("{verdict:?}") };
    assert!(rejection.message.contains("another protocol"), "{}", rejection.message);
    plane.put(backend("a", &[tls_echo("a", &a).await])).await;
    assert_eq!(name(&mut tls(port, "a.example", &trusting(&a.der)).await.unwrap()).await, "a");
    plane.stop().await;
}
