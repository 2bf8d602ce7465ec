//! Authorization by a service: what it is told, what its answers do, and that nothing gets through without a yes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response as Answer};
use portcullis_ir as ir;

use super::support::gateway::backend_key;
use super::support::h2;
use super::support::{Backend, Gateway, Response, Setup, ok};

fn asks(service: &str, protocol: ir::ExternalAuthProtocol) -> ir::ExternalAuth {
    ir::ExternalAuth {
        protocol,
        backend: ir::Target::Backend(backend_key(service)),
        max_body_bytes: 0,
        timeout: Duration::from_secs(10),
        fail_open: false,
        cache: None,
    }
}

fn names(names: &[&'static str]) -> Vec<HeaderName> {
    names.iter().map(|name| HeaderName::from_static(name)).collect()
}

fn http(request: &[&'static str], response: &[&'static str]) -> ir::ExternalAuthProtocol {
    ir::ExternalAuthProtocol::Http {
        path_prefix: "/check".into(),
        allowed_request_headers: names(request),
        allowed_response_headers: names(response),
    }
}

/// Everything goes to `backend` once `service` lets it.
async fn gateway(backend: &Backend, service: SocketAddr, edit: impl FnOnce(&mut ir::ExternalAuth)) -> Gateway {
    let mut external = asks("auth", http(&["x-team"], &["x-user", "x-role"]));
    edit(&mut external);
    Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .backend("auth", &[service], ir::Protocol::Http)
        .route(|route| route.filters = vec![ir::Filter::ExternalAuth(Box::new(external))])
        .start()
        .await
}

async fn send(gateway: &Gateway, request: &str) -> Response {
    let mut client = gateway.connect().await;
    client.send(request).await;
    client.response().await
}

const SPOOFED: &str = "GET /shop/a?b=c HTTP/1.1\r\nhost: a.test:80\r\nauthorization: Bearer t\r\nx-team: blue\r\n\
    x-user: eve\r\nX_User: eve\r\nx-role: admin\r\ncookie: c\r\n\r\n";

#[tokio::test]
async fn a_yes_lets_the_request_through_with_what_the_service_says_of_it() {
    let backend = Backend::echoing_lines().await;
    let yes = "HTTP/1.1 200 OK\r\nx-user: ada\r\nx-other: no\r\ncontent-length: 2\r\n\r\nok";
    let service = Backend::answering(move |_| yes.as_bytes().to_vec()).await;
    let gateway = gateway(&backend, service.address, |_| {}).await;
    assert_eq!(send(&gateway, SPOOFED).await.text(), "GET /shop/a?b=c HTTP/1.1");
    let asked = service.only();
    assert_eq!(asked.request_line, "GET /check/shop/a?b=c HTTP/1.1");
    let mut told: Vec<_> = asked.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), &**value)).collect();
    told.sort();
    let expected = [("authorization", "Bearer t"), ("content-length", "0"), ("host", "a.test:80"), ("x-team", "blue")];
    assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value)));
    let seen = backend.only();
    assert_eq!(seen.values("x-user"), ["ada"]);
    for gone in ["x_user", "x-role", "x-other"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(seen.header("cookie"), Some("c"));
    gateway.counts("portcullis_dataplane_external_auth_allowed_total", 1).await;
}

