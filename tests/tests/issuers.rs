//! The keys of an issuer through the whole program: it is away at the start, comes, rotates under load, and goes; and
//! thousands of made-up key ids cost it next to nothing.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use portcullis_tests::backend::EchoBackend;
use portcullis_tests::client::{Answer, Connection};
use portcullis_tests::process::{PATIENCE, Standalone, free_port};
use portcullis_tests::yaml;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};
use serde_json::{Value, json};

const CLIENTS: usize = 3;
const ROTATIONS: usize = 2;
const MADE_UP: usize = 5000;

/// One that publishes what the test says, and counts who asks.
struct Issuer {
    address: SocketAddr,
    /// None: it answers 503.
    keys: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (keys, asked) = (Arc::new(Mutex::new(None::<String>)), Arc::new(AtomicUsize::new(0)));
        let (published, counter) = (Arc::clone(&keys), Arc::clone(&asked));
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                let answer = match published.lock().unwrap().clone() {
                    Some(keys) => {
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", keys.len())
                            + "connection: close\r\n\r\n"
                            + &keys
                    }
                    None => "HTTP/1.1 503 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
                };
                answer_once(&stream.unwrap(), &answer);
            }
        });
        Self { address, keys, asked }
    }

    fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        *self.keys.lock().unwrap() = Some(json!({ "keys": keys }).to_string());
    }

    fn goes_away(&self) {
        *self.keys.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer_once(stream: &TcpStream, answer: &str) {
    let mut lines = BufReader::new(stream).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let mut writer = stream;
    // Whoever asked may have left.
    let _ = writer.write_all(answer.as_bytes());
}

struct Signer {
    id: String,
    key: KeyPair,
}

impl Signer {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), key: KeyPair::generate_for(&PKCS_ED25519).unwrap() }
    }

    fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": encode(self.key.public_key_raw()) })
    }

    fn token(&self, subject: &str) -> String {
        self.token_as(&self.id, subject)
    }

    /// Under any key id.
    fn token_as(&self, id: &str, subject: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let header = json!({ "alg": "EdDSA", "kid": id });
        let claims = json!({ "iss": "https://issuer.test", "aud": "shop", "sub": subject, "exp": now + 3600 });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        format!("{signed}.{}", encode(self.key.sign(signed.as_bytes()).unwrap()))
    }
}

/// base64url without padding (RFC 4648, 5).
fn encode(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.as_ref().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[((bits >> (18 - 6 * digit)) & 63) as usize]));
        }
    }
    text
}

/// A gateway before one backend, which takes tokens of the issuer.
struct World {
    issuer: Issuer,
    gateway: Standalone,
    address: SocketAddr,
    _backend: EchoBackend,
    _folders: [tempfile::TempDir; 2],
}

impl World {
    fn start(issuer: Issuer) -> Self {
        let backend = EchoBackend::start("app").unwrap();
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let port = free_port();
        // Whom the machine trusts is no part of the test.
        let root = rcgen::generate_simple_self_signed(["unused".to_owned()]).unwrap().cert.pem();
        let indented: String = root.lines().map(|line| format!("    {line}\n")).collect();
        let policy = format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{name: trust, namespace: default}}
data:
  ca.crt: |
{indented}---
apiVersion: portcullis.dev/v1alpha1
kind: AuthPolicy
metadata: {{name: tokens, namespace: default}}
spec:
  targetRefs: [{{kind: HTTPRoute, name: app}}]
  authentication:
    methods:
    - name: tokens
      jwt:
        issuer: https://issuer.test
        audiences: [shop]
        jwks:
          remote:
            uri: http://{}/keys
            refreshInterval: 1h
            minRefetchInterval: 1s
            tls: {{caCertificateRefs: [{{name: trust}}]}}
  identity:
    headers: [{{name: X-User, claim: sub}}]
---
",
            issuer.address
        );
        let objects = yaml::gateway(port)
            + &yaml::backend("app", backend.address)
            + &yaml::route("app", "/", "app", "app")
            + &policy;
        std::fs::write(folders[0].path().join("all.yaml"), objects).unwrap();
        let gateway = Standalone::start_ready(folders[0].path(), folders[1].path(), &[]).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { issuer, gateway, address, _backend: backend, _folders: folders }
    }

    fn ask(&self, token: &str) -> Answer {
        ask(&mut Connection::open(self.address).unwrap(), token)
    }

    /// Asks until a token is answered so.
    fn comes_to_answer(&self, token: &str, status: u16) {
        let began = Instant::now();
        loop {
            let answer = self.ask(token);
            if answer.status == status {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "still {}:\n{}", answer.status, self.gateway.log_text());
        }
    }

    fn stop(self) {
        assert!(self.gateway.terminate().unwrap().success());
    }
}

fn ask(connection: &mut Connection, token: &str) -> Answer {
    let request = format!("GET / HTTP/1.1\r\nHost: example.com\r\nAuthorization: Bearer {token}\r\n\r\n");
    connection.send(&request).unwrap()
}

