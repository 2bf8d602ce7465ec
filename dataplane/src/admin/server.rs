//! As much HTTP/1.1 as probes and scrapers need: one GET or HEAD per connection, bounded in bytes, time and number.
//!
//! Not the proxy loop: the pages must answer when that is what is broken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Pages;

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 32;
/// Bytes of a request head.
const MAX_HEAD: usize = 8 * 1024;
/// For the whole exchange.
const DEADLINE: Duration = Duration::from_secs(30);

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, pages: Arc<Pages>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((tcp, _)) => {
                let pages = Arc::clone(&pages);
                tokio::spawn(async move {
                    // A client that breaks off has had all that it wanted.
                    let _ = tokio::time::timeout(DEADLINE, exchange(tcp, &pages)).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin listener cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

pub(super) struct Response {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Response {
    pub(super) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

async fn exchange(mut tcp: TcpStream, pages: &Arc<Pages>) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return respond(&mut tcp, Response::text(431, "request head is too large\n"), false).await;
        }
        if tcp.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let (response, without_body) = match request_line(&head) {
        Some(("GET", path, query)) => (pages.page(path, query).await, false),
        Some(("HEAD", path, query)) => (pages.page(path, query).await, true),
        // What changes something is for whoever is on this machine, or comes through its pod.
        Some(("DELETE", "/quotas", query)) if tcp.peer_addr()?.ip().to_canonical().is_loopback() => {
            (pages.quotas(query, true).await, false)
        }
        Some(_) => (Response::text(405, "only GET and HEAD are served here\n"), false),
        None => (Response::text(400, "this is no HTTP/1.1 request\n"), false),
    };
    respond(&mut tcp, response, without_body).await
}

/// Method, path and query.
fn request_line(head: &[u8]) -> Option<(&str, &str, &str)> {
    let line = head.split(|&byte| byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || words.next().is_some() || !target.starts_with('/') {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some((method, path, query))
}

async fn respond(tcp: &mut TcpStream, response: Response, without_body: bool) -> io::Result<()> {
    let Response { status, content_type, body } = response;
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        _ => "Service Unavailable",
    };
    let allow = if status == 405 { "allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n{allow}\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
        body.len()
    );
    tcp.write_all(head.as_bytes()).await?;
    if !without_body {
        tcp.write_all(body.as_bytes()).await?;
    }
    tcp.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_not_part_of_the_path() {
        assert_eq!(request_line(b"GET /metrics?x=1 HTTP/1.1\r\nhost: a\r\n\r\n"), Some(("GET", "/metrics", "x=1")));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for head in [&b"GET http://a/ HTTP/1.1\r\n\r\n"[..], b"GET /\r\n\r\n", b"\xff / HTTP/1.1\r\n\r\n", b"\r\n\r\n"]
        {
            assert_eq!(request_line(head), None);
        }
    }
}
