//! Edits refill nothing.

use std::sync::Arc;

use portcullis_ir as ir;

use super::support::{Backend, Setup, ok};
use super::world::{limited, limits, rule, window};

#[tokio::test]
async fn a_hundred_edits_of_another_rule_or_another_route_refill_nothing() {
    let backend = Backend::answering(|_| ok("hi")).await;
    let rules = |edit: u64| {
        vec![rule("first", &[window(3, 3600)], |_| {}), rule("other", &[window(1000 + edit, 3600)], |_| {})]
    };
    let mut gateway = limited(Setup::before(backend.address), rules(0)).start().await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    for edit in 1..=100 {
        gateway
            .apply(|snapshot| {
                if edit % 2 == 0 {
                    only_listener(snapshot).limits = limits(rules(edit));
                } else {
                    let mut route = (**snapshot.config.routes.values().next().unwrap()).clone();
                    route.key = ir::RouteKey::http("test", "another", 0);
                    route.matches = vec![super::support::gateway::prefix(&format!("/another/{edit}"))];
                    snapshot.insert(ir::Resource::Route(Arc::new(route)));
                }
            })
            .await;
        assert_eq!(gateway.get("/").await.status, 429, "after {edit} edits");
    }
    // A limit that was raised has what it was raised by.
    gateway
        .apply(|snapshot| {
            let rules = vec![rule("first", &[window(5, 3600)], |_| {}), rule("other", &[window(2000, 3600)], |_| {})];
            only_listener(snapshot).limits = limits(rules);
        })
        .await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(gateway.get("/").await.status);
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn series_go_with_the_policy() {
    let backend = Backend::answering(|_| ok("hi")).await;
    let mut gateway =
        limited(Setup::before(backend.address), vec![rule("first", &[window(3, 3600)], |_| {})]).start().await;
    gateway.get("/").await;
    let series = "portcullis_dataplane_rate_limit_requests_total";
    gateway.counts(series, 1).await;
    gateway.apply(|snapshot| only_listener(snapshot).limits = None).await;
    gateway.get("/").await;
    gateway.counts(series, 0).await;
}

fn only_listener(snapshot: &mut ir::Snapshot) -> &mut ir::Listener {
    let key = snapshot.config.listeners.keys().next().unwrap().clone();
    Arc::make_mut(snapshot.config.listeners.get_mut(&key).unwrap())
}
