//! F14: made-up tokens beside good ones. What is counted is asserted; what it costs is printed. And what a worker spends on
//! wrong signatures is bounded.
//!
//! ```sh
//! cargo test --release -p portcullis-dataplane --test auth flood::a_flood -- --nocapture
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, LazyLock};

use portcullis_dataplane::Settings;
use portcullis_ir as ir;
use portcullis_ir::Resource;

use crate::plane::settings;
use crate::support::{Client, soon};
use crate::tokens::{Signer, encode, key_set};
use crate::world::{SIGNER, World, ask_on, authorization, claims, enforce, jwt, jwt_with, policy};

/// Of each part and kind.
const REQUESTS: usize = 5000;

/// Processor time of the workers so far, in nanoseconds: what the data plane spends on requests, whoever else runs here.
fn spent(workers: &BTreeSet<String>) -> u64 {
    let of = |thread: &String| {
        // Beside other tests there may be a thread of theirs among them, which ends: run it alone for its figures.
        let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or_default()
    };
    workers.iter().map(of).sum()
}

fn threads() -> BTreeSet<String> {
    fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().file_name().into_string().unwrap()).collect()
}

fn only(threads: BTreeSet<String>, name: &str) -> BTreeSet<String> {
    let of = |thread: &String| fs::read_to_string(format!("/proc/self/task/{thread}/comm")).unwrap_or_default();
    let is = |thread: &String| of(thread).starts_with(name);
    threads.into_iter().filter(is).collect()
}

/// A part of the test: good requests, made-up ones, or one after the other.
struct Part<'a> {
    good: Option<Vec<String>>,
    flood: Option<&'a dyn Fn(usize) -> String>,
}

