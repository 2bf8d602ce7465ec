//! Stores that are away, hung, slow, forgetful, or will not have us.

use std::time::{Duration, Instant};

use portcullis_ir as ir;

use super::fleet::{burst, connected, replica, timed_burst};
use super::redis::{Redis, Relay};
use super::support::{Backend, Gateway, Setup, ok, soon};
use super::world::{connection, fleet, limited, rule, store, window};

const ALLOWED: &str = "portcullis_dataplane_rate_limit_requests_total{policy_namespace=\"team\",policy=\"fair-use\",rule=\"shared\",outcome=\"allowed\"}";
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
        ("unknown", "no store is configured", None),
        ("connect", "the store cannot be reached", Some(nobody)),
        // It wants one, and it wants another.
        ("credentials", "the store refuses the credentials", Some(single(&wrong))),
        ("credentials", "the store refuses the credentials", Some(with_password)),
        ("memory", "the store is out of memory", Some(single(&full))),
        ("read_only", "the store is read-only", Some(single(&replica))),
    ];
    for (kind, says, to) in stores {
        for (then, admitted) in
            [(ir::OnStoreFailure::LocalShare, 20), (ir::OnStoreFailure::Allow, 80), (ir::OnStoreFailure::Deny, 0)]
        {
            let backend = Backend::answering(|_| ok("hi")).await;
            let setup = Setup::before(backend.address).resource(store(2, to.clone()));
            let gateway = limited(setup, vec![shared(40, then)]).start().await;
            // It takes a moment to find out; what comes meanwhile is counted as no connection.
            soon(kind, async {
                while failures(&gateway, kind).await == 0 {
                    let page = gateway.admin("GET", "/quotas?rule=shared").await;
                    assert_eq!(page.status, 503, "{}", page.text());
                    if page.text().starts_with(says) {
                        assert_eq!(burst(&[&gateway], 80).await, admitted, "{kind}: {then:?}");
                    }
                }
            })
            .await;
            assert_eq!(failures(&gateway, kind).await, 80);
        }
    }
}

/// What happens to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Hung,
    Slow,
}

impl Fault {
    fn begin(self, redis: &mut Redis, relay: &Relay) {
        match self {
            Self::Killed => redis.kill(),
            Self::Hung => redis.hang(),
            // Thirty times as long as anybody waits: a machine that stalls must not make up for it.
            Self::Slow => relay.delay(Duration::from_millis(600)),
        }
    }

    fn end(self, redis: &mut Redis, relay: &Relay) {
        match self {
            Self::Killed => redis.run(),
            Self::Hung => redis.go_on(),
            Self::Slow => relay.delay(Duration::ZERO),
        }
    }
}

fn percent(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() - 1) * percent / 100]
}

#[tokio::test]
async fn a_store_that_is_killed_hung_or_slow_under_load_fails_no_request_and_is_found_again() {
    for then in [ir::OnStoreFailure::LocalShare, ir::OnStoreFailure::Allow] {
        for precision in [ir::Precision::Leased, ir::Precision::Exact] {
            let mut redis = Redis::start(&[]);
            let relay = Relay::start(redis.port);
            let to = connection(ir::StoreMode::Single, &[relay.address()]);
            let shared = rule("shared", &[window(1_000_000, 3600)], |rule| {
                rule.scope = fleet(|fleet| {
                    (fleet.on_store_failure, fleet.precision) = (then, precision);
                    fleet.store_timeout = Duration::from_millis(20);
                });
            });
            let (gateway, _backend) = replica(to, 1, shared).await;
            for fault in [Fault::Killed, Fault::Hung, Fault::Slow] {
                let what = format!("{fault:?}, {precision:?}, {then:?}");
                let (healthy, before) = timed_burst(&[&gateway], 400).await;
                let allowed = gateway.metric(ALLOWED).await;
                let gateways = [&gateway];
                let (all, ()) = tokio::join!(timed_burst(&gateways, 2000), async {
                    while gateway.metric(ALLOWED).await < allowed + 500 {}
                    fault.begin(&mut redis, &relay);
                });
                let (admitted, during) = all;
                // The breaker is open.
                let (after, open) = timed_burst(&[&gateway], 400).await;
                println!(
                    "{what}: p50 {:?} before, {:?} with an open breaker; the longest of all {:?}",
                    percent(&before, 50),
                    percent(&open, 50),
                    percent(&during, 100),
                );
                assert_eq!((healthy, admitted, after), (400, 2000, 400), "{what}: none fails");
                fault.end(&mut redis, &relay);
                let since = Instant::now();
                connected(&gateway).await;
                println!("{what}: found again {} ms after it was back", since.elapsed().as_millis());
                let asked = redis.calls("evalsha") + redis.calls("eval");
                assert_eq!(burst(&[&gateway], 400).await, 400);
                assert!(redis.calls("evalsha") + redis.calls("eval") > asked, "{what}: it is asked again");
            }
        }
    }
}

