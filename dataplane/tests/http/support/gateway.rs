use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use portcullis_dataplane::{AccessLog, ConfigLink, DataPlane, Handle, Settings};
use portcullis_ir as ir;
use portcullis_wire::{ClientMessage, Digests, Limits, Version, snapshot_messages};
use tokio::sync::mpsc;

use super::{Client, soon};

/// What a gateway is started with. One listener for every host; routes and backends as a test adds them.
pub struct Setup {
    pub snapshot: ir::Snapshot,
    pub settings: Settings,
    port: u16,
    listener: ir::ListenerKey,
}

pub struct Gateway {
    pub port: u16,
    pub handle: Handle,
    pub snapshot: ir::Snapshot,
    version: Version,
    incoming: mpsc::Sender<Vec<u8>>,
    outgoing: mpsc::Receiver<Vec<u8>>,
}

impl Setup {
    pub fn new() -> Self {
        let port = free_port();
        let listener = ir::ListenerKey::new(ir::GatewayKey::new("test", "gateway"), "http");
        let mut snapshot = ir::Snapshot::default();
        snapshot.insert(ir::Resource::Listener(Arc::new(ir::Listener {
            key: listener.clone(),
            addresses: Vec::new(),
            port,
            hostname: ir::HostPattern::Any,
            protocol: ir::ListenerProtocol::Http,
            proxy_protocol: false,
            limits: None,
            auth: None,
            external: Vec::new(),
        })));
        let settings = Settings {
            workers: 1,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            bind_addresses: vec!["127.0.0.1".parse().unwrap()],
            access_log: AccessLog::Off,
            drain_deadline: Duration::from_secs(2),
            ..Settings::default()
        };
        Self { snapshot, settings, port, listener }
    }

    /// A gateway before one backend, which gets everything.
    pub fn before(backend: SocketAddr) -> Self {
        Self::new().backend("b", &[backend], ir::Protocol::Http).route(|_| {})
    }

    /// The same before an HTTP/2 backend.
    pub fn before_h2(backend: SocketAddr) -> Self {
        Self::new().backend("b", &[backend], ir::Protocol::Http2).route(|_| {})
    }

    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub fn backend(mut self, name: &str, addresses: &[SocketAddr], protocol: ir::Protocol) -> Self {
        let key = backend_key(name);
        self.snapshot.insert(ir::Resource::Backend(Arc::new(ir::Backend {
            key: key.clone(),
            protocol,
            tls: None,
            source: ir::Source::Endpoints,
            connect_timeout: Duration::from_secs(5),
            broken: None,
        })));
        let mut endpoints: Vec<_> = addresses.iter().map(|&address| ir::Endpoint { address, ready: true }).collect();
        endpoints.sort();
        self.snapshot.insert(ir::Resource::Endpoints(Arc::new(ir::Endpoints { key, endpoints })));
        self
    }

    /// Changes a backend that was added before.
    pub fn change_backend(mut self, name: &str, change: impl FnOnce(&mut ir::Backend)) -> Self {
        let mut backend = (*self.snapshot.config.backends[&backend_key(name)]).clone();
        change(&mut backend);
        self.snapshot.insert(ir::Resource::Backend(Arc::new(backend)));
        self
    }

    pub fn change_listener(mut self, change: impl FnOnce(&mut ir::Listener)) -> Self {
        let mut listener = (*self.snapshot.config.listeners[&self.listener]).clone();
        change(&mut listener);
        self.snapshot.insert(ir::Resource::Listener(Arc::new(listener)));
        self
    }

    pub fn resource(mut self, resource: ir::Resource) -> Self {
        self.snapshot.insert(resource);
        self
    }

    /// Changes every rule that was added before.
    pub fn change_routes(mut self, change: impl Fn(&mut ir::Route)) -> Self {
        let routes: Vec<_> = self.snapshot.config.routes.values().cloned().collect();
        for route in routes {
            let mut route = (*route).clone();
            change(&mut route);
            self.snapshot.insert(ir::Resource::Route(Arc::new(route)));
        }
        self
    }

