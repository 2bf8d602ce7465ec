//! Policies that cannot be honoured deny on their own targets, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use portcullis_ir as ir;

use crate::provider::{asked, oidc, secret};
use crate::world::{
    World, api_key, authorization, basic, basic_header, certificate, enforce, introspection, jwt_with, origin, policy,
};

fn deny_all() -> ir::Authorization {
    ir::Authorization { rules: Vec::new(), default: ir::AuthorizationAction::Deny }
}

fn allow_if(source: &str) -> ir::Authorization {
    let rule = ir::AuthorizationRule {
        name: "r".into(),
        action: ir::AuthorizationAction::Allow,
        claims: Vec::new(),
        scopes: Vec::new(),
        client_cidrs: Vec::new(),
        methods: Vec::new(),
        paths: Vec::new(),
        expressions: vec![ir::Expression(source.into())],
    };
    ir::Authorization { rules: vec![rule], default: ir::AuthorizationAction::Allow }
}

fn external() -> ir::ExternalAuth {
    ir::ExternalAuth {
        protocol: ir::ExternalAuthProtocol::Grpc { allowed_request_headers: Vec::new() },
        backend: ir::Target::Invalid(ir::Failure::InvalidBackend),
        max_body_bytes: 0,
        timeout: Duration::from_secs(1),
        fail_open: false,
        cache: None,
    }
}

/// Each state in which a policy can be broken, with the statuses that may answer a request without credentials.
fn states() -> Vec<(&'static str, ir::Auth, u16)> {
    let nothing = ir::CredentialKey { purpose: ir::CredentialUse::Shared, namespace: "ns".into(), name: "no".into() };
    let broken = ir::BrokenAuth { origin: origin("broken"), message: "spec.x: y".into(), identity_headers: vec![] };
    let mut headers = policy(vec![api_key()]);
    headers.identity.headers[0].value = ir::IdentityValue::Expression(ir::Expression("((".into()));
    let mut exempt = policy(vec![api_key()]);
    exempt.exempt = vec![ir::Match {
        headers: vec![ir::HeaderMatch {
            name: HeaderName::from_static("x-health"),
            value: ir::StringMatch::Exact("1".into()),
        }],
        ..ir::Match::default()
    }];
    let untrusting = vec![Box::from(*b"no certificate")];
    let nobodys = oidc("https://nobody.example", |oidc| oidc.client_secret = nothing.clone());
    let unfound = oidc("https://nobody.example", |_| {});
    let untrusted = oidc("https://nobody.example", |oidc| oidc.roots.clone_from(&untrusting));
    let asked_without_trust = asked("https://nobody.example", |asked| asked.endpoint.roots.clone_from(&untrusting));
    let asked_with_nonsense = asked("http://127.0.0.1:9", |asked| asked.when = Some(ir::Expression("((".into())));
    let with = |authorization| ir::AuthPolicy { authorization: Some(authorization), ..policy(vec![]) };
    vec![
        ("said to be broken", ir::Auth::Broken(broken), 503),
        ("an expression", enforce(with(allow_if("(("))), 503),
        ("an identity header", enforce(headers), 503),
        ("an exemption by header", enforce(exempt), 503),
        ("no rule of authorization", enforce(with(deny_all())), 403),
        ("no key set", enforce(policy(vec![jwt_with(ir::JwtKeys::Inline("{".into()))])), 401),
        ("no issuer", enforce(policy(vec![jwt_with(ir::JwtKeys::Issuer(ir::IssuerKey("x".into())))])), 401),
        ("no Secret of keys", enforce(policy(vec![jwt_with(ir::JwtKeys::Credential(nothing))])), 401),
        ("no consumers", enforce(policy(vec![api_key()])), 401),
        ("no users", enforce(policy(vec![basic()])), 401),
        ("no TLS", enforce(policy(vec![certificate(vec![])])), 401),
        ("no endpoint", enforce(policy(vec![introspection()])), 401),
        ("no Secret of a login", enforce(policy(vec![nobodys])), 503),
        ("no provider", enforce(policy(vec![unfound])), 401),
        ("nobody to trust a provider by", enforce(policy(vec![untrusted])), 503),
        ("nobody to trust an endpoint by", enforce(policy(vec![asked_without_trust])), 503),
        ("nonsense asked of an answer", enforce(policy(vec![asked_with_nonsense])), 401),
        ("no service", enforce(ir::AuthPolicy { external: Some(external()), ..policy(vec![]) }), 500),
    ]
}

#[tokio::test]
async fn a_request_without_credentials_is_never_let_pass_and_other_rules_go_on() {
    let mut world = World::new().await;
    let mut all: Vec<_> =
        states().into_iter().enumerate().map(|(at, (_, auth, _))| world.rule(&format!("/{at}"), auth)).collect();
    all.extend([world.rule_at("web", "/free", None), secret()]);
    world.put(all).await;
    for (at, (what, _, status)) in states().into_iter().enumerate() {
        let response = world.ask(&format!("/{at}"), &[]).await;
        assert_eq!(response.status, status, "{what}: {response:?}");
        for headers in [
            vec!["X-Health: 1".to_owned()],
            vec!["Accept: text/html".to_owned(), "Cookie: __Host-sid=x; token=x".to_owned()],
            vec![authorization("Bearer", "x.y.z")],
            vec![basic_header("alice", "x")],
            vec!["X-Api-Key: x".to_owned(), "X-User: root".to_owned()],
        ] {
            let response = world.ask(&format!("/{at}"), &headers).await;
            assert!((400..=503).contains(&response.status), "{what} {headers:?}: {response:?}");
        }
    }
    assert_eq!(world.ask("/free", &[]).await.status, 200);
    assert_eq!(world.backend.seen().len(), 1, "nothing else got through");
    let metrics = world.plane.admin("/metrics").await.body;
    let line =
        "portcullis_dataplane_auth_requests_total{policy_namespace=\"team\",policy=\"broken\",outcome=\"broken\"} 6";
    assert!(metrics.contains(line), "{metrics}");
    world.plane.stop().await;
}

#[tokio::test]
async fn the_same_holds_for_a_whole_listener_until_its_policy_is_whole_again() {
    let mut world = World::new().await;
    let listener = |auth: Option<ir::Auth>| {
        let ir::Resource::Listener(listener) = crate::resources::http("web", world.port) else { unreachable!() };
        let mut listener = (*listener).clone();
        listener.auth = auth.map(Arc::new);
        ir::Resource::Listener(Arc::new(listener))
    };
    let updates: Vec<_> =
        states().into_iter().map(|(what, auth, status)| (what, listener(Some(auth)), status)).collect();
    let whole = listener(None);
    let rule = world.rule_at("web", "/", None);
    world.put([rule, secret()]).await;
    for (what, update, status) in updates {
        world.put([update]).await;
        let response = world.ask("/", &[]).await;
        assert_eq!(response.status, status, "{what}: {response:?}");
    }
    assert_eq!(world.backend.seen().len(), 0);
    world.put([whole]).await;
    assert_eq!(world.ask("/", &[]).await.status, 200);
    world.plane.stop().await;
}
