//! An answer of 101 is an answer: it says what is left, too.

use tokio::io::AsyncWriteExt;

use super::support::{Backend, Setup};
use super::world::{limited, rule, window};

#[tokio::test]
async fn whoever_changes_the_protocol_is_told_what_is_left() {
    let backend = Backend::with_connections(|_, mut reader, number| async move {
        let Some(_) = reader.head(number).await else { return };
        let accepted = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi";
        reader.stream.write_all(accepted).await.unwrap();
        while reader.take(1).await.is_some() {}
    })
    .await;
    let gateway = limited(Setup::before(backend.address), vec![rule("burst", &[window(2, 60)], |_| {})]).start().await;
    let handshake = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    for left in ["1", "0"] {
        let mut client = gateway.connect().await;
        client.send(handshake).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")));
        assert_eq!(response.header("ratelimit-policy"), Some(r#""burst";q=2;w=60"#));
        assert!(response.header("ratelimit").unwrap().starts_with(&format!(r#""burst";r={left};t="#)));
        assert_eq!(client.bytes(2).await, b"hi");
    }
    let mut client = gateway.connect().await;
    client.send(handshake).await;
    assert_eq!(client.response().await.status, 429);
}
