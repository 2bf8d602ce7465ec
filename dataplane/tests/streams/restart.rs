use portcullis_dataplane::Settings;

use super::backends::{Pair, ask, connect, echo, name, tls, tls_echo, trusting, udp_client, udp_echo};
use super::plane::{Plane, free_port};
use super::world::{backend, passthrough, settings, tcp, tcp_route, tls_route, udp, udp_backend, udp_route};

#[tokio::test]
async fn a_restart_without_a_controller_serves_the_streams_that_were_served_before() {
    let (folder, port, secure) = (tempfile::tempdir().unwrap(), free_port(), free_port());
    let stored = || Settings { state_dir: Some(folder.path().to_owned()), ..settings() };
    let a = Pair::new("a.example");
    let mut plane = Plane::start(stored()).await;
    let mut parts = vec![
        tcp("t", port),
        udp("u", port),
        passthrough("s", secure, ""),
        tcp_route("t", "t", &[("t", 1)]),
        udp_route("u", "u", &[("u", 1)]),
        tls_route("s", "s", "a.example", "s"),
    ];
    parts.extend(backend("t", &[echo("t").await]));
    parts.extend(udp_backend("u", &[udp_echo("u").await]));
    parts.extend(backend("s", &[tls_echo("s", &a).await]));
    plane.put(parts).await;
    plane.stop().await;

    let plane = Plane::start(stored()).await;
    assert_eq!(name(&mut connect(port).await).await, "t");
    assert_eq!(ask(&udp_client(port).await, "x").await, "u:x");
    assert_eq!(name(&mut tls(secure, "a.example", &trusting(&a.der)).await.unwrap()).await, "s");
    plane.stop().await;
}