#[tokio::test]
async fn a_no_is_the_answer_and_reaches_no_backend() {
    let backend = Backend::echoing_lines().await;
    let no = "HTTP/1.1 302 Found\r\nlocation: /login\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-type: text/html\r\n\
        content-length: 5\r\n\r\nlogin";
    let service = Backend::answering(move |_| no.as_bytes().to_vec()).await;
    let gateway = gateway(&backend, service.address, |_| {}).await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.header("location"), &*answer.text()), (302, Some("/login"), "login"));
    assert_eq!((answer.values("set-cookie"), answer.header("content-type")), (vec!["a=1", "b=2"], Some("text/html")));
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn nothing_but_a_clear_yes_is_one() {
    let backend = Backend::echoing_lines().await;
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(100_000));
    for (answer, status, open) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 403, 403),
        ("HTTP/1.1 206 Partial\r\ncontent-length: 0\r\n\r\n", 403, 403),
        ("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n", 503, 200),
        ("HTTP/1.1 503 Away\r\ncontent-length: 0\r\n\r\n", 503, 200),
        ("SSH-2.0-OpenSSH\r\n\r\n", 503, 200),
        (&*long, 403, 403),
    ] {
        let answer: &'static str = Box::leak(answer.to_owned().into_boxed_str());
        let service = Backend::answering(move |_| answer.as_bytes().to_vec()).await;
        for (fail_open, expected) in [(false, status), (true, open)] {
            let gateway = gateway(&backend, service.address, |external| external.fail_open = fail_open).await;
            let seen = backend.seen().len();
            assert_eq!(send(&gateway, SPOOFED).await.status, expected, "{answer:.30} {fail_open}");
            let through = backend.seen().split_off(seen);
            assert_eq!(through.len(), usize::from(expected == 200), "{answer:.30}");
            let claims = through.iter().flat_map(|seen| [seen.header("x-user"), seen.header("x-role")]);
            assert!(claims.flatten().next().is_none(), "nobody vouches for what the client claims");
        }
    }
}

#[tokio::test]
async fn a_service_that_is_down_or_hangs_denies_unless_the_policy_says_otherwise() {
    let backend = Backend::echoing_lines().await;
    let hung = Backend::with_connections(|_, mut reader, _| async move { reader.closed().await }).await;
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for service in [hung.address, down] {
        for (fail_open, expected) in [(false, 503), (true, 200)] {
            let gateway = gateway(&backend, service, |external| {
                (external.fail_open, external.timeout) = (fail_open, Duration::from_millis(200));
            })
            .await;
            assert_eq!(gateway.get("/").await.status, expected);
            gateway.counts("portcullis_dataplane_external_auth_failed_total", 1).await;
        }
    }
}

