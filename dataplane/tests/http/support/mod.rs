//! A data plane in this process, clients and backends that speak raw bytes.

pub mod backend;
pub mod client;
pub mod gateway;
pub mod h2;
pub mod tls;

pub use backend::{Backend, Seen};
pub use client::{Client, Response};
pub use gateway::{Gateway, Setup};

use std::future::Future;
use std::time::Duration;

/// Fails a test that hangs, instead of hanging it.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen"),
    }
}

/// A whole answer with a length.
pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
