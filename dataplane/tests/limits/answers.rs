//! What clients are told of limits.

use std::time::Duration;

use http::{Method, Request};
use portcullis_ir as ir;

use super::support::h2::{connect, echo_backend, exchange};
use super::support::{Backend, Gateway, Setup, ok};
use super::world::{header, limited, limits, quota, rule, window};

async fn before(rules: Vec<ir::LimitRule>) -> (Gateway, Backend) {
    let backend = Backend::answering(|_| ok("hi")).await;
    let gateway = limited(Setup::before(backend.address), rules).start().await;
    (gateway, backend)
}

#[tokio::test]
async fn an_admitted_answer_says_what_is_left_and_a_refused_one_when_to_come_again() {
    let (gateway, backend) = before(vec![rule("burst", &[window(2, 60)], |_| {})]).await;
    for left in ["1", "0"] {
        let response = gateway.get("/").await;
        assert_eq!((response.status, response.text().as_str()), (200, "hi"));
        assert_eq!(response.header("ratelimit-policy"), Some(r#""burst";q=2;w=60"#));
        assert!(response.header("ratelimit").unwrap().starts_with(&format!(r#""burst";r={left};t="#)));
        assert_eq!(response.header("retry-after"), None);
    }
    let refused = gateway.get("/").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("content-type"), Some("text/plain; charset=utf-8"));
    let retry = refused.header("retry-after").unwrap().to_owned();
    assert!((28..=30).contains(&retry.parse::<u64>().unwrap()), "{retry}");
    assert_eq!(refused.header("ratelimit"), Some(format!(r#""burst";r=0;t={retry}"#).as_str()));
    assert!(refused.text().starts_with("429 Too Many Requests: rate limit burst is used up"), "{}", refused.text());
    assert_eq!(backend.seen().len(), 2, "what is refused reaches nobody");
    let labels = r#"policy_namespace="team",policy="fair-use",rule="burst""#;
    gateway
        .counts(&format!(r#"portcullis_dataplane_rate_limit_requests_total{{{labels},outcome="allowed"}}"#), 2)
        .await;
    gateway
        .counts(&format!(r#"portcullis_dataplane_rate_limit_requests_total{{{labels},outcome="limited"}}"#), 1)
        .await;
    gateway.counts(r#"portcullis_dataplane_request_flags_total{flag="LI"}"#, 1).await;
}

#[tokio::test]
async fn the_answer_is_as_the_policy_sets_it() {
    let (gateway, _backend) = before(vec![rule("burst", &[window(1, 60)], |rule| {
        rule.response = ir::LimitResponse {
            status: 503,
            body: Some(r#"{"error":"slow down"}"#.into()),
            content_type: Some("application/problem+json".into()),
            headers: ir::LimitHeaders::Legacy,
        };
    })])
    .await;
    let response = gateway.get("/").await;
    assert_eq!(response.header("x-ratelimit-limit"), Some("1"));
    assert_eq!(response.header("x-ratelimit-remaining"), Some("0"));
    assert!(response.header("x-ratelimit-reset").is_some() && response.header("ratelimit").is_none());
    let refused = gateway.get("/").await;
    assert_eq!((refused.status, refused.text().as_str()), (503, r#"{"error":"slow down"}"#));
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn a_client_is_not_told_where_nothing_is_to_be_told() {
    let silent = |rule: &mut ir::LimitRule| rule.response.headers = ir::LimitHeaders::None;
    let (gateway, _backend) = before(vec![rule("burst", &[window(1, 60)], silent)]).await;
    let response = gateway.get("/").await;
    assert!(!response.headers.iter().any(|(name, _)| name.contains("ratelimit")), "{:?}", response.headers);
    let refused = gateway.get("/").await;
    assert!(!refused.headers.iter().any(|(name, _)| name.contains("ratelimit")));
    assert!(refused.header("retry-after").is_some(), "always");
}

#[tokio::test]
async fn a_grpc_client_gets_resource_exhausted_in_trailers_only() {
    let setup = Setup::new().backend("b", &[echo_backend().await], ir::Protocol::Http2).route(|_| {});
    let gateway = limited(setup, vec![rule("burst", &[window(1, 60)], |_| {})]).start().await;
    let client = connect(gateway.address()).await;
    let call = || {
        let call = Request::builder().method(Method::POST).uri("http://a.test/pkg.Service/Method");
        call.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
    };
    assert_eq!(exchange(&client, call(), b"\0\0\0\0\0", None).await.trailers.unwrap()["grpc-status"], "0");
    let refused = exchange(&client, call(), b"\0\0\0\0\0", None).await;
    assert_eq!(refused.head.status, 200);
    assert_eq!(refused.head.headers["grpc-status"], "8");
    let message = refused.head.headers["grpc-message"].to_str().unwrap().to_owned();
    assert!(message.starts_with("rate limit burst is used up"), "{message}");
    assert!(refused.head.headers.contains_key("retry-after") && refused.head.headers.contains_key("ratelimit"));
    assert!(refused.trailers.is_none() && refused.body.is_empty());
    gateway.counts("portcullis_dataplane_grpc_calls_total{grpc_status=\"RESOURCE_EXHAUSTED\"}", 1).await;
}

#[tokio::test]
async fn shadow_decides_and_counts_and_lets_pass() {
    let (gateway, backend) = before(vec![rule("burst", &[window(1, 60)], |rule| rule.shadow = true)]).await;
    for _ in 0..3 {
        let response = gateway.get("/").await;
        assert_eq!((response.status, response.header("ratelimit")), (200, None));
    }
    assert_eq!(backend.seen().len(), 3);
    let labels = r#"policy_namespace="team",policy="fair-use",rule="burst""#;
    gateway
        .counts(&format!(r#"portcullis_dataplane_rate_limit_requests_total{{{labels},outcome="allowed"}}"#), 1)
        .await;
    gateway
        .counts(&format!(r#"portcullis_dataplane_rate_limit_requests_total{{{labels},outcome="shadowed"}}"#), 2)
        .await;
}

#[tokio::test]
async fn what_one_rule_refuses_consumes_from_no_other() {
    let rules = || vec![rule("a", &[window(1, 3600)], |_| {}), rule("b", &[window(10, 3600)], |_| {})];
    let (gateway, _backend) = before(rules()).await;
    assert_eq!(gateway.get("/").await.status, 200);
    for _ in 0..5 {
        let refused = gateway.get("/").await;
        assert_eq!(refused.status, 429);
        let told = refused.header("ratelimit").unwrap();
        assert!(told.contains(r#""a";r=0;"#) && told.contains(r#""b";r=9;"#), "{told}");
    }
}

#[tokio::test]
async fn a_rule_of_the_route_takes_the_place_of_the_listeners_and_none_lifts_them() {
    let backend = Backend::answering(|_| ok("hi")).await;
    let own = |allowed: Option<u64>| {
        move |route: &mut ir::Route| {
            let path = if allowed.is_some() { "/own" } else { "/free" };
            route.matches = vec![super::support::gateway::prefix(path)];
            let rules = allowed.map(|allowed| rule("own", &[window(allowed, 60)], |_| {}));
            route.attachments[0].limits = limits(rules.into_iter().collect());
        }
    };
    let setup = Setup::before(backend.address).route(own(Some(2))).route(own(None));
    let gateway = limited(setup, vec![rule("all", &[window(1, 60)], |_| {})]).start().await;
    let statuses = async |path: &str| {
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(gateway.get(path).await.status);
        }
        statuses
    };
    assert_eq!(statuses("/").await, [200, 429, 429]);
    assert_eq!(statuses("/own").await, [200, 200, 429]);
    assert_eq!(statuses("/free").await, [200, 200, 200]);
}

#[tokio::test]
async fn a_header_of_ten_thousand_bytes_is_a_key_and_who_lacks_it_is_limited_by_address() {
    let by_header = |rule: &mut ir::LimitRule| rule.key = vec![header("x-user")];
    let (gateway, _backend) = before(vec![rule("burst", &[window(1, 60)], by_header)]).await;
    let ask = async |user: Option<String>| {
        let user = user.map(|user| format!("x-user: {user}\r\n")).unwrap_or_default();
        let mut client = gateway.connect().await;
        client.send(format!("GET / HTTP/1.1\r\nhost: a.test\r\n{user}\r\n")).await;
        client.response().await.status
    };
    let long = || Some("k".repeat(10_000));
    assert_eq!([ask(long()).await, ask(long()).await], [200, 429]);
    assert_eq!(ask(Some("k".repeat(9_999))).await, 200);
    assert_eq!([ask(None).await, ask(None).await, ask(Some(String::new())).await], [200, 429, 429]);
}

#[tokio::test]
async fn a_quota_of_the_calendar_says_when_it_begins_anew() {
    let (gateway, _backend) = before(vec![rule("daily", &[quota(1, ir::Calendar::Day)], |_| {})]).await;
    assert_eq!(gateway.get("/").await.header("ratelimit-policy"), Some(r#""daily";q=1;w=86400"#));
    let refused = gateway.get("/").await;
    let retry: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let until = Duration::from_secs(86_400 - now.as_secs() % 86_400);
    assert!(retry.abs_diff(until.as_secs()) <= 2, "{retry} {until:?}");
}
