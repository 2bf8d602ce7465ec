//! The data plane under test, with the server's end of its configuration link.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use portcullis_dataplane::{AccessLog, ConfigLink, DataPlane, ExitReport, Handle, Settings};
use portcullis_ir::{Delta, Resource, ResourceKey, Snapshot};
use portcullis_wire::{
    ClientMessage, Digests, Health, Hello, Limits, Observe, Rejection, ServerMessage, State, Version, delta_messages,
    snapshot_messages,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Longer than anything takes; a test that waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Plane {
    pub(super) handle: Handle,
    pub(super) hello: Hello,
    server: mpsc::Sender<Vec<u8>>,
    answers: mpsc::Receiver<Vec<u8>>,
    snapshot: Snapshot,
    at: Option<State>,
}

/// What came of a configuration.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) rejected: Vec<Rejection>,
    pub(super) warnings: Vec<Rejection>,
}

pub(super) fn settings() -> Settings {
    Settings {
        workers: 2,
        admin: loopback(0),
        bind_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        access_log: AccessLog::Off,
        ..Settings::default()
    }
}

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A port that nobody uses now. Taken from below the range that outgoing connections use, so that none of those can
/// take it before the data plane does; each process begins somewhere else.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = 10_000 + u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let port = begin + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(loopback(port)).is_ok() {
            return port;
        }
    }
}

impl Plane {
    pub(super) async fn start(settings: Settings) -> Self {
        let (server, incoming) = mpsc::channel(16);
        let (outgoing, mut answers) = mpsc::channel(16);
        let handle = DataPlane::start(settings, ConfigLink { incoming, outgoing }).unwrap();
        let ClientMessage::Hello(hello) = receive(&mut answers).await else { panic!("the first message is Hello") };
        if hello.held.is_some() {
            let ClientMessage::Ack(said) = receive(&mut answers).await else { panic!("what is held is in force") };
            assert_eq!(Some(said.held), hello.held);
        }
        Self { handle, hello, server, answers, snapshot: Snapshot::default(), at: None }
    }

    /// Sends the resources (a snapshot first, deltas afterwards) and waits for the answer.
    pub(super) async fn put(&mut self, upserts: impl IntoIterator<Item = Resource>) -> Verdict {
        self.send(Delta { upserts: upserts.into_iter().collect(), removals: Vec::new() }).await
    }

    pub(super) async fn remove(&mut self, key: ResourceKey) -> Verdict {
        self.send(Delta { upserts: Vec::new(), removals: vec![key] }).await
    }

    async fn send(&mut self, delta: Delta) -> Verdict {
        self.snapshot.apply(delta.clone());
        let number = self.at.map_or(1, |at| at.version.number + 1);
        let to = State { version: Version { epoch: 7, number }, digests: Digests::of(&self.snapshot) };
        let messages = match self.at {
            None => snapshot_messages(to.version, &self.snapshot, to.digests, &Limits::default()),
            Some(from) => delta_messages(from, to, &delta, &Limits::default()),
        };
        self.at = Some(to);
        for message in messages {
            self.server.send(ServerMessage::encode_to_vec(&message)).await.unwrap();
        }
        self.answer().await
    }

    /// Waits for the next answer.
    pub(super) async fn answer(&mut self) -> Verdict {
        loop {
            return match receive(&mut self.answers).await {
                ClientMessage::Ack(ack) => {
                    assert_eq!(Some(ack.held), self.at);
                    Verdict { rejected: Vec::new(), warnings: ack.warnings }
                }
                ClientMessage::Nack(nack) => {
                    assert_eq!(nack.message, "");
                    Verdict { rejected: nack.rejected, warnings: nack.warnings }
                }
                // It may come at any time.
                ClientMessage::Wanted(_) => continue,
                other => panic!("{other:?}"),
            };
        }
    }

    pub(super) async fn observe(&self, resources: Vec<ResourceKey>, interval_milliseconds: u32) {
        let observe = ServerMessage::Observe(Observe { resources, interval_milliseconds });
        self.server.send(observe.encode_to_vec()).await.unwrap();
    }

    /// Waits for the next figures.
    pub(super) async fn health(&mut self) -> Health {
        match receive(&mut self.answers).await {
            ClientMessage::Health(health) => health,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn admin(&self, path: &str) -> Answer {
        get(self.handle.admin_address(), path).await
    }

    /// Asks again and again until the page contains a line.
    pub(super) async fn page_comes_to_contain(&self, path: &str, line: &str) {
        let asking = async {
            while !self.admin(path).await.body.contains(line) {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, asking).await.is_err() {
            panic!("{line} is not in\n{}", self.admin(path).await.body);
        }
    }

    pub(super) async fn stop(self) -> ExitReport {
        self.handle.drain();
        tokio::time::timeout(PATIENCE, self.handle.wait()).await.unwrap()
    }
}

async fn receive(answers: &mut mpsc::Receiver<Vec<u8>>) -> ClientMessage {
    let answer = tokio::time::timeout(PATIENCE, answers.recv()).await.unwrap().unwrap();
    ClientMessage::decode(&answer).unwrap()
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// Where a redirect leads: the name of the rule that took the request, by the tests' convention.
    pub(super) fn location(&self) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location").then(|| value.trim())
        })
    }
}

/// One request on a connection of its own.
pub(super) async fn get(address: SocketAddr, path: &str) -> Answer {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    exchange(&mut tcp, "a.example", path).await
}

/// Asks for the connection to be closed and reads everything.
pub(super) async fn exchange<S>(stream: &mut S, host: &str, path: &str) -> Answer
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    parse(&String::from_utf8(bytes).unwrap())
}

pub(super) fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Reads one answer without a body (a redirect, say) on a connection that stays open.
pub(super) async fn read_head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap();
        bytes.push(byte);
    }
    String::from_utf8(bytes).unwrap()
}
