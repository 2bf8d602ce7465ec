use std::net::TcpListener;

use portcullis_ir::ResourceKey;
use portcullis_wire::RejectionCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::plane::{Plane, free_port, get, loopback, read_head, settings};
use super::resources::{behind_proxy, http, listener_key, redirect};

#[tokio::test]
async fn ports_open_and_close_at_run_time_and_touch_no_other_connection() {
    let (first, second) = (free_port(), free_port());
    let mut plane = Plane::start(settings()).await;
    plane.put([http("one", first), redirect("r", &["one", "two"], "to.example")]).await;
    assert_eq!(plane.handle.bound(), [loopback(first)]);
    let mut kept = TcpStream::connect(loopback(first)).await.unwrap();
    let ask = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    kept.write_all(ask).await.unwrap();
    assert!(read_head(&mut kept).await.starts_with("HTTP/1.1 302"));

    plane.put([http("two", second)]).await;
    assert_eq!(get(loopback(second), "/x").await.location(), Some("http://to.example/x"));
    plane.remove(ResourceKey::Listener(listener_key("two"))).await;
    assert!(TcpStream::connect(loopback(second)).await.is_err(), "the port is closed before the answer");
    assert_eq!(plane.handle.bound(), [loopback(first)]);

    kept.write_all(ask).await.unwrap();
    assert!(read_head(&mut kept).await.starts_with("HTTP/1.1 302"));
    drop(kept);
    plane.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_reported_and_everything_else_goes_on() {
    let (free, other) = (free_port(), TcpListener::bind(loopback(0)).unwrap());
    let taken = other.local_addr().unwrap().port();
    let mut plane = Plane::start(settings()).await;
    let parts = [http("free", free), http("taken", taken), redirect("r", &["free", "taken"], "to.example")];
    let verdict = plane.put(parts).await;
    let [rejection] = &verdict.rejected[..] else { panic!("{verdict:?}") };
    assert_eq!(rejection.key, Some(ResourceKey::Listener(listener_key("taken"))));
    assert_eq!(rejection.code, RejectionCode::Unbindable);
    assert!(rejection.message.contains("in use"), "{}", rejection.message);
    assert_eq!(get(loopback(free), "/").await.status, 302);
    let ready = plane.admin("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.body.contains("not bound: 127.0.0.1"), "{}", ready.body);

    drop(other);
    let verdict = plane.answer().await;
    assert!(verdict.rejected.is_empty(), "it is tried again without being asked: {verdict:?}");
    assert_eq!(get(loopback(taken), "/").await.status, 302);
    plane.stop().await;
}

#[tokio::test]
async fn a_port_that_another_data_plane_shares_by_reuseport_is_taken() {
    let port = free_port();
    let (mut first, mut second) = (Plane::start(settings()).await, Plane::start(settings()).await);
    assert!(first.put([http("web", port)]).await.rejected.is_empty());
    assert_eq!(second.put([http("web", port)]).await.rejected.len(), 1);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_listener_that_contradicts_another_on_its_port_is_rejected_alone() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    let verdict = plane.put([http("a", port), behind_proxy("b", port), redirect("r", &["a"], "to.example")]).await;
    let keys: Vec<_> = verdict.rejected.iter().map(|rejection| rejection.key.clone()).collect();
    assert_eq!(keys, [Some(ResourceKey::Listener(listener_key("b")))]);
    assert_eq!(get(loopback(port), "/").await.status, 302);
    plane.stop().await;
}
