use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method};

use super::*;
use crate::{ApiKeyIdentity, Identity};

fn with<T>(identity: Option<&Identity>, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
    let mut headers = HeaderMap::new();
    headers.append("x-tenant", HeaderValue::from_static("blue"));
    headers.append("accept", HeaderValue::from_static("a"));
    headers.append("accept", HeaderValue::from_static("b"));
    ask(&Facts {
        method: &Method::GET,
        scheme: "https",
        host: "shop.example",
        path: "/v1/items",
        query: Some("page=2&page=3&q=a%20b+c&bad=%zz"),
        headers: &headers,
        client: IpAddr::from([192, 0, 2, 7]),
        protocol: "HTTP/1.1",
        identity,
    })
}

fn holds(source: &str) -> Result<bool, String> {
    let program = Program::compile(source).map_err(|error| error.to_string())?;
    with(None, |facts| program.bool(facts)).map_err(|error| error.to_string())
}

#[test]
fn an_expression_sees_the_request() {
    for source in [
        "request.method == 'GET' && request.scheme == 'https'",
        "request.host.endsWith('.example') && request.path.startsWith('/v1')",
        "request.headers['x-tenant'] == 'blue' && request.headers.accept == 'a,b'",
        "has(request.headers.accept) && !has(request.headers.cookie)",
        "request.query.page == '2' && request.query.q == 'a b c' && request.query.bad == '%zz'",
        "source.address == '192.0.2.7' && request.protocol == 'HTTP/1.1'",
        "request.path.matches('^/v[0-9]+/')",
        "['a', 'b'].exists(x, request.headers.accept.contains(x))",
        "auth.subject == '' && auth.apiKey.id == '' && size(auth.claims) == 0",
    ] {
        assert_eq!(holds(source), Ok(true), "{source}");
    }
}

#[test]
fn an_expression_sees_who_the_client_is() {
    let serde_json::Value::Object(claims) = serde_json::json!({"roles": ["a", "b"], "n": 3, "o": {"deep": true}})
    else {
        panic!("an object")
    };
    let metadata = [("tier".into(), "gold".into())].into();
    let api_key = Some(ApiKeyIdentity { id: "acme".into(), metadata });
    let identity = Identity { method: "jwt".into(), claims: claims.into(), api_key, ..Identity::default() };
    with(Some(&identity), |facts| {
        let bool = |source: &str| Program::compile(source).unwrap().bool(facts);
        assert_eq!(bool("'b' in auth.claims.roles && auth.claims.o.deep && auth.claims.n == 3"), Ok(true));
        assert_eq!(bool("auth.apiKey.metadata.tier == 'gold' && auth.method == 'jwt'"), Ok(true));
        assert_eq!(Program::compile("auth.claims.n * 2").unwrap().integer(facts), Ok(6));
        assert_eq!(Program::compile("auth.claims.roles").unwrap().text(facts), Ok("a,b".into()));
    });
}

#[test]
fn what_needs_authentication_says_so() {
    assert!(Program::compile("auth.claims.sub == 'x'").unwrap().uses_identity());
    assert!(!Program::compile("request.path == '/auth'").unwrap().uses_identity());
}

#[test]
fn a_failing_expression_is_an_error_and_never_a_panic() {
    assert!(holds("request.headers['cookie'] == 'x'").is_err());
    assert!(holds("auth.claims.sub == 'x'").is_err());
    assert!(holds("request.path").is_err());
    assert!(holds("1 / 0 == 1").is_err());
    assert!(holds("int(request.headers['x-tenant']) > 0").is_err());
    assert!(holds("9223372036854775807 + 1 > 0").is_err());
}

#[test]
fn no_error_shows_a_value() {
    let error = holds("request.headers['x-tenant']").unwrap_err();
    assert!(!error.contains("blue"), "{error}");
}

#[test]
fn what_is_unknown_or_could_cost_too_much_is_refused_with_a_hint() {
    let refused = |source: &str| Program::compile(source).unwrap_err().to_string();
    assert_eq!(refused("reqest.path == '/'"), "reqest is not known; there are request, source, auth");
    assert!(refused("request.pth == '/'").starts_with("request.pth is not known; there are method"));
    assert!(refused("request.path == ").starts_with("is no CEL expression"));
    assert!(refused("[1].all(a, [2].all(b, a < b))").contains("macro inside of another"));
    assert!(refused("request.path.matches(request.host)").contains("pattern of matches()"));
    assert!(refused("request.path.matches('(')").contains("invalid pattern"));
    assert!(refused(&format!("'{}' == ''", "x".repeat(MAX_SOURCE))).contains("longer than"));
    assert!(refused(&"(".repeat(2000)).contains("CEL"));
}

#[test]
fn a_test_that_is_always_true_is_refused_and_others_are_not() {
    for pointless in ["auth.apiKey", "auth.subject", "auth.apiKey.id", "auth.certificate.subject", "request.query"] {
        let error = Program::compile(&format!("has({pointless})")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("has({pointless}) is always true; ")), "{error}");
    }
    assert_eq!(holds("has(request.headers.cookie)"), Ok(false));
    assert_eq!(holds("has(auth.claims.sub)"), Ok(false));
    assert_eq!(holds("has(auth.apiKey.metadata.plan) || [{'a': 1}].exists(auth, has(auth.a))"), Ok(true));
}
