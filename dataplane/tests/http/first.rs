//! Services that a listener has asked before a rule is looked for: their word decides which rule takes the request.

use std::time::Duration;

use http::HeaderName;
use portcullis_ir as ir;

use super::support::gateway::{backend_key, prefix, to};
use super::support::{Backend, Gateway, Setup, ok};

fn asks(service: &str, allowed: &[&'static str]) -> ir::ExternalAuth {
    ir::ExternalAuth {
        protocol: ir::ExternalAuthProtocol::Http {
            path_prefix: "/check".into(),
            allowed_request_headers: vec![HeaderName::from_static("x-tenant")],
            allowed_response_headers: allowed.iter().map(|name| HeaderName::from_static(name)).collect(),
        },
        backend: ir::Target::Backend(backend_key(service)),
        max_body_bytes: 0,
        timeout: Duration::from_secs(10),
        fail_open: false,
        cache: None,
    }
}

/// What is said to be of tenant blue goes to `blue`, everything else below /shop to `b`; the listener asks `services`.
async fn gateway(backends: &[(&str, &Backend)], external: Vec<ir::ExternalAuth>) -> Gateway {
    let mut setup = Setup::new();
    for (name, backend) in backends {
        setup = setup.backend(name, &[backend.address], ir::Protocol::Http);
    }
    let blue =
        ir::HeaderMatch { name: HeaderName::from_static("x-tenant"), value: ir::StringMatch::Exact("blue".into()) };
    setup
        .change_listener(|listener| listener.external = external)
        .route(|route| {
            route.matches = vec![ir::Match { headers: vec![blue], ..prefix("/shop") }];
            route.action = ir::Action::Forward(vec![to("blue")]);
        })
        .route(|route| route.matches = vec![prefix("/shop")])
        .start()
        .await
}

fn yes(headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n").into_bytes()
}

async fn send(gateway: &Gateway, request: &str) -> (u16, String) {
    let mut client = gateway.connect().await;
    client.send(request).await;
    let answer = client.response().await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn what_a_service_sets_decides_which_rule_takes_the_request() {
    let (blue, other) = (Backend::answering(|_| ok("blue")).await, Backend::answering(|_| ok("other")).await);
    let service = Backend::answering(|seen| match seen.header("authorization") {
        Some("b") => yes("x-tenant: blue\r\n"),
        _ => yes(""),
    })
    .await;
    let backends = [("blue", &blue), ("b", &other), ("auth", &service)];
    let gateway = gateway(&backends, vec![asks("auth", &["x-tenant"])]).await;
    let claim = |key: &str| format!("GET /shop HTTP/1.1\r\nhost: a.test\r\n{key}\r\n");
    assert_eq!(send(&gateway, &claim("authorization: b\r\n")).await, (200, "blue".to_owned()));
    // Nobody gets there by his own word, in whatever spelling.
    for spelled in ["x-tenant: blue\r\n", "X-Tenant: blue\r\n", "x_tenant: blue\r\n"] {
        assert_eq!(send(&gateway, &claim(spelled)).await, (200, "other".to_owned()), "{spelled}");
    }
    assert_eq!(blue.only().values("x-tenant"), ["blue"]);
    assert!(other.seen().iter().all(|seen| seen.header("x-tenant").is_none() && seen.header("x_tenant").is_none()));
    // Whatever becomes of the request afterwards: it was asked about, and a preflight is, too.
    let missing = "GET /nowhere HTTP/1.1\r\nhost: a.test\r\n\r\n";
    assert_eq!(send(&gateway, missing).await.0, 404);
    let preflight = "OPTIONS /shop HTTP/1.1\r\nhost: a.test\r\norigin: https://a.test\r\n\
        access-control-request-method: PUT\r\n\r\n";
    assert_eq!(send(&gateway, preflight).await.0, 200);
    assert_eq!(service.seen().len(), 6);
}

#[tokio::test]
async fn services_are_asked_in_their_order_until_one_says_no() {
    let (blue, other) = (Backend::answering(|_| ok("blue")).await, Backend::answering(|_| ok("other")).await);
    let first = Backend::answering(|_| yes("x-tenant: red\r\n")).await;
    let second = Backend::answering(|seen| match seen.header("x-tenant") {
        Some("red") => b"HTTP/1.1 403 No\r\nx-why: red\r\ncontent-length: 4\r\n\r\nred!".to_vec(),
        _ => yes(""),
    })
    .await;
    let third = Backend::answering(|_| yes("")).await;
    let backends = [("blue", &blue), ("b", &other), ("one", &first), ("two", &second), ("three", &third)];
    let services = vec![asks("one", &["x-tenant"]), asks("two", &["x-other"]), asks("three", &["x-other"])];
    let gateway = gateway(&backends, services).await;
    assert_eq!(send(&gateway, "GET /shop HTTP/1.1\r\nhost: a.test\r\n\r\n").await, (403, "red!".to_owned()));
    assert_eq!((first.seen().len(), second.seen().len(), third.seen().len()), (1, 1, 0));
    assert!(blue.seen().is_empty() && other.seen().is_empty());
}

#[tokio::test]
async fn no_service_can_set_the_host() {
    let (blue, other) = (Backend::answering(|_| ok("blue")).await, Backend::answering(|_| ok("other")).await);
    let service = Backend::answering(|_| yes("host: evil.test\r\n")).await;
    let backends = [("blue", &blue), ("b", &other), ("auth", &service)];
    // Named by nobody: then all that does not speak of the answer itself is taken.
    let gateway = gateway(&backends, vec![asks("auth", &[])]).await;
    assert_eq!(send(&gateway, "GET /shop HTTP/1.1\r\nhost: a.test\r\n\r\n").await.1, "other");
    assert_eq!(other.only().values("host"), ["a.test"]);
}

#[tokio::test]
async fn a_service_that_is_away_or_does_not_exist_lets_nobody_as_far_as_a_rule() {
    let (blue, other) = (Backend::answering(|_| ok("blue")).await, Backend::answering(|_| ok("other")).await);
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (target, status) in [
        (ir::Target::Backend(backend_key("auth")), 503),
        (ir::Target::Backend(backend_key("never-there")), 500),
        (ir::Target::Invalid(ir::Failure::InvalidFilter), 500),
    ] {
        let external = ir::ExternalAuth { backend: target, ..asks("auth", &[]) };
        let gateway = Setup::new()
            .backend("b", &[other.address], ir::Protocol::Http)
            .backend("auth", &[down], ir::Protocol::Http)
            .change_listener(|listener| listener.external = vec![external])
            .route(|_| {})
            .start()
            .await;
        assert_eq!(gateway.get("/").await.status, status);
        assert_eq!(gateway.get("/nowhere").await.status, status);
    }
    assert!(blue.seen().is_empty() && other.seen().is_empty());
}

#[tokio::test]
async fn what_was_set_first_outlives_a_retry_and_a_filter_of_the_rule() {
    // The first connection answers once, and dies with the next request on it.
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        while let Some(seen) = reader.request(number).await {
            backend.note(seen);
            let _ = tokio::io::AsyncWriteExt::write_all(&mut reader.stream, &ok("yes")).await;
            if number == 0 {
                let _ = reader.request(number).await;
                return;
            }
        }
    })
    .await;
    let service = Backend::answering(|_| yes("x-tenant: green\r\n")).await;
    let rule = Backend::answering(|_| yes("x-role: admin\r\n")).await;
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .backend("auth", &[service.address], ir::Protocol::Http)
        .backend("rule", &[rule.address], ir::Protocol::Http)
        .change_listener(|listener| listener.external = vec![asks("auth", &["x-tenant"])])
        .route(|route| {
            route.filters = vec![ir::Filter::ExternalAuth(Box::new(asks("rule", &["x-role"])))];
        })
        .start()
        .await;
    let get = "GET /shop HTTP/1.1\r\nhost: a.test\r\nx-tenant: blue\r\nx-role: eve\r\n\r\n";
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        client.send(get).await;
        assert_eq!(client.response().await.text(), "yes");
    }
    assert_eq!(backend.connections(), 2, "the second came again");
    for seen in backend.seen() {
        assert_eq!((seen.values("x-tenant"), seen.values("x-role")), (vec!["green"], vec!["admin"]));
    }
    // The service of the rule was told what the listener's had said.
    assert!(rule.seen().iter().all(|seen| seen.values("x-tenant") == ["green"]));
}
