use http::{HeaderMap, Method};
use portcullis_auth::{Authorizer, HeaderValues};
use portcullis_expressions::{Facts, Identity};
use portcullis_ir::{
    Authorization, AuthorizationAction, AuthorizationRule, ClaimMatch, Expression, IdentityHeader, IdentityValue,
    PathMatch,
};
use serde_json::{Value, json};

fn rule(name: &str, action: AuthorizationAction) -> AuthorizationRule {
    AuthorizationRule {
        name: name.into(),
        action,
        claims: Vec::new(),
        scopes: Vec::new(),
        client_cidrs: Vec::new(),
        methods: Vec::new(),
        paths: Vec::new(),
        expressions: Vec::new(),
    }
}

fn identity(claims: Value) -> Identity {
    let Value::Object(claims) = claims else { panic!() };
    Identity { method: "jwt".into(), subject: Some("alice".into()), claims: claims.into(), ..Identity::default() }
}

fn facts<'a>(headers: &'a HeaderMap, identity: Option<&'a Identity>) -> Facts<'a> {
    Facts {
        method: &Method::GET,
        scheme: "https",
        host: "shop.test",
        path: "/api/orders",
        query: None,
        headers,
        client: "::ffff:192.0.2.7".parse().unwrap(),
        protocol: "HTTP/2",
        identity,
    }
}

fn allowed(rules: Vec<AuthorizationRule>, default: AuthorizationAction, identity: Option<&Identity>) -> bool {
    let authorizer = Authorizer::new(&Authorization { rules, default }).unwrap();
    authorizer.rule(&facts(&HeaderMap::new(), identity)).action == AuthorizationAction::Allow
}

#[test]
fn any_deny_wins_then_any_allow_then_the_default_in_any_order() {
    use AuthorizationAction::{Allow, Deny};
    for default in [Allow, Deny] {
        assert_eq!(allowed(vec![], default, None), default == Allow);
        for rules in [["a", "b"], ["b", "a"]] {
            let rules: Vec<_> = rules.iter().map(|name| rule(name, if *name == "a" { Allow } else { Deny })).collect();
            assert!(!allowed(rules, default, None));
        }
        assert!(allowed(vec![rule("a", Allow)], default, None));
    }
}

#[test]
fn all_parts_of_a_rule_must_hold() {
    use AuthorizationAction::{Allow, Deny};
    let alice = identity(json!({
        "scope": "read write", "scp": ["admin"], "groups": ["a", "b"], "org": {"id": 7}, "vip": true
    }));
    let part = |change: &dyn Fn(&mut AuthorizationRule)| {
        let mut rule = rule("a", Allow);
        change(&mut rule);
        allowed(vec![rule], Deny, Some(&alice))
    };
    let claim = |name: &str, values: &[&str]| {
        let values = values.iter().map(|value| Box::from(*value)).collect::<Vec<_>>();
        part(&move |rule| rule.claims = vec![ClaimMatch { name: name.into(), values: values.clone() }])
    };
    assert!(claim("groups", &["x", "b"]) && !claim("groups", &["x"]) && claim("groups", &[]));
    assert!(claim("org.id", &["7"]) && !claim("org.id", &["70"]) && claim("vip", &["true"]));
    assert!(!claim("none", &[]));
    let scopes = |scopes: &[&str]| {
        let scopes: Vec<Box<str>> = scopes.iter().map(|scope| Box::from(*scope)).collect();
        part(&move |rule| rule.scopes = scopes.clone())
    };
    assert!(scopes(&["read", "admin"]) && !scopes(&["read", "rea"]) && !scopes(&["read write"]));
    assert!(part(&|rule| rule.client_cidrs = vec!["192.0.2.0/24".parse().unwrap()]));
    assert!(!part(&|rule| rule.client_cidrs = vec!["198.51.100.0/24".parse().unwrap()]));
    assert!(part(&|rule| rule.methods = vec![Method::POST, Method::GET]));
    assert!(!part(&|rule| rule.methods = vec![Method::POST]));
    assert!(part(&|rule| rule.paths = vec![PathMatch::prefix("/api")]));
    assert!(!part(&|rule| rule.paths = vec![PathMatch::prefix("/ap")]));
    let expression = |source: &str| {
        let source = Expression(source.into());
        part(&move |rule| rule.expressions = vec![source.clone()])
    };
    assert!(expression("auth.claims.org.id == 7") && !expression("auth.claims.org.id == 8"));
    assert!(!part(&|rule| {
        rule.methods = vec![Method::GET];
        rule.scopes = vec!["missing".into()];
    }));
    // Nobody has no claims.
    let mut nobody = rule("a", Allow);
    nobody.scopes = vec!["read".into()];
    assert!(!allowed(vec![nobody], Deny, None));
}

#[test]
fn an_expression_that_comes_to_nothing_never_opens() {
    use AuthorizationAction::{Allow, Deny};
    for action in [Allow, Deny] {
        let mut failing = rule("a", action);
        failing.expressions = vec![Expression("auth.claims.absent.deeper == 1".into())];
        assert!(!allowed(vec![failing], if action == Allow { Deny } else { Allow }, None), "{action:?}");
    }
    let mut unreadable = rule("a", Allow);
    unreadable.expressions = vec![Expression("((".into())];
    let authorization = Authorization { rules: vec![unreadable], default: Allow };
    assert!(Authorizer::new(&authorization).unwrap_err().starts_with("authorization rule a: "));
}

#[test]
fn a_ruling_names_the_rule_and_the_scopes_that_were_missing() {
    let mut wants = rule("scoped", AuthorizationAction::Allow);
    wants.scopes = vec!["orders:read".into()];
    let authorization = Authorization { rules: vec![wants], default: AuthorizationAction::Deny };
    let authorizer = Authorizer::new(&authorization).unwrap();
    let headers = HeaderMap::new();
    let (poor, rich) = (identity(json!({})), identity(json!({ "scope": "orders:read" })));
    let ruling = authorizer.rule(&facts(&headers, Some(&poor)));
    assert_eq!((ruling.rule, ruling.missing_scopes), (None, &["orders:read".into()][..]));
    assert_eq!(authorizer.rule(&facts(&headers, Some(&rich))).rule, Some("scoped"));
}

#[test]
fn identity_headers_are_written_from_claims_and_expressions() {
    let alice = identity(json!({
        "list": ["a", 1, true], "object": {"a": 1}, "null": null, "break": "a\r\nx-admin: 1", "ü": "ü", "long": "x".repeat(9000)
    }));
    let header = |name: &'static str, value| IdentityHeader { name: http::HeaderName::from_static(name), value };
    let claim = |name: &str| IdentityValue::Claim(name.into());
    let values = HeaderValues::new(&[
        header("x-absent", claim("absent")),
        header("x-break", claim("break")),
        header("x-list", claim("list")),
        header("x-long", claim("long")),
        header("x-null", claim("null")),
        header("x-object", claim("object")),
        header("x-user", IdentityValue::Expression(Expression("auth.subject".into()))),
        header("x-utf8", claim("ü")),
    ])
    .unwrap();
    let headers = HeaderMap::new();
    let written: Vec<(String, Vec<u8>)> = values
        .values(&facts(&headers, Some(&alice)))
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    let expected: [(&str, &[u8]); 4] =
        [("x-list", b"a,1,true"), ("x-object", b"{\"a\":1}"), ("x-user", b"alice"), ("x-utf8", "ü".as_bytes())];
    assert_eq!(written, expected.map(|(name, value)| (name.to_owned(), value.to_vec())));
}
