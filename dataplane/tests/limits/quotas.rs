//! What is left, for people who ask, and giving it back.

use portcullis_ir as ir;

use super::fleet::{burst, connected, replica};
use super::redis::Redis;
use super::support::{Backend, Setup, ok, soon};
use super::world::{connection, fleet, header, limited, quota, rule, store, window};

async fn remaining(gateway: &super::support::Gateway, method: &str, query: &str) -> u64 {
    let page = gateway.admin(method, &format!("/quotas?{query}")).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let page: serde_json::Value = serde_json::from_str(&page.text()).unwrap();
    page["rules"][0]["limits"][0]["remaining"].as_u64().unwrap()
}

#[tokio::test]
async fn a_quota_is_read_and_reset_by_its_key_wherever_it_is_counted() {
    let redis = Redis::start(&[]);
    for scope in [ir::LimitScope::Replica, fleet(|_| {}), fleet(|fleet| fleet.precision = ir::Precision::Exact)] {
        redis.command("FLUSHALL");
        let backend = Backend::answering(|_| ok("hi")).await;
        let monthly = rule("monthly", &[quota(10, ir::Calendar::Month)], |rule| {
            rule.key = vec![header("x-user")];
            rule.scope = scope.clone();
        });
        let setup = Setup::before(backend.address);
        let setup = setup.resource(store(1, Some(connection(ir::StoreMode::Single, &[redis.address()]))));
        let gateway = limited(setup, vec![monthly]).start().await;
        if matches!(scope, ir::LimitScope::Fleet(_)) {
            super::fleet::connected(&gateway).await;
        }
        let ask = async || {
            let mut client = gateway.connect().await;
            client.send("GET / HTTP/1.1\r\nhost: a.test\r\nx-user: ann\r\n\r\n").await;
            client.response().await.status
        };
        for _ in 0..10 {
            assert_eq!(ask().await, 200, "{scope:?}");
        }
        assert_eq!(ask().await, 429);
        let key = "policy=team/fair-use&rule=monthly&key=ann";
        assert_eq!(remaining(&gateway, "GET", key).await, 0, "{scope:?}");
        assert_eq!(remaining(&gateway, "GET", "policy=team/fair-use&rule=monthly&key=bob").await, 10);
        assert_eq!(remaining(&gateway, "DELETE", key).await, 10, "{scope:?}");
        assert_eq!(ask().await, 200);
        assert_eq!(remaining(&gateway, "GET", key).await, 9);
    }
}

#[tokio::test]
async fn a_quota_of_the_fleet_survives_the_restart_of_every_replica() {
    for precision in [ir::Precision::Leased, ir::Precision::Exact] {
        let redis = Redis::start(&[]);
        let to = connection(ir::StoreMode::Single, &[redis.address()]);
        // So large that a lease holds several units.
        let monthly = rule("shared", &[quota(10_000, ir::Calendar::Month)], |rule| {
            rule.scope = fleet(|fleet| fleet.precision = precision);
        });
        let mut spent = 0;
        for start in 0..3 {
            let replicas =
                [replica(to.clone(), 2, monthly.clone()).await, replica(to.clone(), 2, monthly.clone()).await];
            let left = remaining(&replicas[0].0, "GET", "rule=shared").await;
            assert_eq!(left, 10_000 - spent, "{precision:?}, start {start}");
            spent += burst(&[&replicas[0].0, &replicas[1].0], 400).await;
            assert_eq!(spent, 400 * (start + 1));
            for (gateway, _backend) in replicas {
                gateway.handle.drain();
                soon("the end", gateway.handle.wait()).await;
            }
        }
    }
}

/// The store's way, and the way without one.
#[tokio::test]
async fn what_a_late_rule_refuses_is_given_back_by_the_early_ones_wherever_they_count() {
    let redis = Redis::start(&[]);
    let to = connection(ir::StoreMode::Single, &[redis.address()]);
    for (precision, to) in
        [(ir::Precision::Leased, Some(to.clone())), (ir::Precision::Exact, Some(to)), (ir::Precision::Leased, None)]
    {
        redis.command("FLUSHALL");
        let backend = Backend::answering(|_| ok("hi")).await;
        let early = rule("shared", &[window(3, 744 * 3600)], |rule| {
            rule.scope = fleet(|fleet| {
                fleet.precision = precision;
                // A question that is given up counts in the store all the same, once it gets there.
                fleet.store_timeout = std::time::Duration::from_secs(5);
            });
        });
        // It looks at who the client is, so it comes after authentication.
        let late = rule("late", &[window(1, 744 * 3600)], |rule| {
            rule.key = vec![header("x-user")];
            rule.when = vec![ir::Expression("auth.subject == ''".into())];
        });
        let known = to.is_some();
        let setup = Setup::before(backend.address).resource(store(1, to));
        let gateway = limited(setup, vec![early, late]).start().await;
        if known {
            connected(&gateway).await;
        }
        let ask = async |user: &str| {
            let mut client = gateway.connect().await;
            client.send(format!("GET / HTTP/1.1\r\nhost: a.test\r\nx-user: {user}\r\n\r\n")).await;
            client.response().await.status
        };
        assert_eq!(ask("ann").await, 200);
        for _ in 0..10 {
            assert_eq!(ask("ann").await, 429);
        }
        for user in ["bob", "cid"] {
            // What was counted in the store goes back behind the answer.
            soon("what is given back", async { while ask(user).await != 200 {} }).await;
        }
        assert_eq!(ask("dan").await, 429, "{precision:?}, {known}: three in all");
    }
}

#[tokio::test]
async fn a_question_without_an_answer_says_why() {
    let backend = Backend::answering(|_| ok("hi")).await;
    let rules = vec![rule("monthly", &[quota(10, ir::Calendar::Month)], |rule| rule.key = vec![header("x-user")])];
    let gateway = limited(Setup::before(backend.address), rules).start().await;
    for (method, query, status, says) in [
        ("GET", "rule=monthly", 400, "the key has 0 parts; the rule's has 1"),
        ("GET", "rule=none&key=a", 404, "no such rule"),
        ("GET", "colour=red", 400, "`colour` is no part of the question"),
        ("DELETE", "rule=monthly&key=a", 400, "name a policy and a rule"),
        ("GET", "rule=monthly&key=a&tier=gold", 400, "there is no tier `gold`"),
    ] {
        let page = gateway.admin(method, &format!("/quotas?{query}")).await;
        assert_eq!(page.status, status, "{query}: {}", page.text());
        assert!(page.text().contains(says), "{query}: {}", page.text());
    }
    let overview = gateway.admin("GET", "/quotas").await.text();
    let overview: serde_json::Value = serde_json::from_str(&overview).unwrap();
    assert_eq!(overview["rules"][0]["limits"][0]["period"], "Month");
}
