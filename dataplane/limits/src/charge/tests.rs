#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, Method};
use portcullis_expressions::Facts;
use portcullis_ir::{
    Calendar, Cost, GatewayKey, Limit, LimitPeriod, LimitResponse, LimitRule, LimitScope, Limits, OnMissingKey,
    PolicyOrigin, PolicyTarget,
};

use super::*;
use crate::{Phase, Program, Registry, Secret};

const NOW: Time = Time { monotonic: 1_000_000_000_000, unix: 1_800_000_000 };

fn limit(requests: u64, seconds: u64) -> Limit {
    Limit { requests, period: LimitPeriod::Window(std::time::Duration::from_secs(seconds)), burst: None }
}

fn rule(name: &str, limits: Vec<Limit>) -> LimitRule {
    LimitRule {
        name: name.into(),
        origin: PolicyOrigin {
            namespace: "team".into(),
            name: "fair-use".into(),
            uid: "uid".into(),
            target: PolicyTarget::Gateway(GatewayKey::new("team", "edge")),
        },
        shared: false,
        matches: Vec::new(),
        when: Vec::new(),
        key: Vec::new(),
        on_missing_key: OnMissingKey::SharedBucket,
        limits,
        tiers: None,
        scope: LimitScope::Replica,
        shadow: false,
        cost: Cost::Units(1),
        response: LimitResponse::default(),
    }
}

fn registry() -> Registry {
    Registry::new(Secret::new([1, 2]))
}

fn ask(program: &Program, now: Time) -> Result<Standings, Refused> {
    let headers = HeaderMap::new();
    let facts = Facts {
        method: &Method::GET,
        scheme: "http",
        host: "example.com",
        path: "/",
        query: None,
        headers: &headers,
        client: [192, 0, 2, 1].into(),
        protocol: "HTTP/1.1",
        identity: None,
    };
    let round = program.round(Phase::Early, &facts);
    let claims: Vec<_> = round.applied.iter().flat_map(|applied| applied.claims(Book::Own)).collect();
    let mut standings = Standings::new();
    charge(&claims, now, &mut standings).map(|()| standings)
}

#[test]
fn what_one_limit_refuses_consumes_from_none() {
    let limits = Limits { rules: vec![rule("a", vec![limit(5, 60), limit(3, 3600)]), rule("b", vec![limit(10, 60)])] };
    let (program, _) = Program::compile(&limits, &mut registry());
    for left in (0..3).rev() {
        let standings = ask(&program, NOW).unwrap();
        assert_eq!(standings.iter().map(|standing| standing.remaining).collect::<Vec<_>>(), [left + 2, left, left + 7]);
    }
    for _ in 0..100 {
        let refused = ask(&program, NOW).unwrap_err();
        assert_eq!((refused.claim, refused.standing.retry), (1, 1200));
    }
    let later = Time { monotonic: NOW.monotonic + 1_200_000_000_000, ..NOW };
    let standings = ask(&program, later).unwrap();
    assert_eq!(standings.iter().map(|standing| standing.remaining).collect::<Vec<_>>(), [4, 0, 9]);
}

#[test]
fn many_threads_in_one_instant_admit_exactly_the_limit() {
    let limits =
        Limits { rules: vec![rule("a", vec![limit(500, 3600), limit(1000, 3600)]), rule("b", vec![limit(700, 60)])] };
    let (program, _) = Program::compile(&limits, &mut registry());
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    if ask(&program, NOW).is_ok() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 500);
    let refused = ask(&program, NOW).unwrap_err();
    assert_eq!(refused.claim, 0);
    let mut other = Standings::new();
    let headers = HeaderMap::new();
    let facts = Facts {
        method: &Method::GET,
        scheme: "http",
        host: "h",
        path: "/",
        query: None,
        headers: &headers,
        client: [192, 0, 2, 1].into(),
        protocol: "HTTP/1.1",
        identity: None,
    };
    other.extend(program.round(Phase::Early, &facts).applied.iter().flat_map(|applied| applied.peek(Book::Own, NOW)));
    let remaining: Vec<u64> = other.iter().map(|standing| standing.remaining).collect();
    assert_eq!(remaining, [0, 500, 200], "losers of a race have given back what they took");
}

