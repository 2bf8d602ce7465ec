//! Router and limiter see the same path, host and client address.

use portcullis_ir as ir;

use super::support::{Backend, Setup, ok};
use super::world::{limited, rule, window};

/// Requests that could be seen in two ways: target, host, and what the key must then be.
const REQUESTS: [(&str, &str); 12] = [
    ("/a/b", "a.test"),
    ("/a/./b", "a.test"),
    ("/a/x/../b", "a.test"),
    ("/%61/b", "A.TEST"),
    ("/a/%62", "a.test:80"),
    ("/a//b", "a.test."),
    ("/a/b/", "a.test"),
    ("/a%2Fb", "a.test"),
    ("/a/b?x=/c/d", "a.test"),
    ("/a/b;v=1", "a.test"),
    ("/%2e%2e/a/b", "a.test"),
    ("http://a.test/a/b", "a.test"),
];

#[tokio::test]
async fn a_path_or_host_that_routes_to_a_rule_is_the_path_and_host_that_limits_match_and_count() {
    let backend = Backend::answering(|_| ok("routed")).await;
    // The rule is reached, and the limit applies, by the same match and the same expression on each request alone.
    let exact = ir::Match { path: ir::PathMatch::Exact("/a/b".into()), ..ir::Match::default() };
    let by_match = {
        let exact = exact.clone();
        move |rule: &mut ir::LimitRule| rule.matches = vec![exact]
    };
    let by_expression = |rule: &mut ir::LimitRule| {
        rule.when = vec![ir::Expression("request.path == '/a/b' && request.host == 'a.test'".into())];
    };
    for (target, host) in REQUESTS {
        let setup = Setup::new().backend("b", &[backend.address], ir::Protocol::Http).route(|route| {
            route.matches = vec![exact.clone()];
            for hostname in &mut route.attachments[0].hostnames {
                hostname.effective = ir::HostPattern::parse("a.test").unwrap();
            }
        });
        let setup = setup.route(|route| route.action = ir::Action::Fail(ir::Failure::InvalidMatch));
        let rules = vec![
            rule("expression", &[window(1, 60)], by_expression),
            rule("match", &[window(1, 60)], by_match.clone()),
        ];
        let gateway = limited(setup, rules).start().await;
        let mut client = gateway.connect().await;
        client.send(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        let response = client.response().await;
        let routed = response.status == 200;
        if response.status == 400 {
            continue;
        }
        let told = response.header("ratelimit").unwrap_or_default();
        assert_eq!(told.contains(r#""match";r=0"#), routed, "{target} {host}: {} {told}", response.status);
        assert_eq!(told.contains(r#""expression";r=0"#), routed, "{target} {host}: {} {told}", response.status);
    }
}

/// As in C's manual; the same in every run.
struct Dice(u64);

impl Dice {
    fn roll<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        of[usize::try_from(self.0 >> 33).unwrap() % of.len()]
    }
}

const PIECES: [&str; 22] = [
    "/", "/", "/", "a", "a", "a", "b", "b", "b", "/a/b", "%61", "%62", "%2F", "%2f", "/.", "/..", "%2e", "//", ";v=1",
    "?x=/a/b", "A", "#",
];
const HOSTS: [&str; 13] = [
    "a.test",
    "a.test",
    "a.test",
    "A.Test",
    "a.test:80",
    "a.test.",
    "x.b.test",
    "x.b.test",
    "X.B.test.",
    "x.y.b.test:1",
    "b.test",
    "c.test",
    "a.test..",
];

/// Routes and limits that ask for the same, asked thousands of times in many spellings.
#[tokio::test]
async fn whatever_a_request_looks_like_its_route_and_its_limits_see_the_same() {
    let backends = [
        Backend::answering(|_| ok("one")).await,
        Backend::answering(|_| ok("two")).await,
        Backend::answering(|_| ok("rest")).await,
    ];
    let exact = ir::Match { path: ir::PathMatch::Exact("/a/b".into()), ..ir::Match::default() };
    let below = super::support::gateway::prefix("/a");
    let mut setup = Setup::new();
    for (name, backend) in ["one", "two", "rest"].into_iter().zip(&backends) {
        setup = setup.backend(name, &[backend.address], ir::Protocol::Http);
    }
    for (name, host, path) in [("one", "a.test", Some(&exact)), ("two", "*.b.test", Some(&below)), ("rest", "", None)] {
        setup = setup.route(|route| {
            route.action = ir::Action::Forward(vec![super::support::gateway::to(name)]);
            route.matches = vec![path.cloned().unwrap_or_default()];
            if !host.is_empty() {
                route.attachments[0].hostnames[0].effective = ir::HostPattern::parse(host).unwrap();
            }
        });
    }
    let many = || [window(1_000_000, 60)];
    let when = |source: &str| vec![ir::Expression(source.into())];
    let (of_one, of_two) = ("request.host == 'a.test'", "request.host.endsWith('.b.test')");
    let rules = vec![
        rule("one-match", &many(), |rule| (rule.matches, rule.when) = (vec![exact.clone()], when(of_one))),
        rule("one-cel", &many(), |rule| rule.when = when(&format!("request.path == '/a/b' && {of_one}"))),
        rule("two-match", &many(), |rule| (rule.matches, rule.when) = (vec![below.clone()], when(of_two))),
        rule("two-cel", &many(), |rule| {
            rule.when = when(&format!("(request.path == '/a' || request.path.startsWith('/a/')) && {of_two}"));
        }),
    ];
    let gateway = limited(setup, rules).start().await;
    let (mut dice, mut seen) = (Dice(7), std::collections::BTreeMap::<String, u32>::new());
    let mut client = gateway.connect().await;
    for _ in 0..15_000 {
        let length = dice.roll(&[&1, &2, &3, &4, &5, &6]);
        let target: String = (0..*length).map(|_| dice.roll(&PIECES)).collect();
        let scheme = dice.roll(&["", "", "", "http://a.test"]);
        let (target, host) = (format!("{scheme}/{}", target.trim_start_matches('/')), dice.roll(&HOSTS));
        client.send(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        let response = client.response().await;
        if response.header("connection") == Some("close") {
            client = gateway.connect().await;
        }
        let told = response.header("ratelimit").unwrap_or_default().to_owned();
        let routed = if response.status == 200 { response.text() } else { response.status.to_string() };
        for rule in ["one", "two"] {
            for way in ["match", "cel"] {
                let applied = told.contains(&format!("\"{rule}-{way}\";"));
                assert_eq!(applied, routed == rule, "{rule} by {way}: {target} at {host}: {routed}; {told}");
            }
        }
        *seen.entry(routed).or_default() += 1;
    }
    println!("{seen:?}");
    assert!(["one", "two", "rest"].iter().all(|route| seen[*route] >= 100), "{seen:?}");
}

#[tokio::test]
async fn whatever_is_forwarded_keys_and_expressions_see_the_same_client() {
    const ADDRESSES: [&str; 9] = [
        "192.0.2.7",
        "192.0.2.7",
        "198.51.100.1",
        "10.0.0.1",
        "10.9.9.9",
        "127.0.0.2",
        "::ffff:192.0.2.7",
        "2001:db8::7",
        "nobody",
    ];
    let backend = Backend::answering(|_| ok("hi")).await;
    let setup = Setup::before(backend.address).settings(|settings| {
        settings.trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"].map(|network| network.parse().unwrap()).to_vec();
    });
    let key = vec![ir::KeyPart::ClientIp { ipv4_prefix: 32, ipv6_prefix: 128 }];
    let rules = vec![
        rule("key", &[window(1_000_000, 744 * 3600)], |rule| rule.key = key),
        rule("cel", &[window(1_000_000, 744 * 3600)], |rule| {
            rule.when = vec![ir::Expression("source.address == '192.0.2.7'".into())];
        }),
    ];
    let gateway = limited(setup, rules).start().await;
    let (mut dice, mut ours) = (Dice(11), 0);
    let mut client = gateway.connect().await;
    for _ in 0..600 {
        let hops: Vec<&str> = (0..*dice.roll(&[&1, &2, &3])).map(|_| dice.roll(&ADDRESSES)).collect();
        client.send(format!("GET / HTTP/1.1\r\nhost: a.test\r\nx-forwarded-for: {}\r\n\r\n", hops.join(", "))).await;
        let response = client.response().await;
        let by_expression = response.header("ratelimit").unwrap().contains("\"cel\";");
        // From the right: hops of ours are passed by, the first other one is the client.
        let ahead = hops.iter().rev().find(|hop| !hop.starts_with("10.") && !hop.starts_with("127."));
        let expected = ahead.is_some_and(|client| client.trim_start_matches("::ffff:") == "192.0.2.7");
        assert_eq!(by_expression, expected, "{hops:?}");
        ours += u64::from(by_expression);
    }
    let page = gateway.admin("GET", "/quotas?rule=key&key=192.0.2.7").await.text();
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let left = page["rules"][0]["limits"][0]["remaining"].as_u64().unwrap();
    println!("{ours} of 600 were that client's");
    assert_eq!(left, 1_000_000 - ours);
    assert!((100..500).contains(&ours));
}

#[tokio::test]
async fn the_client_is_the_one_behind_trusted_hops_and_nobody_else() {
    for (trusted, statuses) in [(true, [200, 200, 429]), (false, [200, 429, 429])] {
        let backend = Backend::answering(|_| ok("hi")).await;
        let setup = Setup::before(backend.address).settings(|settings| {
            settings.trusted_proxies = if trusted { vec!["127.0.0.0/8".parse().unwrap()] } else { Vec::new() };
        });
        let by_address = |rule: &mut ir::LimitRule| {
            rule.key = vec![ir::KeyPart::ClientIp { ipv4_prefix: 32, ipv6_prefix: 64 }];
        };
        let gateway = limited(setup, vec![rule("burst", &[window(1, 60)], by_address)]).start().await;
        let mut seen = Vec::new();
        for client_address in ["192.0.2.1", "192.0.2.2", "192.0.2.2"] {
            let mut client = gateway.connect().await;
            client.send(format!("GET / HTTP/1.1\r\nhost: a.test\r\nx-forwarded-for: {client_address}\r\n\r\n")).await;
            seen.push(client.response().await.status);
        }
        assert_eq!(seen, statuses, "trusted: {trusted}");
    }
}
