#![allow(clippy::unwrap_used)]

use super::*;

const NOW: u32 = 1_700_000_000;

fn route(carrier: ir::SessionCarrier, name: &str) -> ir::Route {
    ir::Route {
        key: ir::RouteKey::http("ns", "r", 0),
        rule_name: None,
        created: 0,
        attachments: Vec::new(),
        matches: Vec::new(),
        filters: Vec::new(),
        action: ir::Action::Forward(Vec::new()),
        timeouts: ir::Timeouts::default(),
        retry: None,
        persistence: Some(Box::new(ir::SessionPersistence {
            name: name.into(),
            carrier,
            path: None,
            absolute_timeout: Some(Duration::from_secs(3600)),
            idle_timeout: Some(Duration::from_secs(60)),
        })),
    }
}

fn persistence(carrier: ir::SessionCarrier) -> Box<Persistence> {
    Persistence::compile(&route(carrier, "sid")).unwrap().unwrap()
}

fn token(begun: u32, used: u32) -> Token {
    Token { address: "10.0.0.1:80".parse().unwrap(), backend: 1, begun, used }
}

fn headers(pairs: &[(&str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

#[test]
fn a_token_is_found_among_other_cookies_and_other_values_of_its_name() {
    let rule = persistence(ir::SessionCarrier::SessionCookie);
    let good = token(NOW - 5, NOW - 5);
    let sealed = rule.seal.seal(&good).unwrap();
    for cookies in [
        format!("sid={sealed}"),
        format!("a=1; sid={sealed}; b=2"),
        format!("a=1;sid={sealed}"),
        format!("sid=\"{sealed}\""),
        format!("xsid=1; sid=theirs; sid={sealed}"),
    ] {
        assert_eq!(rule.read(&headers(&[("cookie", cookies.clone())]), NOW), Some(good), "{cookies}");
    }
    let split = headers(&[("cookie", "a=1".to_owned()), ("cookie", format!("sid={sealed}"))]);
    assert_eq!(rule.read(&split, NOW), Some(good));
    for cookies in [String::new(), format!("SID={sealed}"), format!("sid ={sealed}"), "sid=;;;=".to_owned()] {
        assert_eq!(rule.read(&headers(&[("cookie", cookies.clone())]), NOW), None, "{cookies}");
    }
    // However many are sent, few are looked at.
    let many = "sid=x; ".repeat(1000) + &format!("sid={sealed}");
    assert_eq!(rule.read(&headers(&[("cookie", many)]), NOW), None);
    assert_eq!(rule.read(&headers(&[("sid", sealed)]), NOW), None, "a cookie is no header");
}

#[test]
fn a_header_carries_a_token_by_itself() {
    let rule = persistence(ir::SessionCarrier::Header);
    let sealed = rule.seal.seal(&token(NOW, NOW)).unwrap();
    assert_eq!(rule.read(&headers(&[("sid", sealed.clone())]), NOW), Some(token(NOW, NOW)));
    assert_eq!(rule.read(&headers(&[("cookie", format!("sid={sealed}"))]), NOW), None);
}

#[test]
fn sessions_end_by_age_and_by_silence() {
    let rule = persistence(ir::SessionCarrier::SessionCookie);
    for (begun, used, current) in [
        (NOW, NOW, true),
        (NOW - 3599, NOW, true),
        (NOW - 3600, NOW, false),
        (NOW - 60, NOW - 59, true),
        (NOW - 60, NOW - 60, false),
        // The clock of another replica may be ahead, but not by hours.
        (NOW + 30, NOW + 30, true),
        (NOW + 3600, NOW + 3600, false),
    ] {
        assert_eq!(rule.is_current(&token(begun, used), NOW), current, "{begun} {used}");
    }
}

#[test]
fn a_name_that_cannot_be_carried_is_refused() {
    for name in ["", "a b", "a;b", "a=b", "ä"] {
        assert!(Persistence::compile(&route(ir::SessionCarrier::SessionCookie, name)).is_err(), "{name}");
    }
    for name in ["Host", "content-length", "Connection", "set-cookie", "transfer-encoding"] {
        assert!(Persistence::compile(&route(ir::SessionCarrier::Header, name)).is_err(), "{name}");
    }
    assert!(Persistence::compile(&route(ir::SessionCarrier::SessionCookie, "JSESSIONID")).is_ok());
}

#[test]
fn cookies_are_limited_to_the_path_of_the_match() {
    let regex = |source: &str| PathMatch::Regex(ir::Pattern::parse(source).unwrap());
    for (matched, path) in [
        (PathMatch::prefix("/"), "/"),
        (PathMatch::prefix("/shop"), "/shop"),
        (PathMatch::Exact("/shop/cart".into()), "/shop/cart"),
        (PathMatch::Exact("/a;b".into()), "/"),
        (regex("/p1/p2/.*/p3"), "/p1/p2"),
        (regex("^/p1/p2[0-9]+$"), "/p1"),
        (regex("/a/?"), "/a"),
        (regex("/a|/b"), "/"),
        (regex("(?i)/a/b"), "/"),
        (regex(".*"), "/"),
    ] {
        assert_eq!(cookie_path(&matched), path, "{matched:?}");
    }
}
