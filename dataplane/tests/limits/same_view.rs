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
