//! HTTP/2 with prior knowledge on the plain port, before backends of either version; gRPC is HTTP/2 with trailers.

use http::{HeaderMap, Method, Request};
use portcullis_ir as ir;

use super::support::h2::{connect, echo_backend, exchange};
use super::support::{Backend, Gateway, Setup, ok};

fn request(gateway: &Gateway, method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://app.test:{}{path}", gateway.port))
}

#[tokio::test]
async fn an_http_2_client_reaches_an_http_1_backend() {
    let backend = Backend::answering(|seen| ok(&format!("{} {}", seen.request_line, seen.body.len()))).await;
    let gateway = Setup::before(backend.address).start().await;
    let client = connect(gateway.address()).await;
    let answer = exchange(&client, request(&gateway, Method::GET, "/a?b=c").body(()).unwrap(), b"", None).await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.body, b"GET /a?b=c HTTP/1.1 0");
    let answer = exchange(&client, request(&gateway, Method::POST, "/p").body(()).unwrap(), b"hello", None).await;
    assert_eq!(answer.body, b"POST /p HTTP/1.1 5");
    let seen = backend.seen();
    assert!(seen.iter().all(|seen| seen.violations.is_empty()), "{seen:#?}");
    assert_eq!(seen[0].values("host"), [format!("app.test:{}", gateway.port)]);
}

#[tokio::test]
async fn cookie_crumbs_are_one_header_to_an_http_1_backend() {
    let backend = Backend::answering(|_| ok("")).await;
    let gateway = Setup::before(backend.address).start().await;
    let client = connect(gateway.address()).await;
    let crumbs = request(&gateway, Method::GET, "/").header("cookie", "a=1").header("cookie", "b=2");
    exchange(&client, crumbs.body(()).unwrap(), b"", None).await;
    assert_eq!(backend.only().values("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn an_http_1_client_reaches_an_http_2_backend() {
    let gateway = Setup::before_h2(echo_backend().await).start().await;
    let mut client = gateway.connect().await;
    client.send("POST /x HTTP/1.1\r\nhost: app.test\r\ncontent-length: 5\r\n\r\nhello").await;
    let response = client.response().await;
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(response.header("x-authority"), Some("app.test"));
    assert_eq!(response.header("x-path"), Some("/x"));
}

#[tokio::test]
async fn many_streams_share_a_connection_each_with_its_own_body() {
    let gateway = Setup::before_h2(echo_backend().await).start().await;
    let client = connect(gateway.address()).await;
    let exchanges = (0..50).map(|number| {
        let (client, head) = (client.clone(), request(&gateway, Method::POST, "/").body(()).unwrap());
        tokio::spawn(async move {
            let body = format!("{number}").repeat(10_000);
            (exchange(&client, head, body.as_bytes(), None).await.body == body.as_bytes(), number)
        })
    });
    for done in exchanges.collect::<Vec<_>>() {
        let (same, number) = done.await.unwrap();
        assert!(same, "stream {number} got another's body");
    }
}

#[tokio::test]
async fn grpc_passes_with_trailers_both_ways() {
    let gateway = Setup::before_h2(echo_backend().await).start().await;
    let client = connect(gateway.address()).await;
    let call = request(&gateway, Method::POST, "/pkg.Service/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "42".parse().unwrap());
    let answer = exchange(&client, call.body(()).unwrap(), b"\0\0\0\0\x02hi", Some(trailers)).await;
    assert_eq!(answer.head.headers["x-te"], "trailers");
    assert_eq!(answer.head.headers["x-path"], "/pkg.Service/Method");
    assert_eq!(answer.body, b"\0\0\0\0\x02hi");
    let trailers = answer.trailers.expect("the backend's trailers");
    assert_eq!((&trailers["grpc-status"], &trailers["x-checksum"]), (&"0".parse().unwrap(), &"42".parse().unwrap()));
}

#[tokio::test]
async fn our_own_answers_to_grpc_are_trailers_only() {
    // The rule's backend is invalid (UNAVAILABLE); no rule matches another host's path (UNIMPLEMENTED).
    let gateway = Setup::new()
        .route(|route| {
            route.matches = vec![super::support::gateway::prefix("/broken")];
            route.action = ir::Action::Fail(ir::Failure::InvalidBackend);
        })
        .start()
        .await;
    let client = connect(gateway.address()).await;
    for (path, status) in [("/broken/Method", "14"), ("/absent/Method", "12")] {
        let call = request(&gateway, Method::POST, path).header("content-type", "application/grpc+proto");
        let answer = exchange(&client, call.body(()).unwrap(), b"", None).await;
        assert_eq!((answer.head.status.as_u16(), answer.body.len()), (200, 0), "{path}");
        assert_eq!(answer.head.headers["grpc-status"], status, "{path}");
        assert_eq!(answer.head.headers["content-type"], "application/grpc", "{path}");
    }
}
