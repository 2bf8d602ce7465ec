//! The fetcher against issuers that move, hang, answer nonsense or are not there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_ir::{Issuer, IssuerKey};
use portcullis_issuers::{Fetcher, Found, Handle};
use portcullis_translate::{IssuerLocation, IssuerSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

#[derive(Clone, Debug)]
enum Answer {
    Text(String),
    Status(u16),
    Hang,
    Endless,
}

/// An issuer whose answers change while it runs.
struct Server {
    address: SocketAddr,
    answer: watch::Sender<Answer>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, current) = watch::channel(answer);
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (current, counter) = (current.clone(), Arc::clone(&counter));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    counter.fetch_add(1, Ordering::SeqCst);
                    let head = String::from_utf8(head).unwrap();
                    let answer = current.borrow().clone();
                    let (status, body) = match answer {
                        Answer::Text(text) => (200, text),
                        Answer::Status(status) => (status, String::new()),
                        Answer::Hang => std::future::pending().await,
                        Answer::Endless => (200, "x".repeat(50 << 20)),
                    };
                    let body = if head.starts_with("GET /.well-known/openid-configuration ") {
                        metadata(address)
                    } else {
                        body
                    };
                    let length = body.len();
                    let text =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                    let _ = stream.write_all(text.as_bytes()).await;
                });
            }
        });
        Self { address, answer, asked }
    }

    fn source(&self) -> IssuerSource {
        let location = IssuerLocation::Keys(format!("http://{}/keys", self.address).into());
        let mut source = IssuerSource::new(location, Vec::new());
        source.insecure = true;
        source.roots = vec![root()];
        source
    }
}

fn metadata(address: SocketAddr) -> String {
    format!(
        r#"{{"issuer": "http://{address}", "jwks_uri": "http://{address}/keys",
        "authorization_endpoint": "http://{address}/auth", "token_endpoint": "http://{address}/token"}}"#
    )
}

/// Any; the machine that runs the tests may have none of its own.
fn root() -> Box<[u8]> {
    rcgen::generate_simple_self_signed(["unused".to_owned()]).unwrap().cert.der().to_vec().into()
}

