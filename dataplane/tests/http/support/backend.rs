use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::client::find;
use super::soon;

/// A backend that writes down what it sees.
#[derive(Clone)]
pub struct Backend {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: Arc<watch::Sender<usize>>,
    connections: Arc<watch::Sender<usize>>,
}

/// One request as the backend parsed it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which connection it came on, from 0.
    pub connection: usize,
    pub request_line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What is wrong with it by the letter of the protocol.
    pub violations: Vec<String>,
}

impl Backend {
    /// Answers every request with what `answer` makes of it, keeping connections alive.
    pub async fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::with_connections(move |backend, mut reader, number| {
            let answer = Arc::clone(&answer);
            async move {
                while let Some(seen) = reader.request(number).await {
                    let bytes = answer(&seen);
                    backend.note(seen);
                    if reader.stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Answers 200 with a body that names the request's line.
    pub async fn echoing_lines() -> Self {
        Self::answering(|seen| super::ok(&seen.request_line)).await
    }

    /// Does with each connection what `serve` says.
    pub async fn with_connections<F, S>(serve: S) -> Self
    where
        S: Fn(Self, Reader, usize) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            count: Arc::new(watch::channel(0).0),
            connections: Arc::new(watch::channel(0).0),
        };
        let this = backend.clone();
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                this.connections.send_modify(|count| *count += 1);
                tokio::spawn(serve(this.clone(), Reader { stream, unread: Vec::new() }, number));
                number += 1;
            }
        });
        backend
    }

    pub fn note(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
        self.count.send_modify(|count| *count += 1);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// The only request that was seen, which must be faultless.
    pub fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        assert!(seen[0].violations.is_empty(), "{seen:#?}");
        seen[0].clone()
    }

    pub async fn wait_for(&self, requests: usize) {
        soon("a request at the backend", self.count.subscribe().wait_for(|count| *count >= requests)).await.unwrap();
    }
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn values(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).collect()
    }

    pub fn target(&self) -> &str {
        self.request_line.split(' ').nth(1).unwrap()
    }
}

/// Reads requests as strictly as the protocol can be read.
pub struct Reader {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Reader {
    /// Bytes that came behind the last head and were not asked for yet.
    pub fn ahead(&self) -> usize {
        self.unread.len()
    }

    /// A whole request; none at the end of the connection. A broken-off one is none, too.
    pub async fn request(&mut self, connection: usize) -> Option<Seen> {
        let mut seen = self.head(connection).await?;
        let length = seen.header("content-length").map(|length| length.parse::<usize>().unwrap_or(0));
        if seen.header("transfer-encoding").is_some() {
            seen.body = self.chunks(&mut seen.violations).await?;
        } else if let Some(length) = length {
            seen.body = self.take(length).await?;
        }
        Some(seen)
    }

    /// A request's head alone.
    pub async fn head(&mut self, connection: usize) -> Option<Seen> {
        let end = self.find(b"\r\n\r\n").await?;
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let mut violations = Vec::new();
        if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
            violations.push("bare CR, LF or NUL in the head".to_owned());
        }
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let request_line = lines.next().unwrap().to_owned();
        if request_line.split(' ').count() != 3 || !request_line.ends_with(" HTTP/1.1") {
            violations.push(format!("request line {request_line:?}"));
        }
        let mut headers = Vec::new();
        for line in lines {
            match line.split_once(": ") {
                Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
                    headers.push((name.to_owned(), value.to_owned()));
                }
                _ => violations.push(format!("header line {line:?}")),
            }
        }
        let seen = Seen { connection, request_line, headers, body: Vec::new(), violations };
        Some(check(seen))
    }

    /// Exactly as many bytes.
    pub async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.unread.drain(..count).collect())
    }

    /// Waits until the other side has closed, or reset.
    pub async fn closed(&mut self) {
        while self.fill().await {}
    }

    async fn chunks(&mut self, violations: &mut Vec<String>) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = self.find(b"\r\n").await?;
            let line = String::from_utf8(self.take(end + 2).await?).unwrap();
            let Ok(size) = usize::from_str_radix(line.trim_end(), 16) else {
                violations.push(format!("chunk size {line:?}"));
                return Some(body);
            };
            let mut chunk = self.take(size + 2).await?;
            if chunk.split_off(size) != b"\r\n" {
                violations.push("chunk without an end".to_owned());
            }
            body.extend(chunk);
            if size == 0 {
                return Some(body);
            }
        }
    }

    async fn find(&mut self, needle: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = find(&self.unread, needle) {
                return Some(at);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

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

fn check(mut seen: Seen) -> Seen {
    if seen.values("host").len() != 1 {
        seen.violations.push(format!("hosts {:?}", seen.values("host")));
    }
    let (lengths, encodings) = (seen.values("content-length"), seen.values("transfer-encoding"));
    if lengths.len() + encodings.len() > 1 || encodings.iter().any(|coding| *coding != "chunked") {
        let text = format!("framing {lengths:?} {encodings:?}");
        seen.violations.push(text);
    }
    if !seen.target().starts_with('/') {
        let text = format!("target {:?}", seen.target());
        seen.violations.push(text);
    }
    seen
}
