//! Backends that are reached over TLS, and those that nothing may be sent to.

use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request};
use portcullis_ir as ir;
use tokio::io::AsyncWriteExt;

use super::support::gateway::{backend_key, to};
use super::support::h2::{connect, echo_backend, exchange};
use super::support::tls::Authority;
use super::support::{Backend, Gateway, Setup, ok, soon};

const H1: &[&str] = &["http/1.1"];
const BOTH: &[&str] = &["h2", "http/1.1"];

/// A gateway before one backend that asks for TLS.
async fn gateway(address: std::net::SocketAddr, protocol: ir::Protocol, policy: ir::BackendTls) -> Gateway {
    let setup = Setup::new().backend("b", &[address], protocol);
    setup.change_backend("b", |backend| backend.tls = Some(Box::new(policy))).route(|_| {}).start().await
}

#[tokio::test]
async fn a_request_is_sent_on_over_tls_by_http_1_or_http_2_as_alpn_says() {
    let authority = Authority::new();
    let plain = Backend::answering(|seen| ok(&seen.request_line)).await;
    let front = authority.front(plain.address, "app.test", H1).await;
    let gateway = gateway(front.address, ir::Protocol::Http, authority.policy("app.test")).await;
    assert_eq!(gateway.get("/a").await.text(), "GET /a HTTP/1.1");
    assert_eq!(gateway.get("/b").await.text(), "GET /b HTTP/1.1");
    assert_eq!(front.handshakes(), 1, "connections are kept");
    assert_eq!(plain.seen()[0].header("host"), Some("a.test"), "the name for TLS is not the request's");

    let front = authority.front(echo_backend().await, "app.test", BOTH).await;
    for protocol in [ir::Protocol::Http, ir::Protocol::Http2] {
        let gateway = self::gateway(front.address, protocol, authority.policy("app.test")).await;
        assert_eq!(gateway.get("/c").await.header("x-path"), Some("/c"));
    }
}

#[tokio::test]
async fn a_backend_that_cannot_be_verified_is_answered_for_at_once_and_the_client_keeps_its_connection() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let plain = Backend::echoing_lines().await;
    let front = authority.front(plain.address, "app.test", H1).await;
    for (protocol, policy) in [
        (ir::Protocol::Http, stranger.policy("app.test")),
        (ir::Protocol::Http, authority.policy("other.test")),
        (ir::Protocol::Http2, authority.policy("other.test")),
        // The backend does not agree on the only protocol that may be spoken.
        (ir::Protocol::Http2, authority.policy("app.test")),
    ] {
        let gateway = gateway(front.address, protocol, policy).await;
        let begun = Instant::now();
        let mut client = gateway.connect().await;
        for _ in 0..2 {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert_eq!(client.response().await.status, 503);
        }
        // Far below the backend's connect timeout: nothing is waited for.
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
    assert_eq!(plain.seen().len(), 0);
}

#[tokio::test]
async fn a_backend_that_speaks_no_tls_is_never_spoken_to_in_plain_text() {
    let authority = Authority::new();
    let plain = Backend::with_connections(|backend, mut reader, number| async move {
        // As servers do with what they cannot parse.
        let _ = reader.stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
        if let Some(seen) = reader.head(number).await {
            backend.note(seen);
        }
    })
    .await;
    let gateway = gateway(plain.address, ir::Protocol::Http, authority.policy("app.test")).await;
    let begun = Instant::now();
    assert_eq!(gateway.get("/").await.status, 503);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(plain.seen().len(), 0);
    gateway.counts("portcullis_dataplane_upstream_connects_total{outcome=\"connected\"}", 0).await;
}