#[tokio::test]
async fn a_service_that_does_not_exist_denies_whatever_the_policy_says() {
    let backend = Backend::echoing_lines().await;
    for target in [ir::Target::Invalid(ir::Failure::InvalidBackend), ir::Target::Backend(backend_key("never-there"))] {
        let gateway = gateway(&backend, backend.address, |external| {
            (external.fail_open, external.backend) = (true, target);
        })
        .await;
        assert_eq!(gateway.get("/").await.status, 500);
    }
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn the_service_sees_the_beginning_of_a_body_and_the_backend_all_of_it() {
    let backend = Backend::answering(|seen| ok(&seen.body.len().to_string())).await;
    let service = Backend::answering(|_| ok("yes")).await;
    let gateway = gateway(&backend, service.address, |external| external.max_body_bytes = 10).await;
    let body = "0123456789abcdef".repeat(1000);
    let sized = format!("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let chunked = format!(
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let short = "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 3\r\n\r\nabc".to_owned();
    for (request, told, length) in [(sized, "0123456789", 16_000), (chunked, "0123456789", 16_000), (short, "abc", 3)] {
        assert_eq!(send(&gateway, &request).await.text(), length.to_string());
        let asked = service.seen().pop().unwrap();
        assert_eq!((&*asked.body, asked.violations), (told.as_bytes(), Vec::<String>::new()));
    }
    assert!(backend.seen().iter().all(|seen| seen.violations.is_empty()));
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let backend = Backend::answering(|seen| ok(&String::from_utf8(seen.body.clone()).unwrap())).await;
    let service = Backend::answering(|_| ok("yes")).await;
    let gateway = gateway(&backend, service.address, |external| external.max_body_bytes = 10).await;
    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a.test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await;
    assert_eq!(client.response().await.status, 100);
    client.send("abc").await;
    let mut answer = client.response().await;
    while answer.status == 100 {
        answer = client.response().await;
    }
    assert_eq!(answer.text(), "abc");
    assert_eq!(service.only().body, b"abc");
}

#[tokio::test]
async fn a_connection_that_had_died_is_no_reason_to_deny() {
    let backend = Backend::echoing_lines().await;
    let service = Backend::with_connections(|backend, mut reader, number| async move {
        // One answer each, and then the connection ends with the next request on it.
        if let Some(seen) = reader.request(number).await {
            backend.note(seen);
            let _ = tokio::io::AsyncWriteExt::write_all(&mut reader.stream, &ok("yes")).await;
        }
        let _ = reader.request(number).await;
    })
    .await;
    let gateway = gateway(&backend, service.address, |_| {}).await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(service.seen().len(), 3);
}

#[tokio::test]
async fn a_verdict_is_used_again_for_requests_that_agree_in_the_key() {
    let backend = Backend::echoing_lines().await;
    let service = Backend::answering(|seen| {
        let good = seen.header("authorization") == Some("good");
        if good { ok("yes") } else { b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n".to_vec() }
    })
    .await;
    let gateway = gateway(&backend, service.address, |external| {
        external.cache = Some(ir::ExternalAuthCache {
            key: vec![ir::KeyPart::Header(http::header::AUTHORIZATION)],
            ttl: Duration::from_secs(3600),
            max_entries: 100,
        });
    })
    .await;
    let ask = |value: &str| format!("GET / HTTP/1.1\r\nhost: a.test\r\nauthorization: {value}\r\n\r\n");
    for (value, status) in [("good", 200), ("bad", 401), ("good", 200), ("bad", 401)] {
        assert_eq!(send(&gateway, &ask(value)).await.status, status, "{value}");
    }
    assert_eq!(service.seen().len(), 2);
    // Without a part of the key nothing is told apart, so everybody is asked about.
    for _ in 0..2 {
        assert_eq!(gateway.get("/").await.status, 401);
    }
    assert_eq!(service.seen().len(), 4);
}

/// A message of the protocol, by hand: `status { code }`, and what else is given.
fn check_response(code: u8, rest: &[u8]) -> Bytes {
    let mut message = vec![0x0a, 2, 0x08, code];
    message.extend_from_slice(rest);
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed.into()
}

async fn grpc_gateway(answer: Bytes, status: &'static str) -> (Gateway, Backend) {
    let backend = Backend::echoing_lines().await;
    let service = h2::backend(move |request, mut respond, _| {
        let answer = answer.clone();
        async move {
            assert_eq!(request.uri().path(), "/envoy.service.auth.v3.Authorization/Check");
            let head = Answer::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(answer, false).unwrap();
            let trailers =
                http::HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), status.parse().unwrap())]);
            stream.send_trailers(trailers).unwrap();
        }
    })
    .await;
    let grpc = ir::ExternalAuthProtocol::Grpc { allowed_request_headers: Vec::new() };
    let external = asks("auth", grpc);
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .backend("auth", &[service], ir::Protocol::Http)
        .route(|route| route.filters = vec![ir::Filter::ExternalAuth(Box::new(external))])
        .start()
        .await;
    (gateway, backend)
}

#[tokio::test]
async fn a_service_may_speak_grpc() {
    // ok_response { headers { header { key: "x-user" value: "ada" } } }
    let ok_response = b"\x1a\x11\x12\x0f\x0a\x0d\x0a\x06x-user\x12\x03ada";
    let (gateway, backend) = grpc_gateway(check_response(0, ok_response), "0").await;
    assert_eq!(send(&gateway, SPOOFED).await.status, 200);
    assert_eq!(backend.only().values("x-user"), ["ada"]);
    // denied_response { status { code: 401 } body: "no" }
    let denied = b"\x12\x09\x0a\x03\x08\x91\x03\x1a\x02no";
    let (gateway, backend) = grpc_gateway(check_response(16, denied), "0").await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, &*answer.text()), (401, "no"));
    assert!(backend.seen().is_empty());
    for (answer, status, expected) in [
        (check_response(7, b""), "0", 403),
        (Bytes::from_static(b"\0\0\0\0\0"), "0", 403),
        (Bytes::new(), "0", 403),
        (check_response(0, b""), "14", 503),
    ] {
        let (gateway, backend) = grpc_gateway(answer, status).await;
        assert_eq!(gateway.get("/").await.status, expected);
        assert!(backend.seen().is_empty());
    }
}