#[test]
fn an_issuer_that_is_away_at_the_start_is_found_and_missed_no_more_when_it_goes() {
    let world = World::start(Issuer::start());
    let signer = Signer::new("k1");
    assert_eq!(world.ask(&signer.token("alice")).status, 503, "no keys were ever obtained: no fault of the client's");
    world.issuer.publish(&[&signer]);
    world.comes_to_answer(&signer.token("alice"), 200);
    let answer = world.ask(&signer.token("alice")).text().to_ascii_lowercase();
    assert!(answer.contains("x-user: alice\r\n") && !answer.contains("authorization"), "{answer}");
    world.issuer.goes_away();
    let asked = world.issuer.asked();
    // A key that nobody knows has it asked, in vain.
    let stranger = Signer::new("k2").token("eve");
    let began = Instant::now();
    while world.issuer.asked() == asked {
        assert_eq!(world.ask(&stranger).status, 401);
        assert!(began.elapsed() < PATIENCE);
    }
    for number in 0..100 {
        assert_eq!(world.ask(&signer.token(&format!("user-{number}"))).status, 200, "the last good keys stay");
    }
    assert_eq!(world.ask(&stranger).status, 401);
    world.stop();
}

#[test]
fn keys_rotate_under_load_and_no_request_fails() {
    let issuer = Issuer::start();
    let mut signers = vec![Arc::new(Signer::new("k0"))];
    issuer.publish(&[&signers[0]]);
    let world = World::start(issuer);
    world.comes_to_answer(&signers[0].token("alice"), 200);
    let current = Arc::new(Mutex::new(Arc::clone(&signers[0])));
    let stop = Arc::new(AtomicBool::new(false));
    // What each client has signed with last.
    let used: Vec<_> = (0..CLIENTS).map(|_| Arc::new(Mutex::new(String::new()))).collect();
    let clients: Vec<_> = (used.iter().cloned())
        .enumerate()
        .map(|(client, used)| {
            let (current, stop, address) = (Arc::clone(&current), Arc::clone(&stop), world.address);
            std::thread::spawn(move || {
                let mut answered = 0_u64;
                let mut connection = Connection::open(address).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let signer = Arc::clone(&current.lock().unwrap());
                    // One that is new, and one that is known.
                    for subject in [format!("user-{client}-{answered}"), format!("user-{client}")] {
                        let answer = ask(&mut connection, &signer.token(&subject));
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        answered += 1;
                        if answer.header("connection") == Some("close") {
                            connection = Connection::open(address).unwrap();
                        }
                    }
                    used.lock().unwrap().clone_from(&signer.id);
                }
                answered
            })
        })
        .collect();
    for rotation in 1..=ROTATIONS {
        let next = Arc::new(Signer::new(&format!("k{rotation}")));
        let before = Arc::clone(signers.last().unwrap());
        world.issuer.publish(&[&before, &next]);
        // Used at once: the first tokens have it fetched.
        world.comes_to_answer(&next.token("probe"), 200);
        *current.lock().unwrap() = Arc::clone(&next);
        let began = Instant::now();
        while used.iter().any(|used| *used.lock().unwrap() != next.id) {
            assert!(began.elapsed() < PATIENCE, "clients go on with the new key");
            std::thread::yield_now();
        }
        world.issuer.publish(&[&next]);
        // Nobody asks for what is gone: a name that nobody knows makes it be looked at.
        let probe = before.token("probe");
        let made_up = Signer::new("made-up");
        let began = Instant::now();
        while world.ask(&probe).status != 401 {
            assert_eq!(world.ask(&made_up.token("eve")).status, 401);
            assert!(began.elapsed() < PATIENCE, "the old key is still taken");
        }
        signers.push(next);
    }
    stop.store(true, Ordering::Relaxed);
    let answered: u64 = clients.into_iter().map(|client| client.join().expect("a request has failed")).sum();
    assert!(answered > 100, "the load was a load");
    println!("{answered} requests through {ROTATIONS} rotations");
    world.stop();
}

#[test]
fn thousands_of_made_up_key_ids_cause_a_fetch_per_interval_and_no_good_request_fails() {
    let issuer = Issuer::start();
    let signer = Signer::new("k1");
    issuer.publish(&[&signer]);
    let world = World::start(issuer);
    world.comes_to_answer(&signer.token("alice"), 200);
    let good = signer.token("alice");
    let eve = Signer::new("eve");
    let before = world.issuer.asked();
    let began = Instant::now();
    let mut connection = Connection::open(world.address).unwrap();
    for number in 0..MADE_UP {
        assert_eq!(ask(&mut connection, &eve.token_as(&format!("made-up-{number}"), "eve")).status, 401);
        if number % 10 == 0 {
            assert_eq!(ask(&mut connection, &good).status, 200);
        }
    }
    let passed = began.elapsed();
    // One a second (`minRefetchInterval`), and one that may have been due before.
    let allowed = 1 + usize::try_from(passed.as_secs()).unwrap() + 1;
    let fetches = world.issuer.asked() - before;
    println!("{fetches} fetches for {MADE_UP} made-up key ids in {passed:?}");
    assert!(fetches <= allowed, "{fetches} fetches in {passed:?}");
    assert_eq!(world.ask(&good).status, 200);
    world.stop();
}