#[tokio::test]
async fn a_rule_that_denies_without_a_store_denies_as_it_was_told_whatever_is_wrong_with_it() {
    let mut redis = Redis::start(&[]);
    let relay = Relay::start(redis.port);
    let to = connection(ir::StoreMode::Single, &[relay.address()]);
    let backend = Backend::answering(|_| ok("hi")).await;
    let denies = rule("shared", &[window(1_000_000, 3600)], |rule| {
        rule.response.status = 503;
        rule.response.body = Some("no counting today".into());
        rule.scope = fleet(|fleet| {
            fleet.precision = ir::Precision::Exact;
            fleet.on_store_failure = ir::OnStoreFailure::Deny;
            // Longer than a busy machine stalls.
            fleet.store_timeout = Duration::from_millis(500);
        });
    });
    let setup = Setup::before(backend.address).resource(store(1, Some(to)));
    let gateway = limited(setup, vec![denies]).start().await;
    connected(&gateway).await;
    for fault in [Fault::Killed, Fault::Hung, Fault::Slow] {
        assert_eq!(gateway.get("/").await.status, 200, "before it was {fault:?}");
        fault.begin(&mut redis, &relay);
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let since = Instant::now();
            let refused = gateway.get("/").await;
            longest = longest.max(since.elapsed());
            assert_eq!((refused.status, refused.text().as_str()), (503, "no counting today"), "{fault:?}");
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
        println!("{fault:?}: the longest of 20 refusals took {longest:?}");
        fault.end(&mut redis, &relay);
        connected(&gateway).await;
    }
}

#[tokio::test]
async fn no_more_than_a_few_wait_for_a_hung_store_one_after_the_other() {
    let redis = Redis::start(&[]);
    let (gateway, _backend) = replica(single(&redis), 1, shared(10, ir::OnStoreFailure::Allow)).await;
    redis.hang();
    let mut waits = Vec::new();
    for _ in 0..50 {
        let since = Instant::now();
        assert_eq!(gateway.get("/").await.status, 200);
        waits.push(since.elapsed());
    }
    waits.sort_unstable();
    println!("the longest of 50: {:?}, the fifth longest {:?}", waits[49], waits[45]);
    assert_eq!(failures(&gateway, "timeout").await, 50, "each is told why, those that did not wait too");
}

#[tokio::test]
async fn a_password_that_is_changed_on_both_sides_lets_the_counts_go_on() {
    let redis = Redis::start(&["--requirepass", "old"]);
    let with = |password: &str| {
        let password = Some(ir::Secret::new(password.as_bytes().to_vec()));
        ir::StoreConnection { password, ..single(&redis) }
    };
    let exact = |rule: &mut ir::LimitRule| {
        rule.scope = fleet(|fleet| {
            fleet.precision = ir::Precision::Exact;
            fleet.on_store_failure = ir::OnStoreFailure::Deny;
        });
    };
    let (mut gateway, _backend) = replica(with("old"), 1, rule("shared", &[window(5, 744 * 3600)], exact)).await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(redis.say("old", "CONFIG SET requirepass new"), "OK");
    redis.say("new", "CLIENT KILL TYPE normal SKIPME yes");
    soon("the refusal of the old password", async {
        while failures(&gateway, "credentials").await == 0 {
            assert_eq!(gateway.get("/").await.status, 429);
        }
    })
    .await;
    gateway.apply(|snapshot| drop(snapshot.insert(store(1, Some(with("new")))))).await;
    connected(&gateway).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(gateway.get("/").await.status);
    }
    assert_eq!(statuses, [200, 200, 429], "three of five were spent under the old password");
}

