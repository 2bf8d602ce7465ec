//! Answers of our own: one shape, and nothing of the inside in it.

use portcullis_ir as ir;

use super::support::gateway::{backend_key, prefix, to};
use super::support::{Backend, Setup, soon};

#[tokio::test]
async fn statuses_say_whose_fault_it_is() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let invalid = ir::WeightedBackend { target: ir::Target::Invalid(ir::Failure::InvalidBackend), ..to("b") };
    let route = |path: &'static str, action: ir::Action| {
        move |route: &mut ir::Route| {
            route.matches = vec![prefix(path)];
            route.action = action;
        }
    };
    let gateway = Setup::new()
        .backend("empty", &[], ir::Protocol::Http)
        .backend("closed", &[closed], ir::Protocol::Http)
        .route(route("/invalid", ir::Action::Forward(vec![invalid])))
        .route(route("/none", ir::Action::Forward(vec![])))
        .route(route("/zero", ir::Action::Forward(vec![ir::WeightedBackend { weight: 0, ..to("empty") }])))
        .route(route("/broken", ir::Action::Fail(ir::Failure::InvalidFilter)))
        .route(route("/empty", ir::Action::Forward(vec![to("empty")])))
        .route(route("/closed", ir::Action::Forward(vec![to("closed")])))
        .route(route("/gone", ir::Action::Forward(vec![to("never-there")])))
        .start()
        .await;
    for (path, status, flag) in [
        ("/unknown", 404, "NR"),
        ("/invalid", 500, "IB"),
        ("/none", 500, "IB"),
        ("/zero", 500, "IB"),
        ("/gone", 500, "IB"),
        ("/broken", 500, "IR"),
        ("/empty", 503, "NE"),
        ("/closed", 503, "UF"),
    ] {
        let name = format!("portcullis_dataplane_request_flags_total{{flag=\"{flag}\"}}");
        let before = gateway.metric(&name).await;
        let response = gateway.get(path).await;
        assert_eq!(response.status, status, "{path}");
        // Counted when the last byte has left, which the client may see first.
        soon(path, async { while gateway.metric(&name).await != before + 1 {} }).await;
        let all = format!("{:?} {}", response.headers, response.text()).to_lowercase();
        for secret in
            ["127.0.0.1", &closed.port().to_string(), "pingora", "hyper", "refused", "rustls", "tokio", "never-there"]
        {
            assert!(!all.contains(secret), "{path}: {secret} in {all}");
        }
    }
    let _ = backend_key("b");
}

#[tokio::test]
async fn the_connection_lives_on_after_an_answer_of_ours() {
    let gateway = Setup::new().start().await;
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("connection")), (404, None));
    }
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status, response.header("connection")), (404, Some("close")));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn bodies_are_text_or_json_as_asked() {
    let gateway = Setup::new().start().await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(response.text().starts_with("404 Not Found: no route matches the request\n"), "{}", response.text());
    client.send("GET / HTTP/1.1\r\nhost: a\r\naccept: application/json\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!(response.header("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((json["status"].as_u64(), json["message"].as_str()), (Some(404), Some("no route matches the request")));
    assert_eq!(json["request_id"].as_str().unwrap().len(), 36);
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let response = client.head_response().await;
    assert_eq!(response.status, 404);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.status, 404);
}

#[tokio::test]
async fn nothing_is_served_before_the_first_configuration() {
    // A backend that would be reached if anything were forwarded.
    let backend = Backend::echoing_lines().await;
    let gateway = Setup::before(backend.address).start().await;
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.get("/").await.text(), "GET / HTTP/1.1");
}
