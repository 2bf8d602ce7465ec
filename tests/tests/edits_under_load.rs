//! A route file edited 200 times under load: no request fails, and each answer is wholly old or wholly new.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use portcullis_tests::backend::EchoBackend;
use portcullis_tests::client::{Answer, Connection};
use portcullis_tests::process::{PATIENCE, Standalone, free_port};
use portcullis_tests::yaml;

const EDITS: usize = 200;
const CLIENTS: usize = 4;

#[test]
fn two_hundred_edits_lose_no_request_and_mix_no_answer() {
    let (one, two) = (EchoBackend::start("one").unwrap(), EchoBackend::start("two").unwrap());
    let config = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let port = free_port();
    let fixed = yaml::gateway(port) + &yaml::backend("one", one.address) + &yaml::backend("two", two.address);
    std::fs::write(config.path().join("gateway.yaml"), fixed).unwrap();
    let file = config.path().join("route.yaml");
    yaml::write_atomically(&file, &yaml::route("app", "/", "one", "one")).unwrap();
    let gateway = Standalone::start_ready(config.path(), state.path(), &[]).unwrap();

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut probe = Probe::open(address);
                while !stop.load(Ordering::Relaxed) {
                    probe.meaning();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    let mut probe = Probe::open(address);
    for edit in 0..EDITS {
        let next = if edit % 2 == 0 { "two" } else { "one" };
        yaml::write_atomically(&file, &yaml::route("app", "/", next, next)).unwrap();
        let began = Instant::now();
        while probe.meaning() != next {
            assert!(began.elapsed() < PATIENCE, "edit {edit} never went live:\n{}", gateway.log_text());
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a client saw a failed or a mixed answer");
    }
    assert!(answered.load(Ordering::Relaxed) > EDITS as u64, "the load was a load");
    assert!(gateway.terminate().unwrap().success());
}

/// A client that keeps its connection for as long as the gateway lets it: an edit must not close it, only the bound on
/// requests of one connection may, and that is announced.
struct Probe {
    address: SocketAddr,
    connection: Connection,
    requests: u32,
}

impl Probe {
    fn open(address: SocketAddr) -> Self {
        Self { address, connection: Connection::open(address).unwrap(), requests: 0 }
    }

    fn meaning(&mut self) -> &'static str {
        let answer = self.connection.get("example.com", "/").unwrap();
        self.requests += 1;
        if answer.header("connection") == Some("close") {
            assert!(self.requests >= 10_000, "closed after {} requests", self.requests);
            *self = Self::open(self.address);
        }
        meaning(&answer)
    }
}

/// Which of the two rules answered; fails the test if backend, request mark and response mark disagree.
fn meaning(answer: &Answer) -> &'static str {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let backend = if text.starts_with("one\n") { "one" } else { "two" };
    assert!(text.to_ascii_lowercase().contains(&format!("x-mark: {backend}\r\n")), "request of another rule: {text}");
    assert_eq!(answer.header("x-mark"), Some(backend), "response of another rule");
    backend
}
