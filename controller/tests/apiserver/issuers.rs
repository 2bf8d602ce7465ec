//! The keys of issuers: fetched by one replica, compiled by all, and kept when nobody can fetch them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams};
use portcullis_apiserver::{Mark, until};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::{Running, World};

#[derive(Clone, Debug)]
enum Says {
    Keys(String),
    Status(u16),
    Nothing,
    FiftyMegabytes,
}

/// An issuer whose answers the test decides.
struct Issuer {
    address: SocketAddr,
    says: watch::Sender<Says>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (says, said) = watch::channel(says);
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let says = said.borrow().clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    let (status, body) = match says {
                        Says::Keys(text) => (200, text),
                        Says::Status(status) => (status, String::new()),
                        Says::FiftyMegabytes => (200, "x".repeat(50 << 20)),
                        Says::Nothing => return std::future::pending().await,
                    };
                    let length = body.len();
                    let text =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                    // Whoever asked may have had enough.
                    let _ = stream.write_all(text.as_bytes()).await;
                });
            }
        });
        Self { address, says, asked }
    }
}

/// A public key; one of its members is somebody's leak.
fn keys(id: &str) -> Says {
    let x = "x".repeat(42) + "w";
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "d": "private" });
    Says::Keys(json!({ "keys": [key], "other": 1 }).to_string())
}

/// A policy of tokens, and whom its issuer is trusted by: whom the machine trusts is no part of the test.
async fn policy(world: &World, name: &str, issuer: &Issuer) {
    let root = rcgen::generate_simple_self_signed(["unused".to_owned()]).unwrap().cert.pem();
    let trust = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "trust" },
        "data": { "ca.crt": root } });
    let remote = json!({ "uri": format!("http://{}/{name}", issuer.address), "refreshInterval": "10s",
        "minRefetchInterval": "1s", "tls": { "caCertificateRefs": [{ "name": "trust" }] } });
    let method = json!({ "name": "tokens", "jwt": { "issuer": "https://id.example", "jwks": { "remote": remote } } });
    let policy = json!({ "apiVersion": "portcullis.dev/v1alpha1", "kind": "AuthPolicy", "metadata": { "name": name },
        "spec": { "targetRefs": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw" }],
            "authentication": { "methods": [method] } } });
    if world.get("ConfigMap", "trust").await.is_none() {
        world.apply(&trust.to_string()).await;
    }
    world.apply(&policy.to_string()).await;
}

/// What stands of issuers beside the controller.
async fn written(world: &World) -> Vec<ConfigMap> {
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.system());
    api.list(&ListParams::default().labels("portcullis.dev/issuers=portcullis-controller")).await.unwrap().items
}

async fn until_written(world: &World, words: &str) -> ConfigMap {
    let found = until(words, async || match written(world).await.as_slice() {
        [one] if one.data.as_ref().is_some_and(|data| data.values().any(|value| value.contains(words))) => {
            Ok(one.clone())
        }
        others => Err(format!("{others:?}")),
    });
    found.await
}

/// Waits until two replicas have compiled the same, and something else than `before`.
async fn until_same(one: &Running, other: &Running, before: &str) -> String {
    until("both replicas have compiled the same", async || {
        match (one.live_digest("issuers", "gw"), other.live_digest("issuers", "gw")) {
            (Some(one), Some(other)) if one == other && one != before => Ok(one),
            different => Err(format!("{different:?}")),
        }
    })
    .await
}

async fn until_said(world: &World, policy: &str, words: &str) {
    world.until("AuthPolicy", policy, words, |policy| policy["status"].to_string().contains(words)).await;
}

const MISSING: &str = "no keys are known of http://";

