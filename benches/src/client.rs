//! The load: a closed loop over keep-alive HTTP/1.1 connections, an exact number of requests, every answer checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Requests on each connection before those that count: upstream pools fill, buffers grow, metric series appear.
const WARM: usize = 8;
/// A request under cachegrind takes about a millisecond; one that takes this long is lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fewer than a server closes a connection after. Those that go on get a new one, wherever they are counted the same way.
const PER_CONNECTION: usize = 9_800;

/// What a run sends: requests in turn, from the beginning again after the last.
#[derive(Clone, Debug)]
pub struct Script {
    turns: Arc<[String]>,
    introduced: bool,
}

/// Bytes of one request, the same for every subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `GET /` with a Host header: what wrk sends.
    Plain,
    /// `GET` below the prefix of route number `route`, with `x-version` and a Bearer token.
    Routed { route: usize },
}

impl Shape {
    /// As long as a signed token is.
    #[must_use]
    pub fn token() -> String {
        "0123456789abcdefghijklmnopqrstuvwxyz".repeat(15)
    }

    #[must_use]
    pub fn bytes(self) -> String {
        match self {
            Self::Plain => "GET / HTTP/1.1\r\nHost: bench.localhost\r\n\r\n".to_owned(),
            Self::Routed { route } => {
                format!(
                    "GET {}/item HTTP/1.1\r\nHost: bench.localhost\r\nx-version: v1\r\nAuthorization: Bearer {}\r\n\r\n",
                    prefix(route),
                    Self::token()
                )
            }
        }
    }
}

impl Script {
    /// The same request again and again.
    #[must_use]
    pub fn repeated(request: String) -> Self {
        Self { turns: [request].into(), introduced: false }
    }

    /// Each is sent once before anything counts, so that whoever remembers them has seen them all.
    #[must_use]
    pub fn varied(requests: Vec<String>) -> Self {
        Self { turns: requests.into(), introduced: true }
    }

    /// For those who remember nothing.
    #[must_use]
    pub fn without_introduction(&self) -> Self {
        Self { introduced: false, ..self.clone() }
    }

    /// Only the first so many turns.
    #[must_use]
    pub fn first(&self, turns: usize) -> Self {
        Self { turns: self.turns.iter().take(turns).cloned().collect(), ..self.clone() }
    }

    #[must_use]
    pub fn is_varied(&self) -> bool {
        self.turns.len() > 1
    }

    /// The request of a turn.
    #[must_use]
    pub fn at(&self, turn: usize) -> &str {
        self.turns.get(turn % self.turns.len().max(1)).map_or("", String::as_str)
    }
}

impl From<Shape> for Script {
    fn from(shape: Shape) -> Self {
        Self::repeated(shape.bytes())
    }
}

/// The path prefix of route number `route`.
#[must_use]
pub fn prefix(route: usize) -> String {
    format!("/service-{route:05}")
}

/// Asks until the answer is 200. What answers 404 or 503 for a while has not loaded its routes yet.
pub async fn ready(address: SocketAddr, script: &Script, limit: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let outcome = one(address, script.at(0)).await;
        match outcome {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error.context("no 200 before the deadline")),
            // A request costs instructions, so the question is asked seldom.
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}

async fn one(address: SocketAddr, request: &str) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    connection.exchange(request).await
}

/// Shows every request once, where somebody is to remember them. One after the other: with several at once, two runs would differ by
/// more than what is measured after it.
pub async fn introduce(address: SocketAddr, script: &Script) -> anyhow::Result<()> {
    if script.introduced {
        exchange(address, script, 1, script.turns.len()).await?;
    }
    Ok(())
}

/// Sends `requests` requests over so many connections after warming them, and fails on anything but 200 with a whole body.
pub async fn load(address: SocketAddr, script: &Script, concurrency: usize, requests: usize) -> anyhow::Result<()> {
    ensure!(
        requests.is_multiple_of(concurrency),
        "{requests} requests cannot be shared evenly by {concurrency} connections"
    );
    exchange(address, script, concurrency, WARM + requests / concurrency).await
}

/// So many requests on each connection; together they take the script's turns one after the other.
async fn exchange(address: SocketAddr, script: &Script, concurrency: usize, each: usize) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    for first in 0..concurrency {
        let script = script.clone();
        connections.spawn(async move {
            let mut connection = Connection::open(address).await?;
            for turn in 0..each {
                if turn > 0 && turn.is_multiple_of(PER_CONNECTION) {
                    connection = Connection::open(address).await?;
                }
                connection.exchange(script.at(first + turn * concurrency)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = connections.join_next().await {
        done??;
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    async fn exchange(&mut self, request: &str) -> anyhow::Result<()> {
        timeout(PATIENCE, self.exchange_patiently(request)).await.context("no answer")?
    }

    async fn exchange_patiently(&mut self, request: &str) -> anyhow::Result<()> {
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed in the middle of an answer");
            }
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.buffer[..end])?;
                let status = head.split(' ').nth(1).unwrap_or_default();
                ensure!(status == "200", "the answer was {status}");
                let length = content_length(head).context("the answer has no content-length")?;
                if self.buffer.len() == end + 4 + length {
                    return Ok(());
                }
                ensure!(self.buffer.len() < end + 4 + length, "more was sent than the answer");
            }
        }
    }
}

fn content_length(head: &str) -> Option<usize> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?
        .1
        .trim()
        .parse()
        .ok()
}