    /// A rule for every path that forwards to backend `b`, unless `change` makes it another.
    pub fn route(mut self, change: impl FnOnce(&mut ir::Route)) -> Self {
        let rule = u16::try_from(self.snapshot.config.routes.len()).unwrap();
        let any = ir::RouteHostname { effective: ir::HostPattern::Any, written: ir::HostPattern::Any };
        let mut route = ir::Route {
            key: ir::RouteKey::http("test", "route", rule),
            rule_name: None,
            created: 0,
            attachments: vec![ir::Attachment::new(self.listener.clone(), vec![any])],
            matches: vec![ir::Match::default()],
            filters: Vec::new(),
            action: ir::Action::Forward(vec![to("b")]),
            timeouts: ir::Timeouts::default(),
            retry: None,
            persistence: None,
        };
        change(&mut route);
        self.snapshot.insert(ir::Resource::Route(Arc::new(route)));
        self
    }

    /// Started, configured and bound.
    pub async fn start(self) -> Gateway {
        let Self { snapshot, settings, port, listener: _ } = self;
        let (incoming, from_server) = mpsc::channel(16);
        let (to_server, outgoing) = mpsc::channel(16);
        let link = ConfigLink { incoming: from_server, outgoing: to_server };
        let handle = DataPlane::start(settings, link).unwrap();
        let version = Version { epoch: 1, number: 0 };
        let mut gateway = Gateway { port, handle, snapshot, version, incoming, outgoing };
        Box::pin(gateway.apply(|_| {})).await;
        gateway
    }
}

impl Gateway {
    /// Changes the configuration, and waits until it is in force.
    pub async fn apply(&mut self, change: impl FnOnce(&mut ir::Snapshot)) {
        change(&mut self.snapshot);
        self.version.number += 1;
        let digests = Digests::of(&self.snapshot);
        for message in snapshot_messages(self.version, &self.snapshot, digests, &Limits::default()) {
            self.incoming.send(message.encode_to_vec()).await.unwrap();
        }
        let outgoing = &mut self.outgoing;
        soon("the configuration's acknowledgement", async {
            loop {
                let message = outgoing.recv().await.unwrap();
                match ClientMessage::decode(&message).unwrap() {
                    ClientMessage::Ack(_) => return,
                    ClientMessage::Nack(nack) => panic!("refused: {nack:?}"),
                    _ => {}
                }
            }
        })
        .await;
    }

    /// An admin page, or what it does.
    pub async fn admin(&self, method: &str, path: &str) -> super::Response {
        // Apart, so that tests which ask often have small futures.
        Box::pin(self.ask_admin(method, path)).await
    }

    async fn ask_admin(&self, method: &str, path: &str) -> super::Response {
        let mut client = Client::connect(self.handle.admin_address()).await;
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")).await;
        client.response().await
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address()).await
    }

    /// One request on a connection of its own.
    pub async fn get(&self, path: &str) -> super::Response {
        let mut client = self.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n")).await;
        client.response().await
    }

    /// Waits for a value: a request is counted when its last byte has left, which the client may see first.
    pub async fn counts(&self, line: &str, value: u64) {
        super::soon(line, async { while self.metric(line).await != value {} }).await;
    }

    /// The value of a metric's line that begins with `line`; 0 if there is none.
    pub async fn metric(&self, line: &str) -> u64 {
        let mut client = Client::connect(self.handle.admin_address()).await;
        client.send("GET /metrics HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").await;
        let text = client.response().await.text();
        let found = text.lines().find(|candidate| candidate.starts_with(line));
        found.map_or(0, |found| found.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

/// A port that nobody listens on, outside of the range that the system gives to clients: one of those could be taken
/// between the choice and the bind. Each process of this machine's tests begins elsewhere.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let port = 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn backend_key(name: &str) -> ir::BackendKey {
    ir::BackendKey::service("test", name, 80)
}

pub fn to(name: &str) -> ir::WeightedBackend {
    ir::WeightedBackend { target: ir::Target::Backend(backend_key(name)), weight: 1, filters: Vec::new() }
}

pub fn prefix(path: &str) -> ir::Match {
    ir::Match { path: ir::PathMatch::prefix(path), ..ir::Match::default() }
}
