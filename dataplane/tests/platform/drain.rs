use std::time::Duration;

use portcullis_dataplane::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::plane::{Plane, free_port, loopback, read_head, settings};
use super::resources::{backend, forward, http, redirect};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[tokio::test]
async fn a_drain_lets_requests_end_and_closes_idle_connections() {
    let port = free_port();
    let backend_listener = TcpListener::bind(loopback(0)).await.unwrap();
    let mut plane = Plane::start(settings()).await;
    let [service, endpoints] = backend("b", backend_listener.local_addr().unwrap());
    plane.put([http("web", port), forward("r", &["web"], "b"), service, endpoints]).await;

    let mut busy = TcpStream::connect(loopback(port)).await.unwrap();
    busy.write_all(ASK).await.unwrap();
    let (mut upstream, _) = backend_listener.accept().await.unwrap();
    read_head(&mut upstream).await;

    plane.handle.drain();
    let gone = async {
        // Connections that were in the backlog are still taken; sooner or later there is nobody.
        while TcpStream::connect(loopback(port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::plane::PATIENCE, gone).await.unwrap();
    let answer = plane.admin("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("draining"), "{}", answer.body);

    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let mut text = String::new();
    busy.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("ok"), "{text}");
    assert!(text.to_lowercase().contains("connection: close"), "{text}");
    let report = tokio::time::timeout(super::plane::PATIENCE, plane.handle.wait()).await.unwrap();
    assert_eq!(report.aborted_connections, 0);
}

#[tokio::test]
async fn a_drain_waits_no_longer_than_its_deadline() {
    let port = free_port();
    let backend_listener = TcpListener::bind(loopback(0)).await.unwrap();
    let mut plane = Plane::start(Settings { drain_deadline: Duration::from_millis(50), ..settings() }).await;
    let [service, endpoints] = backend("b", backend_listener.local_addr().unwrap());
    plane.put([http("web", port), forward("r", &["web"], "b"), service, endpoints]).await;
    let mut busy = TcpStream::connect(loopback(port)).await.unwrap();
    busy.write_all(ASK).await.unwrap();
    let (mut upstream, _) = backend_listener.accept().await.unwrap();
    read_head(&mut upstream).await;
    assert_eq!(plane.stop().await.aborted_connections, 1);
}

#[tokio::test]
async fn configuration_still_comes_while_the_endpoints_are_removed() {
    let port = free_port();
    let mut plane = Plane::start(Settings { drain_delay: Duration::from_secs(600), ..settings() }).await;
    plane.put([http("web", port), redirect("r", &["web"], "old.example")]).await;
    plane.handle.drain();
    plane.page_comes_to_contain("/readyz", "draining").await;
    plane.put([redirect("r", &["web"], "new.example")]).await;
    assert_eq!(super::plane::get(loopback(port), "/").await.location(), Some("http://new.example/"));
}

#[tokio::test]
async fn a_handle_that_is_dropped_ends_its_data_plane() {
    let port = free_port();
    let mut plane = Plane::start(settings()).await;
    plane.put([http("web", port)]).await;
    drop(plane);
    let gone = async {
        while TcpStream::connect(loopback(port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::plane::PATIENCE, gone).await.unwrap();
}