impl Part<'_> {
    /// Microseconds of processor time of each round.
    async fn cost(&self, world: &World, workers: &BTreeSet<String>) -> f64 {
        let mut client = Client::connect(world.address()).await;
        let before = spent(workers);
        for number in 0..REQUESTS {
            if let Some(flood) = self.flood {
                let made_up = authorization("Bearer", &flood(number));
                assert_eq!(ask_on(&mut client, "/", &[made_up]).await.status, 401);
            }
            if let Some(good) = &self.good {
                assert_eq!(ask_on(&mut client, "/", good).await.status, 200);
            }
        }
        // Less than any test has requests; exact enough to be printed.
        #[allow(clippy::cast_precision_loss)]
        let each = spent(workers).saturating_sub(before) as f64 / REQUESTS as f64 / 1000.0;
        each
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_made_up_tokens_is_turned_away_and_good_ones_go_on() {
    let others = threads();
    let mut world = World::with(Settings { workers: 1, ..settings() }).await;
    // A thread takes its name when it first runs, which may be after it was asked for.
    let mut workers = BTreeSet::new();
    soon("the threads that serve requests", async {
        while workers.is_empty() {
            tokio::task::yield_now().await;
            workers = only(threads().difference(&others).cloned().collect(), "worker");
        }
    })
    .await;
    let key = ir::IssuerKey("https://issuer.test/keys".into());
    let issuer = ir::Issuer { key: key.clone(), keys: Some(key_set(&[&SIGNER]).into()), discovery: None };
    let rule = world.rule("/", enforce(policy(vec![jwt_with(ir::JwtKeys::Issuer(key))])));
    world.put([rule, Resource::Issuer(Arc::new(issuer))]).await;

    let other = Signer::other_rsa("k1");
    let (content, signature) = (encode(claims().to_string()), encode([7; 256]));
    let token = |header: &serde_json::Value| format!("{}.{content}.{signature}", encode(header.to_string()));
    let named = |number: usize| {
        let mut header = other.header();
        header["kid"] = format!("made-up-{number}").into();
        token(&header)
    };
    let signed = |number: usize| {
        let mut header = other.header();
        header["typ"] = format!("{number}").into();
        token(&header)
    };
    let good = || Some(vec![authorization("Bearer", &SIGNER.token(&claims()))]);
    let alone = Part { good: good(), flood: None }.cost(&world, &workers).await;
    println!("processor time of the data plane for a good request: {alone:.1} us alone");
    let kinds: [(&str, &dyn Fn(usize) -> String); 2] = [("made-up key ids", &named), ("wrong signatures", &signed)];
    for (what, flood) in kinds {
        let both = Part { good: good(), flood: Some(flood) }.cost(&world, &workers).await;
        // Others than before: what was found out about those is remembered.
        let others = |number: usize| flood(REQUESTS + number);
        let itself = Part { good: None, flood: Some(&others) }.cost(&world, &workers).await;
        let beside = both - itself;
        println!(
            "beside as many tokens with {what}: {beside:.1} us ({:.2}x), and {itself:.1} us for each of those",
            beside / alone
        );
    }
    let metrics = world.plane.admin("/metrics").await.body;
    let of = |outcome: &str| {
        let series = format!("method=\"jwt\",outcome=\"{outcome}\"}} ");
        let line = metrics.lines().find(|line| line.contains(&series)).unwrap_or_else(|| panic!("{outcome}"));
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!((of("unknown_key"), of("signature")), (2 * REQUESTS, 2 * REQUESTS));
    assert_eq!(of("accepted"), 3 * REQUESTS);
    world.plane.stop().await;
}

/// Tokens that were judged elsewhere than on their worker.
async fn elsewhere(world: &World) -> usize {
    let metrics = world.plane.admin("/metrics").await.body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("portcullis_dataplane_auth_flood_tokens_total "));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn world_that_checks(wrong_signatures: u32) -> World {
    let mut settings = Settings { workers: 1, ..settings() };
    settings.limits.max_wrong_signatures = wrong_signatures;
    let mut world = World::with(settings).await;
    let rule = world.rule("/", enforce(policy(vec![jwt()])));
    world.put([rule]).await;
    world
}

/// Signed by somebody else under the name of the issuer's key.
fn wrong(number: usize) -> String {
    static OTHER: LazyLock<Signer> = LazyLock::new(|| Signer::other_rsa("k1"));
    let mut claims = claims();
    claims["jti"] = number.into();
    authorization("Bearer", &OTHER.token(&claims))
}

#[tokio::test]
async fn beyond_so_many_wrong_signatures_strangers_are_judged_off_the_worker_and_to_the_letter() {
    let world = world_that_checks(0).await;
    let mut client = Client::connect(world.address()).await;
    let good = |number: usize| {
        let mut claims = claims();
        claims["jti"] = number.into();
        authorization("Bearer", &SIGNER.token(&claims))
    };
    let mut expired = claims();
    expired["exp"] = 1.into();
    let expired = authorization("Bearer", &SIGNER.token(&expired));
    for (what, token, status, judged) in [
        ("a good one", good(1), 200, 1),
        ("the same, which is known", good(1), 200, 1),
        ("another good one", good(2), 200, 2),
        ("a wrong signature", wrong(1), 401, 3),
        ("the same, which is known", wrong(1), 401, 3),
        ("an end that has passed", expired, 401, 4),
        ("no token", "x-none: x".to_owned(), 401, 4),
    ] {
        assert_eq!(ask_on(&mut client, "/", &[token]).await.status, status, "{what}");
        assert_eq!(elsewhere(&world).await, judged, "{what}");
    }
    world.plane.stop().await;
}

#[tokio::test]
async fn a_worker_that_has_spent_enough_on_wrong_signatures_spends_no_more() {
    let world = world_that_checks(3).await;
    let mut client = Client::connect(world.address()).await;
    let mut sent = 0;
    // All three have to come in one second, which they do sooner or later.
    while elsewhere(&world).await == 0 {
        assert!(sent < 1000, "it went on checking them");
        assert_eq!(ask_on(&mut client, "/", &[wrong(sent)]).await.status, 401);
        sent += 1;
    }
    assert!(sent > 3, "{sent}");
    world.plane.stop().await;
}
