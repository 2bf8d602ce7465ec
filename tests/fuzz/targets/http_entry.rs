//! Whatever a client sends: nothing panics, the connection comes to its end, and a backend sees only requests that can
//! be read in one way.
//!
//! The real data plane in this process, over loopback: bytes in, end of input, everything read until the gateway closes.
#![no_main]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portcullis_dataplane::{AccessLog, ConfigLink, DataPlane, Settings};
use portcullis_ir::{
    Action, Attachment, Backend, BackendKey, Endpoint, Endpoints, GatewayKey, HostPattern, Listener, ListenerKey,
    ListenerProtocol, Match, Protocol, Resource, Route, RouteHostname, RouteKey, Snapshot, Source, Target, Timeouts,
    WeightedBackend,
};
use portcullis_wire::{Digests, Limits, Version, snapshot_messages};
use tokio::sync::mpsc;

/// Far beyond every deadline of the settings below: a connection that is open then hangs.
const PATIENCE: Duration = Duration::from_secs(8);

static GATEWAY: LazyLock<SocketAddr> = LazyLock::new(start);

fuzz_target!(|data: &[u8]| {
    let mut client = TcpStream::connect(*GATEWAY).expect("the gateway accepts");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout may be set");
    // The gateway may close before it has read everything.
    let _ = client.write_all(data);
    let _ = client.shutdown(Shutdown::Write);
    let mut sink = [0; 4096];
    loop {
        match client.read(&mut sink) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the connection never ended")
            }
            // A reset is an end too.
            Err(_) => return,
        }
    }
});

/// One listener, one rule for everything, one strict backend. Lives as long as the process.
fn start() -> SocketAddr {
    let backend = strict_backend();
    let address = free_address();
    let snapshot = world(address.port(), backend);
    let settings = Settings {
        workers: 1,
        admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        bind_addresses: vec![Ipv4Addr::LOCALHOST.into()],
        access_log: AccessLog::Off,
        limits: portcullis_dataplane::HttpLimits {
            header_deadline: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            stream_idle_timeout: Duration::from_secs(1),
            ..Default::default()
        },
        ..Settings::default()
    };
    let (incoming, from_server) = mpsc::channel(64);
    let (to_server, mut outgoing) = mpsc::channel(64);
    let handle = DataPlane::start(settings, ConfigLink { incoming: from_server, outgoing: to_server })
        .expect("the data plane starts");
    let version = Version { epoch: 1, number: 1 };
    for message in snapshot_messages(version, &snapshot, Digests::of(&snapshot), &Limits::default()) {
        incoming.blocking_send(message.encode_to_vec()).expect("the data plane listens");
    }
    while TcpStream::connect(address).is_err() {
        outgoing.blocking_recv().expect("the data plane answers");
    }
    // Both ends of the link stay open for ever.
    std::mem::forget((handle, incoming));
    thread::spawn(move || while outgoing.blocking_recv().is_some() {});
    address
}

fn world(port: u16, backend: SocketAddr) -> Snapshot {
    let listener = ListenerKey::new(GatewayKey::new("fuzz", "gateway"), "http");
    let key = BackendKey::service("fuzz", "backend", 80);
    let any = RouteHostname { effective: HostPattern::Any, written: HostPattern::Any };
    let target = WeightedBackend { target: Target::Backend(key.clone()), weight: 1, filters: Vec::new() };
    [
        Resource::Listener(Arc::new(Listener {
            key: listener.clone(),
            addresses: Vec::new(),
            port,
            hostname: HostPattern::Any,
            protocol: ListenerProtocol::Http,
            proxy_protocol: false,
            limits: None,
            auth: None,
            external: Vec::new(),
        })),
        Resource::Route(Arc::new(Route {
            key: RouteKey::http("fuzz", "route", 0),
            rule_name: None,
            created: 0,
            attachments: vec![Attachment::new(listener, vec![any])],
            matches: vec![Match::default()],
            filters: Vec::new(),
            action: Action::Forward(vec![target]),
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
        })),
        Resource::Backend(Arc::new(Backend {
            key: key.clone(),
            protocol: Protocol::Http,
            tls: None,
            source: Source::Endpoints,
            connect_timeout: Duration::from_secs(1),
            broken: None,
        })),
        Resource::Endpoints(Arc::new(Endpoints { key, endpoints: vec![Endpoint { address: backend, ready: true }] })),
    ]
    .into_iter()
    .collect()
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("loopback has free ports")
}

/// Answers 204 to every request, and ends the process at the first that can be read in more than one way.
fn strict_backend() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while serve(&mut reader).is_some() {}
            });
        }
    });
    address
}

/// One request; none at the end of the connection, also in the middle of a request that the client broke off.
fn serve(reader: &mut BufReader<TcpStream>) -> Option<()> {
    let head = head(reader)?;
    let mut lines = head.split("\r\n");
    let request_line = lines.next().unwrap_or_default();
    let words: Vec<&str> = request_line.split(' ').collect();
    let [_, target, "HTTP/1.1"] = words[..] else { panic!("request line {request_line:?}") };
    assert!(target.starts_with('/') || target == "*", "target {target:?}");
    let fields: Vec<(String, &str)> = lines
        .filter(|line| !line.is_empty())
        .map(|line| line.split_once(':').unwrap_or_else(|| panic!("field line {line:?}")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let values = |wanted: &str| fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| *value).collect::<Vec<_>>();
    assert!(fields.iter().all(|(name, _)| !name.is_empty() && !name.contains([' ', '\t'])), "field names {fields:?}");
    assert!(values("host").len() <= 1, "hosts {fields:?}");
    match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => {}
        ([length], []) => {
            let length: u64 = length.parse().unwrap_or_else(|_| panic!("length {length:?}"));
            let read = std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok()?;
            (read == length).then_some(())?;
        }
        ([], ["chunked"]) => chunks(reader)?,
        framing => panic!("framing {framing:?}"),
    }
    reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()
}

/// Up to the empty line, every line ended by CR LF and without a CR, LF or NUL inside.
fn head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok().filter(|read| *read > 0 && line_ends(&line))?;
        let text = String::from_utf8_lossy(&line).into_owned();
        let inside = text.strip_suffix("\r\n").unwrap_or_else(|| panic!("line end of {text:?}"));
        assert!(!inside.contains(['\r', '\0']), "line {inside:?}");
        if inside.is_empty() {
            return Some(head);
        }
        head.push_str(&text);
    }
}

fn line_ends(line: &[u8]) -> bool {
    line.ends_with(b"\n")
}

fn chunks(reader: &mut BufReader<TcpStream>) -> Option<()> {
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok().filter(|_| line_ends(&line))?;
        let text = String::from_utf8_lossy(&line).into_owned();
        let digits = text.strip_suffix("\r\n").unwrap_or_else(|| panic!("chunk line {text:?}"));
        let size = u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("chunk size {digits:?}"));
        let read = std::io::copy(&mut reader.by_ref().take(size + 2), &mut std::io::sink()).ok()?;
        (read == size + 2).then_some(())?;
        if size == 0 {
            return Some(());
        }
    }
}
