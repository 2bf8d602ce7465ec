use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// A client that sends what it is told and parses strictly what comes back.
pub struct Client {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub reason: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// False when the connection ended before the body did.
    pub complete: bool,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("connecting", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("sending", self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The next response, which must come.
    pub async fn response(&mut self) -> Response {
        self.try_response(false).await.expect("a response, not the end of the connection")
    }

    /// The next response to a HEAD request.
    pub async fn head_response(&mut self) -> Response {
        self.try_response(true).await.expect("a response, not the end of the connection")
    }

    /// None: the connection ended instead.
    pub async fn try_response(&mut self, to_head: bool) -> Option<Response> {
        soon("a response", self.read_response(to_head)).await
    }

    /// Everything up to the end of the connection, however it comes.
    pub async fn rest(&mut self) -> Vec<u8> {
        soon("the end of the connection", async { while self.fill().await {} }).await;
        std::mem::take(&mut self.unread)
    }

    /// Exactly as many raw bytes.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        soon("bytes", async {
            while self.unread.len() < count {
                assert!(self.fill().await, "the connection ended early");
            }
        })
        .await;
        self.unread.drain(..count).collect()
    }

    async fn read_response(&mut self, to_head: bool) -> Option<Response> {
        let end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at;
            }
            if !self.fill().await {
                assert!(self.unread.is_empty(), "half a head: {:?}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        let rest = status_line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("status line {status_line:?}"));
        let (status, reason) = rest.split_once(' ').unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("header line {line:?}")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response {
            status: status.parse().unwrap(),
            reason: reason.to_owned(),
            headers,
            body: Vec::new(),
            complete: true,
        };
        assert!(response.values("content-length").len() <= 1 && response.values("transfer-encoding").len() <= 1);
        if to_head || matches!(response.status, 100..=199 | 204 | 304) {
            return Some(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            assert_eq!(response.header("content-length"), None);
            response.complete = self.read_chunks(&mut response.body).await;
        } else if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().unwrap();
            response.complete = self.read_sized(length, &mut response.body).await;
        } else {
            while self.fill().await {}
            response.body = std::mem::take(&mut self.unread);
        }
        Some(response)
    }

    async fn read_sized(&mut self, length: usize, body: &mut Vec<u8>) -> bool {
        while self.unread.len() < length {
            if !self.fill().await {
                body.append(&mut self.unread);
                return false;
            }
        }
        body.extend(self.unread.drain(..length));
        true
    }

    async fn read_chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let end = loop {
                if let Some(at) = find(&self.unread, b"\r\n") {
                    break at;
                }
                if !self.fill().await {
                    return false;
                }
            };
            let line: Vec<u8> = self.unread.drain(..end + 2).collect();
            let size = usize::from_str_radix(std::str::from_utf8(&line[..end]).unwrap(), 16).unwrap();
            let mut chunk = Vec::new();
            let whole = self.read_sized(size + 2, &mut chunk).await;
            body.extend_from_slice(&chunk[..chunk.len().min(size)]);
            if !whole {
                return false;
            }
            assert_eq!(&chunk[size..], b"\r\n");
            if size == 0 {
                return true;
            }
        }
    }

    /// False at the end of the connection; a reset is one.
    async fn fill(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk).await {
            Ok(read) => {
                self.unread.extend_from_slice(&chunk[..read]);
                read > 0
            }
            Err(_) => false,
        }
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).first().copied()
    }

    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
