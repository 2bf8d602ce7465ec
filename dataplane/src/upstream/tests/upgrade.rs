//! Connections that stop being HTTP.

use portcullis_ir::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::raw_backend::{Do, RawBackend};
use super::support::{World, get, plain};
use crate::upstream::{ConnectError, Want};

#[tokio::test]
async fn after_a_101_bytes_flow_both_ways_early_ones_included() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nearly";
    let script: &'static [Do] = vec![Do::Answer(switch), Do::Echo].leak();
    let (world, backend) = (World::new(), RawBackend::start(script).await);
    let program = world.program(plain(Protocol::Http), &[backend.address]);
    let mut up = world.connect_wanting(&program, Want::Http1Only).await.unwrap();
    let mut head = get("/ws");
    head.insert_header("connection", "upgrade").unwrap();
    head.insert_header("upgrade", "websocket").unwrap();
    up.write_head(head, true).await.unwrap();
    assert_eq!(up.read_head().await.unwrap().status.as_u16(), 101);
    let mut tunnel = up.upgrade().unwrap();
    let mut early = [0; 5];
    tunnel.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"early");
    tunnel.write_all(b"ping").await.unwrap();
    tunnel.flush().await.unwrap();
    let mut echoed = [0; 4];
    tunnel.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"ping");
    tunnel.shutdown().await.unwrap();
    assert_eq!(tunnel.read(&mut echoed).await.unwrap(), 0);
}

#[tokio::test]
async fn a_backend_that_speaks_http_2_only_takes_no_upgrade() {
    let world = World::new();
    let program = world.program(plain(Protocol::Http2), &["127.0.0.1:9".parse().unwrap()]);
    assert_eq!(world.connect_wanting(&program, Want::Http1Only).await.unwrap_err(), ConnectError::Protocol);
}
