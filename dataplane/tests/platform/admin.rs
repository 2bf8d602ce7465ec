use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use portcullis_dataplane::{ExtraPage, Settings};

use super::plane::{Plane, free_port, get, loopback, parse, settings};
use super::resources::{certificate, http, https, redirect};

#[tokio::test]
async fn ready_comes_with_the_first_complete_configuration() {
    let mut plane = Plane::start(settings()).await;
    assert_eq!(plane.admin("/healthz").await.status, 200);
    let answer = plane.admin("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("no configuration"), "{}", answer.body);
    plane.put([http("web", free_port())]).await;
    let answer = plane.admin("/readyz").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "ready: serving configuration 1 of epoch 0000000000000007\n")
    );
    plane.stop().await;
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let mut plane = Plane::start(settings()).await;
    let (pair, _) = certificate("c", &["a.example"]);
    plane.put([https("web", free_port(), "", &["c"]), pair, redirect("shop", &["web"], "to.example")]).await;
    let answer = plane.admin("/config").await;
    let config: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(config["version"], "1 of epoch 0000000000000007");
    assert_eq!(config["source"], "live");
    assert_eq!(config["snapshot"]["live"]["certificates"]["ns/c"]["private_key"], "<redacted>");
    assert!(config["snapshot"]["config"]["routes"]["HTTPRoute/ns/shop/0"].is_object(), "{}", answer.body);
    plane.stop().await;
}

#[tokio::test]
async fn metrics_count_requests_by_rule_and_what_matched_none() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    plane.put([http("web", port), redirect("shop", &["web"], "to.example")]).await;
    get(loopback(port), "/").await;
    for line in [
        r#"portcullis_dataplane_requests_total{route_kind="HTTPRoute",route_namespace="ns",route="shop",rule="0",class="3xx"} 1"#,
        "portcullis_dataplane_config_stale 0",
        "portcullis_dataplane_config_version 1",
        "portcullis_dataplane_downstream_connections_total 1",
    ] {
        // A request is counted when it has ended, which its client may notice first.
        plane.page_comes_to_contain("/metrics", line).await;
    }
    plane.stop().await;
}

#[tokio::test]
async fn pages_are_read_only_and_may_be_added() {
    let page = ExtraPage {
        path: "/status",
        content_type: "text/plain",
        render: std::sync::Arc::new(|| "all is well\n".to_owned()),
    };
    let plane = Plane::start(Settings { extra_pages: vec![page], ..settings() }).await;
    assert_eq!(plane.admin("/status").await.body, "all is well\n");
    assert_eq!(plane.admin("/nothing").await.status, 404);
    for (request, status) in [
        ("POST /healthz HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 405),
        ("nonsense\r\n\r\n", 400),
        ("HEAD /healthz HTTP/1.1\r\n\r\n", 200),
    ] {
        let mut tcp = TcpStream::connect(plane.handle.admin_address()).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        tcp.read_to_string(&mut text).await.unwrap();
        let answer = parse(&text);
        assert_eq!(answer.status, status, "{request}");
        assert!(status != 200 || answer.body.is_empty(), "HEAD has no body");
    }
    plane.stop().await;
}
