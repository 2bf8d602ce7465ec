//! What is left, for people who ask, and giving it back.

use portcullis_ir as ir;

use super::redis::Redis;
use super::support::{Backend, Setup, ok};
use super::world::{connection, fleet, header, limited, quota, rule, store};

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