fn set(kid: &str) -> Answer {
    let x = "x".repeat(42) + "w";
    Answer::Text(format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{x}", "kid": "{kid}"}}]}}"#))
}

fn start(source: &IssuerSource, seeds: BTreeMap<IssuerKey, (Arc<Issuer>, Duration)>) -> Handle {
    let (fetcher, handle) = Fetcher::new(seeds);
    tokio::spawn(fetcher.run());
    handle.set_sources(&BTreeMap::from([(source.key.clone(), source.clone())]));
    handle
}

fn keys(found: &BTreeMap<IssuerKey, Found>, source: &IssuerSource) -> Option<Arc<str>> {
    found.get(&source.key)?.issuer.keys.clone()
}

async fn until_keys(handle: &Handle, source: &IssuerSource, is: impl Fn(Option<&str>) -> bool) {
    handle.found().wait_for(|found| is(keys(found, source).as_deref())).await.unwrap();
}

async fn until_failed(handle: &Handle, times: u64) {
    while handle.stats().failed.load(Ordering::Relaxed) < times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_rotation_is_found_because_somebody_asked() {
    let server = Server::start(set("old")).await;
    let mut source = server.source();
    source.min_refetch = Duration::from_millis(1);
    let handle = start(&source, BTreeMap::new());
    until_keys(&handle, &source, |keys| keys.is_some_and(|keys| keys.contains("old"))).await;
    server.answer.send_replace(set("new"));
    handle.wanting().want(source.key.clone());
    until_keys(&handle, &source, |keys| keys.is_some_and(|keys| keys.contains("new"))).await;
    assert_eq!(server.asked.load(Ordering::SeqCst), 2, "an hour may pass until the next one");
}

#[tokio::test]
async fn a_flood_of_questions_is_one_fetch() {
    let server = Server::start(set("old")).await;
    let source = server.source();
    let handle = start(&source, BTreeMap::new());
    until_keys(&handle, &source, |keys| keys.is_some()).await;
    for _ in 0..20_000 {
        handle.wanting().want(source.key.clone());
        tokio::task::yield_now().await;
    }
    assert!(handle.stats().wanted.load(Ordering::Relaxed) > 0);
    assert_eq!(server.asked.load(Ordering::SeqCst), 1, "the next one may begin in half a minute");
}

#[tokio::test]
async fn whatever_goes_wrong_the_last_good_keys_stay() {
    let wrong = [
        Answer::Status(500),
        Answer::Hang,
        Answer::Endless,
        Answer::Text("garbage".to_owned()),
        Answer::Text(r#"{"keys": []}"#.to_owned()),
        Answer::Text(r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "eA", "kid": "unusable"}]}"#.to_owned()),
    ];
    for answer in wrong {
        let server = Server::start(set("good")).await;
        let mut source = server.source();
        source.min_refetch = Duration::from_millis(1);
        source.timeout = Duration::from_secs(2);
        let handle = start(&source, BTreeMap::new());
        until_keys(&handle, &source, |keys| keys.is_some()).await;
        server.answer.send_replace(answer.clone());
        handle.wanting().want(source.key.clone());
        until_failed(&handle, 1).await;
        let found = handle.found().borrow().clone();
        assert!(keys(&found, &source).is_some_and(|keys| keys.contains("good")), "{answer:?}");
        server.answer.send_replace(set("better"));
        until_keys(&handle, &source, |keys| keys.is_some_and(|keys| keys.contains("better"))).await;
    }
}

#[tokio::test]
async fn keys_that_cannot_be_renewed_are_dropped_when_they_are_too_old() {
    let server = Server::start(Answer::Status(503)).await;
    let mut source = server.source();
    source.max_stale = Duration::from_secs(3600);
    let seed = Issuer { key: source.key.clone(), keys: Some("seed".into()), discovery: None };
    let age = source.max_stale.checked_sub(Duration::from_millis(300)).unwrap();
    let handle = start(&source, BTreeMap::from([(source.key.clone(), (Arc::new(seed), age))]));
    until_keys(&handle, &source, |keys| keys == Some("seed")).await;
    handle.found().wait_for(|found| found.get(&source.key).is_some_and(|one| one.issuer.keys.is_none())).await.unwrap();
    assert_eq!(handle.stats().without_keys.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_is_found_when_it_comes() {
    let server = Server::start(Answer::Status(503)).await;
    let source = server.source();
    let handle = start(&source, BTreeMap::new());
    until_failed(&handle, 1).await;
    assert!(handle.found().borrow().is_empty());
    server.answer.send_replace(set("good"));
    until_keys(&handle, &source, |keys| keys.is_some()).await;
}

#[tokio::test]
async fn a_provider_is_discovered_by_its_own_name_alone() {
    let server = Server::start(set("good")).await;
    for (issuer, is_found) in
        [(format!("http://{}", server.address), true), (format!("http://{}/", server.address), false)]
    {
        let mut source = IssuerSource::new(IssuerLocation::Issuer(issuer.into()), vec![root()]);
        source.insecure = true;
        let handle = start(&source, BTreeMap::new());
        if is_found {
            until_keys(&handle, &source, |keys| keys.is_some()).await;
            let found = handle.found().borrow().clone();
            let discovery = found[&source.key].issuer.discovery.clone().unwrap();
            assert!(discovery.token_endpoint.ends_with("/token"));
        } else {
            until_failed(&handle, 1).await;
        }
    }
}

#[tokio::test]
async fn plain_http_is_fetched_only_where_somebody_asked_for_it() {
    let server = Server::start(set("good")).await;
    let mut source = server.source();
    source.insecure = false;
    let handle = start(&source, BTreeMap::new());
    until_failed(&handle, 1).await;
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
}