#[test]
fn a_hundred_edits_of_other_rules_refill_nothing_and_a_changed_limit_keeps_what_was_spent() {
    let mut registry = registry();
    let mut limits = Limits { rules: vec![rule("a", vec![limit(5, 3600)]), rule("b", vec![limit(1000, 60)])] };
    let (mut program, _) = Program::compile(&limits, &mut registry);
    for _ in 0..5 {
        ask(&program, NOW).unwrap();
    }
    for edit in 0..100 {
        limits.rules[1].limits = vec![limit(1000 + edit, 60 + edit)];
        limits.rules[0].response.status = 429 + u16::try_from(edit % 2).unwrap();
        program = Program::compile(&limits, &mut registry).0;
        registry.sweep();
        assert!(ask(&program, NOW).is_err(), "after {edit} edits");
    }
    limits.rules[0].limits = vec![limit(8, 3600)];
    program = Program::compile(&limits, &mut registry).0;
    for _ in 0..3 {
        ask(&program, NOW).unwrap();
    }
    assert!(ask(&program, NOW).is_err());
}

#[test]
fn a_policy_that_was_gone_for_a_while_refills_nothing_and_one_with_another_uid_is_another() {
    let mut registry = registry();
    let mut limits = Limits { rules: vec![rule("a", vec![limit(1, 3600)])] };
    let (program, _) = Program::compile(&limits, &mut registry);
    ask(&program, NOW).unwrap();
    drop(program);
    registry.sweep();
    assert_eq!(registry.in_force().count(), 0);
    let (program, _) = Program::compile(&limits, &mut registry);
    assert!(ask(&program, NOW).is_err());
    limits.rules[0].origin.uid = "another".into();
    let (program, _) = Program::compile(&limits, &mut registry);
    assert!(ask(&program, NOW).is_ok());
}

#[test]
fn targets_have_buckets_of_their_own_unless_they_share_them() {
    for shared in [false, true] {
        let mut registry = registry();
        let mut first = rule("a", vec![limit(1, 60)]);
        first.shared = shared;
        let mut second = first.clone();
        second.origin.target = PolicyTarget::Gateway(GatewayKey::new("team", "other"));
        let [first, second] =
            [first, second].map(|rule| Program::compile(&Limits { rules: vec![rule] }, &mut registry).0);
        assert!(ask(&first, NOW).is_ok());
        assert_eq!(ask(&second, NOW).is_err(), shared);
    }
}

#[test]
fn a_window_and_a_quota_hold_together() {
    let daily = Limit { requests: 4, period: LimitPeriod::Calendar(Calendar::Day), burst: None };
    let limits = Limits { rules: vec![rule("a", vec![limit(2, 60), daily])] };
    let (program, _) = Program::compile(&limits, &mut registry());
    let after = |seconds: u64| Time { monotonic: NOW.monotonic + seconds * 1_000_000_000, unix: NOW.unix + seconds };
    assert!(ask(&program, after(0)).is_ok() && ask(&program, after(0)).is_ok() && ask(&program, after(0)).is_err());
    assert!(ask(&program, after(60)).is_ok() && ask(&program, after(60)).is_ok());
    let refused = ask(&program, after(3600)).unwrap_err();
    assert_eq!((refused.claim, refused.standing.reset), (1, 86_400 - (NOW.unix + 3600) % 86_400));
    assert!(ask(&program, after(86_400)).is_ok());
}

#[test]
fn a_cost_of_nothing_passes_and_a_cost_beyond_the_limit_never_does() {
    for (cost, passes) in [(0, true), (2, true), (3, false), (u32::MAX, false)] {
        let mut weighted = rule("a", vec![limit(2, 60)]);
        weighted.cost = Cost::Units(cost);
        let (program, _) = Program::compile(&Limits { rules: vec![weighted] }, &mut registry());
        assert_eq!(ask(&program, NOW).is_ok(), passes, "{cost}");
        if cost == 0 {
            assert!((0..10).all(|_| ask(&program, NOW).is_ok()));
        }
    }
}