#[tokio::test]
async fn grpc_passes_over_tls_with_trailers_both_ways() {
    let authority = Authority::new();
    let front = authority.front(echo_backend().await, "app.test", &["h2"]).await;
    for protocol in [ir::Protocol::Http, ir::Protocol::Http2] {
        let gateway = gateway(front.address, protocol, authority.policy("app.test")).await;
        let client = connect(gateway.address()).await;
        let call = Request::builder()
            .method(Method::POST)
            .uri(format!("http://app.test:{}/pkg.Service/Method", gateway.port))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "42".parse().unwrap());
        let answer = exchange(&client, call.body(()).unwrap(), b"\0\0\0\0\x02hi", Some(trailers)).await;
        assert_eq!(answer.body, b"\0\0\0\0\x02hi");
        let trailers = answer.trailers.expect("the backend's trailers");
        assert_eq!(
            (&trailers["grpc-status"], &trailers["x-checksum"]),
            (&"0".parse().unwrap(), &"42".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn grpc_to_a_backend_that_cannot_be_verified_is_unavailable() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let front = authority.front(echo_backend().await, "app.test", &["h2"]).await;
    let gateway = gateway(front.address, ir::Protocol::Http2, stranger.policy("app.test")).await;
    let client = connect(gateway.address()).await;
    let uri = format!("http://app.test:{}/pkg.Service/Method", gateway.port);
    let call = Request::builder().method(Method::POST).uri(uri).header("content-type", "application/grpc");
    let answer = exchange(&client, call.body(()).unwrap(), b"", None).await;
    assert_eq!(answer.head.headers["grpc-status"], "14");
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

#[tokio::test]
async fn a_web_socket_is_opened_over_tls_even_where_http_2_is_spoken_otherwise() {
    let authority = Authority::new();
    let plain = Backend::with_connections(|backend, mut reader, number| async move {
        let Some(seen) = reader.head(number).await else { return };
        backend.note(seen);
        let accepted = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nwake";
        reader.stream.write_all(accepted).await.unwrap();
        while let Some(bytes) = reader.take(4).await {
            if reader.stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    })
    .await;
    let front = authority.front(plain.address, "app.test", BOTH).await;
    let gateway = gateway(front.address, ir::Protocol::Http, authority.policy("app.test")).await;
    let mut client = gateway.connect().await;
    client.send(UPGRADE).await;
    assert_eq!(client.response().await.status, 101);
    assert_eq!(client.bytes(4).await, b"wake");
    client.send("ping").await;
    assert_eq!(client.bytes(4).await, b"ping");
}

#[tokio::test]
async fn nothing_is_sent_to_a_broken_backend_by_whatever_way() {
    let plain = Backend::echoing_lines().await;
    let breaking: [fn(&mut ir::Backend); 2] = [
        |backend| backend.broken = Some(ir::Failure::InvalidBackendTls),
        // What the data plane finds out itself: a policy whose roots do not parse.
        |backend| {
            let mut policy = Authority::new().policy("app.test");
            policy.roots = vec![b"no certificate".as_slice().into()];
            backend.tls = Some(Box::new(policy));
        },
    ];
    for change in breaking {
        let gateway = Setup::before(plain.address).change_backend("b", change).start().await;
        let mut client = gateway.connect().await;
        for request in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"] {
            client.send(request).await;
            assert_eq!(client.response().await.status, 500, "{request}");
        }
        client.send(UPGRADE).await;
        assert_eq!(client.response().await.status, 500);
        gateway.counts("portcullis_dataplane_request_flags_total{flag=\"IB\"}", 3).await;
        let client = connect(gateway.address()).await;
        let uri = format!("http://app.test:{}/pkg.Service/Method", gateway.port);
        let call = Request::builder().method(Method::POST).uri(uri).header("content-type", "application/grpc");
        let answer = exchange(&client, call.body(()).unwrap(), b"", None).await;
        assert_eq!(answer.head.headers["grpc-status"], "14");
    }
    assert_eq!(plain.connections(), 0);
}

#[tokio::test]
async fn only_the_share_of_a_broken_backend_is_denied_and_no_copy_is_sent_to_it() {
    let (good, broken) = (Backend::echoing_lines().await, Backend::echoing_lines().await);
    let mirror =
        ir::Filter::Mirror(ir::Mirror { target: ir::Target::Backend(backend_key("x")), share: ir::Fraction::ALL });
    let gateway = Setup::new()
        .backend("b", &[good.address], ir::Protocol::Http)
        .backend("x", &[broken.address], ir::Protocol::Http)
        .change_backend("x", |backend| backend.broken = Some(ir::Failure::InvalidBackendTls))
        .route(|route| {
            route.filters = vec![mirror];
            route.action = ir::Action::Forward(vec![to("b"), to("x")]);
        })
        .start()
        .await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(gateway.get("/").await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 5], [500; 5]].concat());
    soon("the good backend's share", good.wait_for(5)).await;
    assert_eq!(broken.connections(), 0);
}
