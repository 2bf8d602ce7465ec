#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_expressions::{ApiKeyIdentity, Identity};
use portcullis_ir::{
    Cost, Expression, GatewayKey, KeyPart, Limit, LimitHeaders, LimitPeriod, LimitResponse, LimitRule, LimitScope,
    Match, OnMissingKey, PathMatch, PolicyOrigin, PolicyTarget, Tier, Tiers,
};

use super::*;
use crate::{Book, Secret, Standings, Time, answer, charge};

const NOW: Time = Time { monotonic: 1_000_000_000_000, unix: 1_800_000_000 };

fn limit(requests: u64) -> Limit {
    Limit { requests, period: LimitPeriod::Window(std::time::Duration::from_secs(60)), burst: None }
}

fn rule(edit: impl FnOnce(&mut LimitRule)) -> LimitRule {
    let mut rule = LimitRule {
        name: "a".into(),
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
        limits: vec![limit(1)],
        tiers: None,
        scope: LimitScope::Replica,
        shadow: false,
        cost: Cost::Units(1),
        response: LimitResponse::default(),
    };
    edit(&mut rule);
    rule
}

/// A program that is asked as all are, one like it that is asked the short way, if it can be, and one that tells nobody,
/// and is asked the shortest way first.
struct Triplets {
    program: Program,
    short: Program,
    silent: Program,
}

fn compile(rule: LimitRule) -> Triplets {
    let mut silent = rule.clone();
    silent.response.headers = LimitHeaders::None;
    let [program, short, silent] = [rule.clone(), rule, silent].map(|rule| {
        let limits = Limits { rules: vec![rule] };
        let (program, inert) = Program::compile(&limits, &mut Registry::new(Secret::new([1, 2])));
        assert_eq!(inert, []);
        program
    });
    Triplets { program, short, silent }
}

struct Asked {
    path: &'static str,
    client: [u8; 4],
    headers: &'static [(&'static str, &'static str)],
    identity: Option<Identity>,
}

impl Default for Asked {
    fn default() -> Self {
        Self { path: "/", client: [192, 0, 2, 1], headers: &[], identity: None }
    }
}

#[derive(Debug, PartialEq)]
enum Said {
    NotApplied,
    Denied,
    Admitted { cost: u64, key: String },
    Refused,
}

