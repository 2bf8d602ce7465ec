//! Limits on what is handed on: a connection or a UDP session counts as one request.

use std::sync::Arc;
use std::time::Duration;

use portcullis_ir as ir;
use portcullis_ir::Resource;

use super::backends::{ask, connect, echo, is_answered, is_reset, name, udp_client, udp_echo};
use super::plane::{Plane, free_port};
use super::world::{backend, listener, settings, tcp_route, udp_backend, udp_route};

/// Two from each address in an hour.
fn limited(name: &str, port: u16, protocol: ir::ListenerProtocol) -> Resource {
    let rule = ir::LimitRule {
        name: "newcomers".into(),
        origin: ir::PolicyOrigin {
            namespace: "ns".into(),
            name: "doors".into(),
            uid: "uid".into(),
            target: ir::PolicyTarget::Gateway(ir::GatewayKey::new("ns", "gw")),
        },
        shared: false,
        matches: Vec::new(),
        when: Vec::new(),
        key: vec![ir::KeyPart::ClientIp { ipv4_prefix: 32, ipv6_prefix: 64 }],
        on_missing_key: ir::OnMissingKey::SharedBucket,
        limits: vec![ir::Limit {
            requests: 2,
            period: ir::LimitPeriod::Window(Duration::from_secs(3600)),
            burst: None,
        }],
        tiers: None,
        scope: ir::LimitScope::Replica,
        shadow: false,
        cost: ir::Cost::Units(1),
        response: ir::LimitResponse::default(),
    };
    let limits = Some(Arc::new(ir::Limits { rules: vec![rule] }));
    Resource::Listener(Arc::new(ir::Listener { limits, ..listener(name, port, "", protocol) }))
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_reset_before_a_backend_hears_of_it() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    plane.put([limited("db", port, ir::ListenerProtocol::Tcp), tcp_route("r", "db", &[("b", 1)])]).await;
    plane.put(backend("b", &[echo("b").await])).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = connect(port).await;
        assert_eq!(name(&mut client).await, "b");
        open.push(client);
    }
    assert!(is_reset(port).await);
    let labels = r#"route_kind="TCPRoute",route_namespace="ns",route="r",rule="0",outcome="limited""#;
    plane.page_comes_to_contain("/metrics", &format!("stream_connections_total{{{labels}}} 1\n")).await;
    drop(open);
    plane.stop().await;
}

#[tokio::test]
async fn a_session_beyond_the_limit_gets_no_answer_and_those_before_it_go_on() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let address = udp_echo("b").await;
    plane.put([limited("dns", port, ir::ListenerProtocol::Udp), udp_route("r", "dns", &[("b", 1)])]).await;
    plane.put(udp_backend("b", &[address])).await;
    let clients = [udp_client(port).await, udp_client(port).await];
    for client in &clients {
        assert_eq!(ask(client, "1").await, "b:1");
    }
    let third = udp_client(port).await;
    assert!(!is_answered(&third, "1").await);
    assert_eq!(ask(&clients[0], "2").await, "b:2");
    plane.page_comes_to_contain("/metrics", r#"reason="limited"} "#).await;
    plane.stop().await;
}
