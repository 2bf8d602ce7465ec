//! What holds for any policies: the memo and the order of events change nothing, and a corrupted policy changes nothing
//! but what it is attached to.

use std::sync::Arc;

use portcullis_translate::{Inputs, Memo, Settings, translate};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::Config;

use crate::world::{GATEWAY, PAY, ROUTE, WEB, aged, fresh, put, references, snapshot, world};

const STRATEGIES: [&str; 4] = ["AtomicDefaults", "PatchDefaults", "AtomicOverrides", "PatchOverrides"];
const LIMITS: [&str; 4] = [
    "rules: [{name: a, limits: [{requests: 5, window: 1s}]}]",
    "rules: [{name: a, limits: [{requests: 9, calendar: Day}]}, {name: b, key: [{type: ClientIP}], limits: [{requests: 1, window: 1m}]}]",
    "rules: [{name: c, scope: Fleet, limits: [{requests: 5, window: 1s}]}]",
    "rules: [{name: a, limits: [{requests: 5, window: 0s}]}]",
];
const AUTHS: [&str; 5] = [
    "authentication: {methods: [{name: a, jwt: {issuer: 'https://a.example'}}]}",
    "authentication: {require: All, methods: [{name: b, apiKey: {secretSelector: {matchLabels: {a: b}}}}, {name: a, clientCertificate: {}}]}",
    "mode: Shadow, authentication: {methods: [{name: open, anonymous: {}}]}, identity: {headers: [{name: X-User, claim: sub}]}",
    "authorization: {rules: [{name: r, action: Deny, methods: [DELETE]}], defaultAction: Allow}",
    "authorization: {rules: [{name: r, action: Deny, cel: ['(']}]}",
];

/// A policy by numbers. Overrides of routes are no policies that an API server takes, and are broken ones here.
fn one(number: u64) -> String {
    let pick = |shift: u32, most: usize| usize::try_from(number >> shift).unwrap_or_default() % most;
    let target = [GATEWAY, WEB, ROUTE, PAY][pick(0, 4)];
    let strategies = if pick(0, 4) < 2 { 4 } else { 2 };
    let strategy = STRATEGIES[pick(4, strategies)];
    let (kind, spec) = match pick(8, 2) {
        0 => ("RateLimitPolicy", LIMITS[pick(12, LIMITS.len())]),
        _ => ("AuthPolicy", AUTHS[pick(12, AUTHS.len())]),
    };
    let name = format!("p{}", pick(16, 6));
    let created = format!("2026-01-0{}T00:00:00Z", 1 + pick(24, 3));
    aged(kind, &name, &created, target, &format!("strategy: {strategy}, {spec}"))
}

fn policies() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(any::<u64>(), 1..10)
}

/// Of several versions of one object the last counts, so that any order comes to the same.
fn distinct(numbers: Vec<u64>) -> Vec<u64> {
    let key = |number: &u64| {
        one(*number)
            .lines()
            .skip(2)
            .take(2)
            .map(|line| line.split(", namespace").next().unwrap_or_default().to_owned())
            .collect::<String>()
    };
    let mut seen = std::collections::BTreeMap::new();
    for number in numbers {
        seen.insert(key(&number), number);
    }
    seen.into_values().collect()
}

fn of(numbers: &[u64]) -> Inputs {
    let mut inputs = world("");
    numbers.iter().for_each(|number| put(&mut inputs, &one(*number)));
    inputs
}

proptest! {
    #![proptest_config(Config { cases: 150, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_memo_never_changes_the_output(start in policies(), edits in policies()) {
        let mut inputs = of(&start);
        let mut memo = Memo::default();
        for edit in edits {
            let kept = translate(&inputs, &Settings::default(), &mut memo);
            let anew = fresh(&inputs);
            prop_assert_eq!(&kept.snapshots, &anew.snapshots);
            prop_assert_eq!(&kept.statuses, &anew.statuses);
            prop_assert_eq!(&kept.downgrades, &anew.downgrades);
            prop_assert_eq!(&kept.issuers, &anew.issuers);
            inputs.last_good = kept.good_auth_policies.into();
            match edit % 4 {
                0 => references(&inputs).first().into_iter().for_each(|one| inputs.remove(one)),
                _ => put(&mut inputs, &one(edit)),
            }
        }
    }

    #[test]
    fn the_order_of_events_changes_nothing(
        (ordered, shuffled) in policies().prop_flat_map(|all| {
            let all = distinct(all);
            (Just(all.clone()), Just(all).prop_shuffle())
        })
    ) {
        let (one, other) = (fresh(&of(&ordered)), fresh(&of(&shuffled)));
        prop_assert_eq!(&one.snapshots, &other.snapshots);
        prop_assert_eq!(&one.statuses, &other.statuses);
    }

    /// What is gone is gone for its own kind and its own places; everything else is as it was.
    #[test]
    fn a_corrupted_policy_changes_no_other_kind_and_no_plain_place(start in policies(), victim in any::<prop::sample::Index>()) {
        let mut inputs = of(&start);
        let before = fresh(&inputs);
        let all = references(&inputs);
        let victim = &all[victim.index(all.len())];
        inputs.insert_invalid(victim.clone(), "spec.x: expected a number");
        let after = fresh(&inputs);
        let limits = victim.kind == portcullis_translate::Kind::RateLimitPolicy;
        for (key, listener) in &snapshot(&before).config.listeners {
            let now = &snapshot(&after).config.listeners[key];
            if limits {
                prop_assert_eq!(&listener.auth, &now.auth);
            } else {
                prop_assert_eq!(&listener.limits, &now.limits);
            }
        }
        for (key, route) in &snapshot(&before).config.routes {
            let now = &snapshot(&after).config.routes[key];
            prop_assert_eq!((&route.matches, &route.action), (&now.matches, &now.action));
            for (attachment, now) in route.attachments.iter().zip(&now.attachments) {
                if limits {
                    prop_assert_eq!(&attachment.auth, &now.auth);
                } else {
                    prop_assert_eq!(&attachment.limits, &now.limits);
                }
            }
        }
    }

    /// A pass that changes nothing builds nothing.
    #[test]
    fn what_did_not_change_keeps_its_place_in_memory(start in policies()) {
        let inputs = of(&start);
        let mut memo = Memo::default();
        let before = translate(&inputs, &Settings::default(), &mut memo);
        let after = translate(&inputs, &Settings::default(), &mut memo);
        let (before, after) = (snapshot(&before), snapshot(&after));
        for (key, listener) in &after.config.listeners {
            prop_assert!(Arc::ptr_eq(listener, &before.config.listeners[key]), "{key}");
        }
        for (key, route) in &after.config.routes {
            prop_assert!(Arc::ptr_eq(route, &before.config.routes[key]), "{key}");
        }
        for (key, store) in &after.live.stores {
            prop_assert!(Arc::ptr_eq(store, &before.live.stores[key]), "{key}");
        }
    }
}