fn ask(Triplets { program, short, silent }: &Triplets, asked: &Asked) -> Said {
    let mut headers = HeaderMap::new();
    for (name, value) in asked.headers {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let facts = Facts {
        method: &Method::POST,
        scheme: "http",
        host: "example.com",
        path: asked.path,
        query: None,
        headers: &headers,
        client: asked.client.into(),
        protocol: "HTTP/1.1",
        identity: asked.identity.as_ref(),
    };
    let said = said(program, &facts);
    if let Some(rule) = short.sole() {
        let shortly = match rule.decide(&facts, NOW) {
            Sole::NotApplied => Said::NotApplied,
            Sole::Denied(_) => Said::Denied,
            Sole::Passes(applied, passed) if passed.standing().remaining < 1_000 => {
                Said::Admitted { cost: applied.cost, key: applied.key_text(&facts) }
            }
            Sole::Passes(..) => panic!("more is left than there is"),
            Sole::Refused(..) => Said::Refused,
        };
        assert_eq!(shortly, said);
    }
    if silent.pass(facts.headers, facts.client, || NOW) {
        assert!(matches!(said, Said::Admitted { .. }), "{said:?}");
    } else {
        assert_eq!(self::said(silent, &facts), said, "what did not pass was counted, or what passed was not");
    }
    said
}

fn said(program: &Program, facts: &Facts<'_>) -> Said {
    for phase in [Phase::Early, Phase::Late] {
        let round = program.round(phase, facts);
        if round.denied.is_some() {
            return Said::Denied;
        }
        if let Some(applied) = round.applied.first() {
            let claims: Vec<_> = applied.claims(Book::Own).collect();
            return match charge(&claims, NOW, &mut Standings::new()) {
                Ok(()) => Said::Admitted { cost: applied.cost, key: applied.key_text(facts) },
                Err(_) => Said::Refused,
            };
        }
    }
    Said::NotApplied
}

fn admitted(key: &str) -> Said {
    Said::Admitted { cost: 1, key: key.to_owned() }
}

fn header(name: &'static str) -> KeyPart {
    KeyPart::Header(HeaderName::from_static(name))
}

fn expression(source: &str) -> Expression {
    Expression(source.into())
}

#[test]
fn a_rule_applies_where_its_matches_and_its_conditions_say() {
    let program = compile(rule(|rule| {
        rule.matches = vec![Match { path: PathMatch::prefix("/login"), ..Match::default() }];
        rule.when = vec![expression("request.method == 'POST'"), expression("source.address != '192.0.2.9'")];
    }));
    let at = |path, client| Asked { path, client, ..Asked::default() };
    assert_eq!(ask(&program, &at("/other", [192, 0, 2, 1])), Said::NotApplied);
    assert_eq!(ask(&program, &at("/login", [192, 0, 2, 9])), Said::NotApplied);
    assert_eq!(ask(&program, &at("/login/", [192, 0, 2, 1])), admitted(";"));
    assert_eq!(ask(&program, &at("/login", [192, 0, 2, 1])), Said::Refused);
}

#[test]
fn who_lacks_the_key_never_shares_a_bucket_with_everybody_who_does() {
    for (missing, said) in [
        (OnMissingKey::SharedBucket, [admitted(";~192.0.2.1"), admitted(";~192.0.2.2"), Said::Refused]),
        (OnMissingKey::Skip, [Said::NotApplied, Said::NotApplied, Said::NotApplied]),
        (OnMissingKey::Deny, [Said::Denied, Said::Denied, Said::Denied]),
    ] {
        let program = compile(rule(|rule| {
            rule.key = vec![header("x-user")];
            rule.on_missing_key = missing;
        }));
        let asked = [[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 1]]
            .map(|client| ask(&program, &Asked { client, ..Asked::default() }));
        assert_eq!(asked, said, "{missing:?}");
        let known = Asked { headers: &[("x-user", "ann")], ..Asked::default() };
        assert_eq!(ask(&program, &known), admitted(";ann"));
    }
}

#[test]
fn a_known_client_of_the_only_limit_passes_without_a_word_and_nothing_else_does() {
    let passes = |edit: fn(&mut LimitRule), headers: &'static [(&str, &str)]| {
        let silent = compile(rule(|rule| {
            rule.limits = vec![limit(3)];
            rule.key = vec![header("x-user")];
            edit(rule);
        }));
        let asked = Asked { headers, ..Asked::default() };
        let headers: HeaderMap = (headers.iter())
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        ask(&silent, &asked);
        [(); 3].map(|()| silent.silent.pass(&headers, asked.client.into(), || NOW))
    };
    let ann: &[_] = &[("x-user", "ann")];
    assert_eq!(passes(|_| {}, ann), [true, true, false], "one of the three was the first");
    let by_address = |rule: &mut LimitRule| rule.key = vec![KeyPart::ClientIp { ipv4_prefix: 24, ipv6_prefix: 64 }];
    assert_eq!(passes(by_address, &[]), [true, true, false]);
    for (edit, headers) in [
        (|_: &mut LimitRule| {}, &[] as &'static [_]),
        (|_| {}, &[("x-user", "")]),
        (|rule| rule.key.clear(), ann),
        (|rule| rule.key.push(header("x-other")), ann),
        (|rule| rule.when = vec![expression("true")], ann),
        (|rule| rule.matches = vec![Match { path: PathMatch::prefix("/"), ..Match::default() }], ann),
        (|rule| rule.cost = Cost::Expression(expression("1")), ann),
        (|rule| rule.limits.push(limit(10)), ann),
        (|rule| rule.limits[0].period = LimitPeriod::Calendar(portcullis_ir::Calendar::Day), ann),
        (|rule| rule.shadow = true, ann),
        (|rule| rule.tiers = Some(Tiers { from: header("x-user"), entries: Vec::new(), default: Vec::new() }), ann),
    ] as [(fn(&mut LimitRule), &'static [(&str, &str)]); 11]
    {
        assert_eq!(passes(edit, headers), [false; 3]);
    }
    let told = compile(rule(|rule| rule.key = vec![header("x-user")])).program;
    assert!(told.quick.is_none(), "whoever is told has to be asked about");
}

#[test]
fn a_failing_expression_follows_what_is_said_of_missing_parts() {
    let fails = || expression("request.headers['x-none'] == 'x'");
    for (missing, said) in [
        (OnMissingKey::SharedBucket, admitted(";~192.0.2.1")),
        (OnMissingKey::Skip, Said::NotApplied),
        (OnMissingKey::Deny, Said::Denied),
    ] {
        let program = compile(rule(|rule| {
            rule.when = vec![fails()];
            rule.on_missing_key = missing;
        }));
        assert_eq!(ask(&program, &Asked::default()), said);
    }
    for cost in ["-1", "int(request.headers['x-none'])"] {
        for (missing, said) in [
            (OnMissingKey::SharedBucket, admitted(";")),
            (OnMissingKey::Skip, Said::NotApplied),
            (OnMissingKey::Deny, Said::Denied),
        ] {
            let program = compile(rule(|rule| {
                rule.cost = Cost::Expression(expression(cost));
                rule.on_missing_key = missing;
            }));
            assert_eq!(ask(&program, &Asked::default()), said, "{cost} {missing:?}");
        }
    }
}

#[test]
fn an_expression_says_what_a_request_costs_and_a_huge_cost_is_refused() {
    let program = compile(rule(|rule| {
        rule.cost = Cost::Expression(expression("request.path.startsWith('/huge') ? 9223372036854775807 : 3"));
        rule.limits = vec![limit(3)];
    }));
    assert_eq!(ask(&program, &Asked { path: "/huge", ..Asked::default() }), Said::Refused);
    assert_eq!(ask(&program, &Asked::default()), Said::Admitted { cost: 3, key: ";".to_owned() });
}

#[test]
fn tiers_give_clients_plans_of_their_own() {
    let program = compile(rule(|rule| {
        rule.key = vec![KeyPart::ApiKey];
        rule.limits = vec![limit(1)];
        let tier = |value: &str, requests| Tier { value: value.into(), limits: vec![limit(requests)] };
        let from = KeyPart::Expression(expression("auth.apiKey.metadata['plan']"));
        rule.tiers = Some(Tiers { from, entries: vec![tier("free", 1), tier("gold", 2)], default: Vec::new() });
    }));
    let by = |id: &str, plan: Option<&str>| {
        let metadata: BTreeMap<_, _> = plan.iter().map(|plan| ("plan".into(), (*plan).into())).collect();
        let identity = Identity { api_key: Some(ApiKeyIdentity { id: id.into(), metadata }), ..Identity::default() };
        ask(&program, &Asked { identity: Some(identity), ..Asked::default() })
    };
    assert_eq!(
        [by("a", Some("gold")), by("a", Some("gold")), by("a", Some("gold"))],
        [admitted("gold;a"), admitted("gold;a"), Said::Refused]
    );
    assert_eq!([by("b", Some("free")), by("b", Some("free"))], [admitted("free;b"), Said::Refused]);
    assert_eq!([by("c", None), by("c", None)], [admitted(";c"), Said::Refused]);
    assert_eq!(by("a", Some("free")), admitted("free;a"), "another plan is another bucket");
}

#[test]
fn what_uses_the_identity_runs_after_authentication_and_the_rest_before_it() {
    let mut late = rule(|rule| rule.key = vec![KeyPart::Claim("sub".into())]);
    late.name = "late".into();
    let by_cost = rule(|rule| rule.cost = Cost::Expression(expression("auth.subject == '' ? 2 : 1")));
    let limits = Limits { rules: vec![by_cost, rule(|_| {}), late] };
    let (program, _) = Program::compile(&limits, &mut Registry::new(Secret::new([1, 2])));
    assert_eq!(program.phase(Phase::Early).len(), 1);
    assert_eq!(program.phase(Phase::Late).len(), 2);
}

#[test]
fn a_rule_with_an_expression_that_does_not_compile_is_inert_and_the_others_go_on() {
    let broken = rule(|rule| rule.when = vec![expression("request.")]);
    let limits = Limits { rules: vec![broken, rule(|rule| rule.name = "b".into())] };
    let (program, inert) = Program::compile(&limits, &mut Registry::new(Secret::new([1, 2])));
    assert_eq!(program.rules().iter().map(|rule| &*rule.name).collect::<Vec<_>>(), ["b"]);
    assert!(
        inert[0].to_string().starts_with("rule a of rate limit policy team/fair-use is left out: "),
        "{}",
        inert[0]
    );
}

#[test]
fn headers_say_what_is_left_in_the_words_that_are_asked_for() {
    let told = |headers: LimitHeaders, shadow_of_a_second: bool| {
        let program = compile(rule(|rule| {
            rule.limits = vec![limit(10)];
            if shadow_of_a_second {
                rule.limits.push(Limit {
                    requests: 100,
                    period: LimitPeriod::Calendar(portcullis_ir::Calendar::Day),
                    burst: None,
                });
            }
        }));
        let plan = program.program.rules()[0].plans().next().unwrap().1;
        let day = crate::Standing { remaining: 40, reset: 500, retry: 0 };
        let standings = [crate::Standing { remaining: 0, reset: 60, retry: 6 }, day];
        let told = answer::Told { plan, headers, standings: &standings[..plan.shapes.len()] };
        let headers = answer::refused([told].into_iter(), 6);
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(
        told(LimitHeaders::Standard, false),
        [r#"ratelimit-policy: "a";q=10;w=60"#, r#"ratelimit: "a";r=0;t=6"#, "retry-after: 6"]
    );
    assert_eq!(
        told(LimitHeaders::Standard, true),
        [
            r#"ratelimit-policy: "a.1";q=10;w=60, "a.2";q=100;w=86400"#,
            r#"ratelimit: "a.1";r=0;t=6, "a.2";r=40;t=500"#,
            "retry-after: 6"
        ]
    );
    assert_eq!(
        told(LimitHeaders::Legacy, true),
        ["x-ratelimit-limit: 10", "x-ratelimit-remaining: 0", "x-ratelimit-reset: 6", "retry-after: 6"]
    );
    assert_eq!(told(LimitHeaders::None, true), ["retry-after: 6"]);
}