#[tokio::test]
async fn a_script_that_the_store_has_forgotten_is_loaded_again() {
    let redis = Redis::start(&[]);
    let (gateway, _backend) = replica(single(&redis), 1, shared(10, ir::OnStoreFailure::Deny)).await;
    for admitted in 0..10 {
        assert_eq!(gateway.get("/").await.status, 200, "after {admitted}");
        assert_eq!(redis.command("SCRIPT FLUSH"), "+OK");
    }
    assert_eq!(gateway.get("/").await.status, 429);
}

#[tokio::test]
async fn a_master_that_dies_is_followed_by_the_replica_that_its_sentinel_promotes() {
    let mut master = Redis::start(&[]);
    let second = Redis::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinel = Redis::sentinel(&master);
    let to = connection(ir::StoreMode::Sentinel("main".into()), &[sentinel.address()]);
    let exact = |rule: &mut ir::LimitRule| {
        rule.scope = fleet(|fleet| {
            fleet.precision = ir::Precision::Exact;
            fleet.on_store_failure = ir::OnStoreFailure::Deny;
        });
    };
    let (gateway, _backend) = replica(to, 1, rule("shared", &[window(10, 744 * 3600)], exact)).await;
    soon("the sentinel to know the replica", async {
        while !sentinel.say("", "SENTINEL REPLICAS main").contains(&second.port.to_string()) {}
    })
    .await;
    for _ in 0..6 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    master.kill();
    let mut statuses = Vec::new();
    soon("the promotion", async {
        while statuses.iter().filter(|status| **status == 200).count() < 4 {
            statuses.push(gateway.get("/").await.status);
        }
    })
    .await;
    assert!(statuses.iter().all(|status| [200, 429].contains(status)));
    assert_eq!(gateway.get("/").await.status, 429, "what was spent at the old master is spent");
    assert_eq!(second.say("", "ROLE").lines().next(), Some("master"));
}

#[tokio::test]
async fn who_began_a_count_does_not_forget_what_others_added_when_it_is_flushed() {
    let exact = |rule: &mut ir::LimitRule| rule.scope = fleet(|fleet| fleet.precision = ir::Precision::Exact);
    for who_asks_first in [0, 1] {
        let redis = Redis::start(&[]);
        let limited = || rule("shared", &[window(10, 744 * 3600)], exact);
        let (one, _one) = replica(single(&redis), 2, limited()).await;
        let (two, _two) = replica(single(&redis), 2, limited()).await;
        for gateway in [&one, &one, &one, &two, &two, &two, &two] {
            assert_eq!(gateway.get("/").await.status, 200);
        }
        assert_eq!(redis.command("FLUSHALL"), "+OK");
        let [first, second] = if who_asks_first == 0 { [&one, &two] } else { [&two, &one] };
        assert_eq!(first.get("/").await.status, 200, "one is let pass at once");
        assert_eq!(second.get("/").await.status, 429, "and no other until all may have said what they know");
        tokio::time::sleep(Duration::from_millis(250)).await;
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(first.get("/").await.status);
        }
        assert_eq!(statuses, [200, 200, 429], "seven, one, and two");
    }
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
        // No more than a quarter is granted until both had the time to say what they know.
        let mut after = burst(&[&one, &two], 400).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        after += burst(&[&one, &two], 400).await;
        println!("restart: {restart}: {before} admitted before, {after} afterwards, of 500");
        // A lease of each replica, and what flows in while the test runs (500 an hour).
        assert!(before + after <= 500 + 2 * 5 + 2, "{before} + {after}");
        assert!(before + after >= 480, "{before} + {after}");
    }
}
