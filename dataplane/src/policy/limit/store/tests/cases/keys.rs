//! Everything that a key can be made of, and what is done about who lacks it.

use portcullis_ir::{self as ir, Calendar};

use super::Said::{Denied, NotApplied, Passes, Refused};
use super::{Case, Step, expression, header, plain, quota, step};
use crate::policy::limit::store::tests::window;

/// One request a minute for each key.
fn keyed(name: &'static str, edit: fn(&mut ir::LimitRule), steps: Vec<Step>) -> Case {
    Case { name, limits: vec![window(1, 60_000, None)], edit, steps }
}

fn one(rule: &mut ir::LimitRule, key: Vec<ir::KeyPart>) {
    rule.key = key;
    rule.cost = ir::Cost::Units(1);
}

/// Everything that a key can be made of: values that differ count apart, and who has none counts by address.
pub(super) fn keys() -> Vec<Case> {
    vec![
        keyed("everybody together", |rule| one(rule, Vec::new()), vec![step(Passes), step(Refused).from("192.0.2.2")]),
        keyed(
            "by network",
            |rule| one(rule, vec![ir::KeyPart::ClientIp { ipv4_prefix: 24, ipv6_prefix: 64 }]),
            vec![
                step(Passes).from("192.0.2.1"),
                step(Refused).from("192.0.2.99"),
                step(Refused).from("::ffff:192.0.2.7"),
                step(Passes).from("192.0.3.1"),
                step(Passes).from("2001:db8::1"),
                step(Refused).from("2001:db8::ffff"),
                step(Passes).from("2001:db8:0:1::1"),
            ],
        ),
        keyed(
            "by header",
            |rule| one(rule, vec![header("x-user")]),
            vec![
                step(Passes).with("x-user", "ann"),
                step(Refused).with("x-user", "ann").from("192.0.2.2"),
                step(Passes).with("x-user", "Ann"),
                step(Passes).with("x-user", "a,b"),
                step(Refused).with("x-user", "a").with("x-user", "b"),
                step(Passes),
                step(Refused).with("x-user", ""),
                step(Passes).from("192.0.2.2"),
                step(Passes).with("x-user", "~192.0.2.2"),
            ],
        ),
        keyed(
            "by cookie",
            |rule| one(rule, vec![ir::KeyPart::Cookie("sid".into())]),
            vec![
                step(Passes).with("cookie", "a=1; sid=ann"),
                step(Refused).with("cookie", "sid=ann; b=2"),
                step(Passes).with("cookie", "sid=bob"),
                step(Passes).with("cookie", "side=ann"),
                step(Refused),
            ],
        ),
        keyed(
            "by query",
            |rule| one(rule, vec![ir::KeyPart::Query("q".into())]),
            vec![
                step(Passes).query("q=a%20b"),
                step(Refused).query("x=1&q=%61%20%62"),
                step(Passes).query("q=c"),
                step(Passes).query("q="),
                step(Refused),
            ],
        ),
        keyed(
            "by claim",
            |rule| one(rule, vec![ir::KeyPart::Claim("org.id".into())]),
            vec![
                step(Passes).of_user(r#"{"org": {"id": 7}}"#),
                step(Refused).of_user(r#"{"org": {"id": "7"}}"#),
                step(Passes).of_user(r#"{"org": {"id": ["7", 8]}}"#),
                step(Passes).of_user(r#"{"sub": "ann"}"#),
                step(Refused),
            ],
        ),
        keyed(
            "by API key",
            |rule| one(rule, vec![ir::KeyPart::ApiKey]),
            vec![
                step(Passes).by_key("acme", None),
                step(Refused).by_key("acme", Some("gold")).from("192.0.2.2"),
                step(Passes).by_key("other", None),
                step(Passes),
                step(Refused),
            ],
        ),
        keyed(
            "by expression",
            |rule| {
                one(
                    rule,
                    vec![ir::KeyPart::Expression(expression(
                        "request.headers['x-a'].startsWith('ann') ? 'ann' : 'bob'",
                    ))],
                )
            },
            vec![
                step(Passes).with("x-a", "ann.1"),
                step(Refused).with("x-a", "ann.2"),
                step(Passes).with("x-a", "bob"),
                // It fails.
                step(Passes),
                step(Refused),
            ],
        ),
        keyed(
            "by all of them",
            |rule| {
                one(
                    rule,
                    vec![
                        ir::KeyPart::ClientIp { ipv4_prefix: 32, ipv6_prefix: 64 },
                        header("x-user"),
                        ir::KeyPart::Query("q".into()),
                        ir::KeyPart::ApiKey,
                    ],
                );
            },
            vec![
                step(Passes).with("x-user", "a").query("q=b").by_key("c", None),
                step(Refused).with("x-user", "a").query("q=b").by_key("c", None),
                step(Passes).with("x-user", "a,b").query("q=").by_key("c", None),
                step(Passes).with("x-user", "a").query("q=b").by_key("c", None).from("192.0.2.2"),
                step(Passes).with("x-user", "a").by_key("c", None),
                step(Refused).with("x-user", "a").by_key("c", None),
                step(Passes).with("x-user", "a").query("q=b"),
            ],
        ),
    ]
}

/// What is done about who lacks the key, plans, costs that are none, and rules that only look.
pub(super) fn choices() -> Vec<Case> {
    vec![
        keyed(
            "who lacks the key is let by",
            |rule| {
                one(rule, vec![header("x-user"), header("x-more")]);
                rule.on_missing_key = ir::OnMissingKey::Skip;
            },
            vec![
                step(NotApplied),
                step(NotApplied).with("x-user", "ann"),
                step(Passes).with("x-user", "ann").with("x-more", "1"),
                step(Refused).with("x-user", "ann").with("x-more", "1"),
            ],
        ),
        keyed(
            "who lacks the key is denied",
            |rule| {
                one(rule, vec![ir::KeyPart::Claim("sub".into())]);
                rule.on_missing_key = ir::OnMissingKey::Deny;
            },
            vec![
                step(Denied),
                step(Denied).of_user("{}"),
                step(Passes).of_user(r#"{"sub": "ann"}"#),
                step(Refused).of_user(r#"{"sub": "ann"}"#),
            ],
        ),
        keyed(
            "each plan has its limits",
            |rule| {
                one(rule, vec![ir::KeyPart::ApiKey]);
                let tier = |value: &str, limits| ir::Tier { value: value.into(), limits };
                let gold = vec![window(3, 60_000, None), quota(4, Calendar::Day)];
                rule.tiers = Some(ir::Tiers {
                    from: ir::KeyPart::Expression(expression("auth.apiKey.metadata['plan']")),
                    entries: vec![tier("gold", gold), tier("silver", vec![window(2, 60_000, Some(1))])],
                    default: Vec::new(),
                });
            },
            vec![
                step(Passes).by_key("a", Some("gold")),
                step(Passes).by_key("a", Some("gold")),
                step(Passes).by_key("a", Some("gold")),
                step(Refused).by_key("a", Some("gold")),
                step(Passes).by_key("b", Some("silver")),
                step(Refused).by_key("b", Some("silver")),
                step(Passes).by_key("a", Some("silver")),
                step(Passes).by_key("c", Some("tin")),
                step(Refused).by_key("c", None),
            ],
        ),
        keyed(
            "what costs nothing passes and counts nothing",
            |_| {},
            plain(vec![
                (0, "a", 0, true),
                (0, "a", 0, true),
                (0, "a", 1, true),
                (0, "a", 1, false),
                (0, "a", u32::MAX, false),
            ]),
        ),
        keyed(
            "a cost that is none is one where the address stands in",
            |rule| rule.cost = ir::Cost::Expression(expression("int(request.headers['x-cost'])")),
            vec![
                step(Passes).with("x-key", "a").with("x-cost", "-5"),
                step(Refused).with("x-key", "a").with("x-cost", "many"),
                step(Refused).with("x-key", "a"),
                step(Refused).with("x-key", "b").with("x-cost", "9223372036854775807"),
                step(Passes).with("x-key", "b").with("x-cost", "1"),
            ],
        ),
        keyed(
            "a rule in shadow decides as one that is enforced",
            |rule| {
                one(rule, vec![header("x-user")]);
                (rule.shadow, rule.on_missing_key) = (true, ir::OnMissingKey::Deny);
            },
            vec![step(Passes).with("x-user", "a"), step(Refused).with("x-user", "a"), step(Denied)],
        ),
    ]
}
