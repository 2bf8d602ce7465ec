//! Stores that are away, hung, slow, forgetful, or will not have us.

use std::time::{Duration, Instant};

use portcullis_ir as ir;

use super::fleet::{burst, connected, replica};
use super::redis::Redis;
use super::support::{Backend, Gateway, Setup, ok};
use super::world::{connection, fleet, limited, rule, store, window};

const FAILURES: &str = "portcullis_dataplane_rate_limit_store_failures_total";

fn shared(limit: u64, then: ir::OnStoreFailure) -> ir::LimitRule {
    rule("shared", &[window(limit, 3600)], |rule| {
        rule.scope = fleet(|fleet| {
            fleet.on_store_failure = then;
            fleet.store_timeout = Duration::from_millis(20);
        });
    })
}

fn single(redis: &Redis) -> ir::StoreConnection {
    connection(ir::StoreMode::Single, &[redis.address()])
}

async fn failures(gateway: &Gateway, kind: &str) -> u64 {
    let labels = format!(r#"policy_namespace="team",policy="fair-use",rule="shared",kind="{kind}""#);
    gateway.metric(&format!("{FAILURES}{{{labels}}}")).await
}

#[tokio::test]
async fn without_a_store_a_rule_does_as_it_was_told() {
    let wrong = Redis::start(&["--requirepass", "right"]);
    let full = Redis::start(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let master = Redis::start(&[]);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let with_password = ir::StoreConnection { password: Some(ir::Secret::new(b"wrong".to_vec())), ..single(&wrong) };
    let nobody = connection(ir::StoreMode::Single, &["127.0.0.1:1".to_owned()]);
    let stores = [
        ("nothing is known of it", None),
        ("nobody listens", Some(nobody)),
        ("it wants a password", Some(single(&wrong))),
        ("it wants another password", Some(with_password)),
        ("it has no memory left", Some(single(&full))),
        ("it can only be read", Some(single(&replica))),
    ];
    for (fault, to) in stores {
        for (then, admitted) in
            [(ir::OnStoreFailure::LocalShare, 20), (ir::OnStoreFailure::Allow, 80), (ir::OnStoreFailure::Deny, 0)]
        {
            let backend = Backend::answering(|_| ok("hi")).await;
            let setup = Setup::before(backend.address).resource(store(2, to.clone()));
            let gateway = limited(setup, vec![shared(40, then)]).start().await;
            assert_eq!(burst(&[&gateway], 80).await, admitted, "{fault}: {then:?}");
            assert!(gateway.metric(FAILURES).await > 0);
        }
    }
}

#[tokio::test]
async fn a_store_that_is_killed_or_hung_fails_no_request_and_is_found_again() {
    for then in [ir::OnStoreFailure::LocalShare, ir::OnStoreFailure::Allow] {
        let mut redis = Redis::start(&[]);
        let (gateway, _backend) = replica(single(&redis), 1, shared(100_000, then)).await;
        assert_eq!(burst(&[&gateway], 400).await, 400);
        redis.kill();
        assert_eq!(burst(&[&gateway], 800).await, 800, "killed, {then:?}");
        redis.run();
        let since = Instant::now();
        connected(&gateway).await;
        println!("{then:?}: found again {} ms after it was back", since.elapsed().as_millis());
        let before = redis.calls("evalsha");
        assert_eq!(burst(&[&gateway], 400).await, 400);
        assert!(redis.calls("evalsha") > before, "it is asked again");

        redis.hang();
        let since = Instant::now();
        assert_eq!(burst(&[&gateway], 800).await, 800, "hung, {then:?}");
        println!("{then:?}: 800 requests with a hung store took {} ms", since.elapsed().as_millis());
        redis.go_on();
        connected(&gateway).await;
    }
}

#[tokio::test]
async fn nobody_waits_for_a_hung_store_longer_than_the_rule_says_nor_at_all_once_the_breaker_is_open() {
    let redis = Redis::start(&[]);
    let (gateway, _backend) = replica(single(&redis), 1, shared(10, ir::OnStoreFailure::Allow)).await;
    redis.hang();
    let mut waits = Vec::new();
    for _ in 0..50 {
        let since = Instant::now();
        assert_eq!(gateway.get("/").await.status, 200);
        waits.push(since.elapsed());
    }
    let timeouts = failures(&gateway, "timeout").await;
    let open = failures(&gateway, "open").await;
    println!("{timeouts} requests waited, {open} did not; the longest of all took {:?}", waits.iter().max().unwrap());
    assert!((1..=6).contains(&timeouts), "{timeouts}");
    assert_eq!(timeouts + open, 50);
}

#[tokio::test]
async fn a_flush_or_a_restart_in_the_middle_of_a_window_gives_away_a_lease_at_the_most() {
    for restart in [false, true] {
        let mut redis = Redis::start(&[]);
        let (one, _one) = replica(single(&redis), 2, shared(500, ir::OnStoreFailure::Deny)).await;
        let (two, _two) = replica(single(&redis), 2, shared(500, ir::OnStoreFailure::Deny)).await;
        let before = burst(&[&one, &two], 400).await;
        if restart {
            redis.kill();
            redis.run();
            for gateway in [&one, &two] {
                connected(gateway).await;
            }
        } else {
            assert_eq!(redis.command("FLUSHALL"), "+OK");
        }
        let after = burst(&[&one, &two], 800).await;
        println!("restart: {restart}: {before} admitted before, {after} afterwards, of 500");
        // A lease of each replica, and what flows in while the test runs (500 an hour).
        assert!(before + after <= 500 + 2 * 5 + 2, "{before} + {after}");
        assert!(before + after >= 480, "{before} + {after}");
    }
}