/// Waits until nothing is said to be missing any more.
async fn until_whole(world: &World, policy: &str) {
    let whole = |policy: &serde_json::Value| {
        let said = policy["status"].to_string();
        said.contains("the policy is valid") && !said.contains(MISSING)
    };
    world.until("AuthPolicy", policy, "nothing is missing", whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fetches_all_compile_the_same_and_what_was_good_outlives_issuer_and_replicas() {
    let world = World::new("issuers").await;
    let issuer = Issuer::start(keys("first")).await;
    let (first, _first_proxy) = world.controller().await;
    let second_proxy = world.proxy();
    let second = world.replica(&second_proxy, "b").await;
    second.is_ready().await;
    world.gateway().await;
    let without = until_same(&first, &second, "").await;
    policy(&world, "tokens", &issuer).await;
    let object = until_written(&world, "first").await;
    let data = object.data.unwrap();
    assert!(data["issuer"].starts_with(&format!("http://{}/tokens", issuer.address)), "{data:?}");
    assert!(!format!("{data:?}").contains("private"), "{data:?}");
    until_whole(&world, "tokens").await;
    let with_first = until_same(&first, &second, &without).await;
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "one of two asks");
    assert_eq!(second_proxy.writes_since(Mark::start()), [], "who does not lead writes nothing");

    // A rotation reaches both.
    issuer.says.send_replace(keys("second"));
    until_written(&world, "second").await;
    let with_second = until_same(&first, &second, &with_first).await;

    // The issuer is down, the leader goes, and a replica that never fetched anything starts.
    issuer.says.send_replace(Says::Status(503));
    first.shutdown().await;
    second.leads().await;
    let third_proxy = world.proxy();
    let third = world.replica(&third_proxy, "c").await;
    third.is_ready().await;
    let asked = issuer.asked.load(Ordering::SeqCst);
    until("the new leader asks, too", async || match issuer.asked.load(Ordering::SeqCst) {
        now if now > asked => Ok(()),
        now => Err(now.to_string()),
    })
    .await;
    assert_eq!(until_same(&second, &third, &without).await, with_second, "the last good keys count");
    until_whole(&world, "tokens").await;
    until_written(&world, "second").await;
    third.shutdown().await;

    // Nobody names it any more.
    world.delete("AuthPolicy", "tokens").await;
    until("what nobody needs is taken away", async || match written(&world).await.len() {
        0 => Ok(()),
        left => Err(left.to_string()),
    })
    .await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_the_keys_is_told_and_the_policy_is_whole_when_they_come() {
    let world = World::new("badkeys").await;
    let (running, _proxy) = world.controller().await;
    world.gateway().await;
    let unusable = json!({ "keys": [
        { "kty": "oct", "k": "c2VjcmV0" }, { "kty": "OKP", "crv": "Ed25519", "x": "eA" }, { "kty": "XY" }, 7,
    ] });
    for (name, says) in [
        ("down", Says::Status(503)),
        ("hung", Says::Nothing),
        ("large", Says::FiftyMegabytes),
        ("garbage", Says::Keys("<html>".to_owned())),
        ("unusable", Says::Keys(unusable.to_string())),
    ] {
        let issuer = Issuer::start(says).await;
        policy(&world, name, &issuer).await;
        let failed = "portcullis_controller_issuers_failed_total";
        let before = running.metric(failed).await.unwrap_or_default();
        until("the fetch has failed", async || match running.metric(failed).await {
            Some(now) if now > before => Ok(()),
            now => Err(format!("{name}: {now:?}")),
        })
        .await;
        world.settles("AuthPolicy", name, "Accepted=True:Accepted").await;
        until_said(&world, name, MISSING).await;
        until_said(&world, name, "is http: whoever is on the way").await;
        assert_eq!(running.metric("portcullis_controller_issuers_without_keys").await, Some(1.0), "{name}");
        assert_eq!(written(&world).await, [], "{name}");
        issuer.says.send_replace(keys("good"));
        until_written(&world, "good").await;
        until_whole(&world, name).await;
        // From now on the last good ones stay, whatever is answered.
        world.delete("AuthPolicy", name).await;
        until("it is taken away", async || match written(&world).await.len() {
            0 => Ok(()),
            left => Err(left.to_string()),
        })
        .await;
    }
    running.shutdown().await;
}
