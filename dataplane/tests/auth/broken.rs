//! Policies that cannot be honoured deny on their own targets, and nowhere else.

use std::time::Duration;

use http::HeaderName;
use portcullis_ir as ir;

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
        ("no service", enforce(ir::AuthPolicy { external: Some(external()), ..policy(vec![]) }), 500),
    ]
}

#[tokio::test]
async fn a_request_without_credentials_is_never_let_pass_and_other_rules_go_on() {
    let mut world = World::new().await;
    let mut all: Vec<_> =
        states().into_iter().enumerate().map(|(at, (_, auth, _))| world.rule(&format!("/{at}"), auth)).collect();
    all.push(world.rule_at("web", "/free", None));
    world.put(all).await;
    for (at, (what, _, status)) in states().into_iter().enumerate() {
        let response = world.ask(&format!("/{at}"), &[]).await;
        assert_eq!(response.status, status, "{what}: {response:?}");
        for headers in [
            vec!["X-Health: 1".to_owned()],
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
        "portcullis_dataplane_auth_requests_total{policy_namespace=\"team\",policy=\"broken\",outcome=\"broken\"} 5";
    assert!(metrics.contains(line), "{metrics}");
    world.plane.stop().await;
}
