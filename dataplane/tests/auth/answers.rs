//! How clients are turned away.

use bytes::Bytes;
use http::Request;
use portcullis_ir as ir;

use crate::support::h2;
use crate::tokens::Signer;
use crate::world::{
    SIGNER, World, anonymous, api_key, authorization, basic, basic_header, bcrypt_line, claims, consumer, enforce, jwt,
    people, policy, sha256,
};

fn allow(scopes: &[&str]) -> Option<ir::Authorization> {
    let rule = ir::AuthorizationRule {
        name: "readers".into(),
        action: ir::AuthorizationAction::Allow,
        claims: Vec::new(),
        scopes: scopes.iter().map(|scope| Box::from(*scope)).collect(),
        client_cidrs: Vec::new(),
        methods: Vec::new(),
        paths: Vec::new(),
        expressions: Vec::new(),
    };
    Some(ir::Authorization { rules: vec![rule], default: ir::AuthorizationAction::Deny })
}

#[tokio::test]
async fn a_challenge_says_what_is_asked_for_and_what_was_wrong() {
    let mut world = World::new().await;
    let rules = [
        world.rule("/all", enforce(policy(vec![jwt(), basic(), api_key()]))),
        world.rule("/scoped", enforce(ir::AuthPolicy { authorization: allow(&["read"]), ..policy(vec![jwt()]) })),
        world.rule(
            "/optional",
            enforce(ir::AuthPolicy { authorization: allow(&["read"]), ..policy(vec![jwt(), anonymous()]) }),
        ),
        people(&bcrypt_line("alice", "secret")),
        consumer("alice", &["keys"], vec![sha256("key")]),
    ];
    world.put(rules).await;
    let basic = "Basic realm=\"shop\", charset=\"UTF-8\"";
    let expired = {
        let mut claims = claims();
        claims["exp"] = 1.into();
        authorization("Bearer", &SIGNER.token(&claims))
    };
    let described = |error: &str, text: &str| format!("Bearer error=\"{error}\", error_description=\"{text}\"");
    let mut scoped = claims();
    scoped["scope"] = "write".into();
    let poor = authorization("Bearer", &SIGNER.token(&scoped));
    for (path, headers, status, challenges) in [
        ("/all", vec![], 401, vec!["Bearer".to_owned(), basic.to_owned(), "ApiKey".to_owned()]),
        (
            "/all",
            vec![expired],
            401,
            vec![described("invalid_token", "the token has expired"), basic.to_owned(), "ApiKey".to_owned()],
        ),
        (
            "/all",
            vec![authorization("Bearer", "x")],
            401,
            vec![described("invalid_request", "the credential is malformed"), basic.to_owned(), "ApiKey".to_owned()],
        ),
        ("/all", vec![basic_header("alice", "secret")], 200, vec![]),
        ("/scoped", vec![poor.clone()], 403, vec!["Bearer error=\"insufficient_scope\", scope=\"read\"".to_owned()]),
        // Nobody is asked who it is; somebody is told that it may not.
        ("/optional", vec![], 401, vec!["Bearer".to_owned()]),
        ("/optional", vec![poor], 403, vec!["Bearer error=\"insufficient_scope\", scope=\"read\"".to_owned()]),
    ] {
        let response = world.ask(path, &headers).await;
        assert_eq!(response.status, status, "{path}: {response:?}");
        assert_eq!(response.values("www-authenticate"), challenges, "{path} {status}");
    }
    world.plane.stop().await;
}

#[tokio::test]
async fn a_policy_may_answer_in_its_own_words() {
    let mut world = World::new().await;
    let words = ir::DenyResponse {
        status: Some(418),
        headers: vec![
            ("Content-Type".into(), "text/html".into()),
            ("X-Why".into(), "1".into()),
            ("X-Why".into(), "2".into()),
        ],
        body: Some("<p>no</p>".into()),
        redirect: None,
    };
    let away = ir::DenyResponse { redirect: Some("https://login.test/".into()), ..ir::DenyResponse::default() };
    let rules = [
        world.rule("/words", enforce(ir::AuthPolicy { unauthenticated: words, ..policy(vec![jwt()]) })),
        world.rule(
            "/away",
            enforce(ir::AuthPolicy { unauthorized: away, authorization: allow(&["read"]), ..policy(vec![jwt()]) }),
        ),
    ];
    world.put(rules).await;
    let response = world.ask("/words", &[]).await;
    assert_eq!((response.status, response.text().as_str()), (418, "<p>no</p>"));
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert_eq!(response.values("x-why"), ["1", "2"]);
    assert_eq!(response.header("www-authenticate"), Some("Bearer"));
    let response = world.ask("/away", &[authorization("Bearer", &SIGNER.token(&claims()))]).await;
    assert_eq!((response.status, response.header("location")), (302, Some("https://login.test/")));
    world.plane.stop().await;
}

#[tokio::test]
async fn grpc_clients_are_told_in_their_own_terms() {
    let mut world = World::new().await;
    let broken = ir::BrokenAuth {
        origin: crate::world::origin("broken"),
        message: "spec.x: y".into(),
        identity_headers: Vec::new(),
    };
    let rules = [
        world.rule("/jwt", enforce(policy(vec![jwt()]))),
        world.rule("/scoped", enforce(ir::AuthPolicy { authorization: allow(&["read"]), ..policy(vec![jwt()]) })),
        world.rule("/broken", ir::Auth::Broken(broken)),
    ];
    world.put(rules).await;
    let client: ::h2::client::SendRequest<Bytes> = h2::connect(world.address()).await;
    let good = format!("Bearer {}", SIGNER.token(&claims()));
    let bad = format!("Bearer {}", Signer::other_rsa("k1").token(&claims()));
    for (path, token, status) in [
        ("/jwt/Call", None, "16"),
        ("/jwt/Call", Some(bad), "16"),
        ("/scoped/Call", Some(good), "7"),
        ("/broken/Call", None, "14"),
    ] {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("http://a.test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let answer = h2::exchange(&client, request.body(()).unwrap(), b"\0\0\0\0\0", None).await;
        assert_eq!((answer.head.status.as_u16(), answer.body.len()), (200, 0), "{path}");
        assert_eq!(answer.head.headers["grpc-status"], status, "{path}");
    }
    world.plane.stop().await;
}

#[tokio::test]
async fn only_a_true_preflight_of_a_route_with_cors_needs_no_credential() {
    let mut world = World::new().await;
    let cors = ir::Cors {
        allow_origins: vec![ir::CorsOrigin::Exact("https://app.test".into())],
        allow_methods: ir::CorsNames::List(vec!["GET".into()]),
        allow_headers: ir::CorsNames::Any,
        expose_headers: ir::CorsNames::List(Vec::new()),
        allow_credentials: false,
        max_age: 5,
    };
    let ir::Resource::Route(route) = world.rule("/cors", enforce(policy(vec![jwt()]))) else { unreachable!() };
    let mut route = (*route).clone();
    route.filters = vec![ir::Filter::Cors(cors)];
    let plain = world.rule("/plain", enforce(policy(vec![jwt()])));
    world.put([ir::Resource::Route(std::sync::Arc::new(route)), plain]).await;
    let (origin, other, asked) =
        ("origin: https://app.test\r\n", "origin: https://evil.test\r\n", "access-control-request-method: GET\r\n");
    for (path, verb, lines, status, allowed) in [
        ("/cors", "OPTIONS", format!("{origin}{asked}"), 204, Some("https://app.test")),
        ("/cors", "OPTIONS", origin.to_owned(), 401, Some("https://app.test")),
        ("/cors", "OPTIONS", asked.to_owned(), 401, None),
        ("/cors", "GET", format!("{origin}{asked}"), 401, Some("https://app.test")),
        ("/plain", "OPTIONS", format!("{origin}{asked}"), 401, None),
    ] {
        let mut client = crate::support::Client::connect(world.address()).await;
        client.send(format!("{verb} {path} HTTP/1.1\r\nhost: a.test\r\n{lines}\r\n")).await;
        let answer = client.response().await;
        assert_eq!(answer.status, status, "{verb} {path} {lines}");
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{verb} {path} {lines}");
    }
    // A preflight of an origin that is not allowed is answered as well, and allows nothing.
    let mut client = crate::support::Client::connect(world.address()).await;
    client.send(format!("OPTIONS /cors HTTP/1.1\r\nhost: a.test\r\n{other}{asked}\r\n")).await;
    assert_eq!(client.response().await.header("access-control-allow-origin"), None);
    assert_eq!(world.backend.seen().len(), 0, "no preflight goes further");
    world.plane.stop().await;
}

#[tokio::test]
async fn authorization_in_shadow_counts_and_lets_pass() {
    let mut world = World::new().await;
    let shadow = ir::AuthPolicy { shadow: true, authorization: allow(&["read"]), ..policy(vec![jwt(), anonymous()]) };
    let rule = world.rule("/", enforce(shadow));
    world.put([rule]).await;
    let mut scoped = claims();
    for (scope, who) in [("read", Some("alice")), ("write", None)] {
        scoped["scope"] = scope.into();
        let answer = world.ask("/", &[authorization("Bearer", &SIGNER.token(&scoped)), "X-User: root".into()]).await;
        assert_eq!(answer.status, 200, "{scope}");
        assert_eq!(world.backend.seen().pop().unwrap().header("x-user"), who, "{scope}");
    }
    let metrics = world.plane.admin("/metrics").await.body;
    for (outcome, count) in [("allowed", 1), ("unauthorized", 1)] {
        let line = format!(
            "portcullis_dataplane_auth_shadow_requests_total{{policy_namespace=\"team\",policy=\"policy\",\
             outcome=\"{outcome}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    world.plane.stop().await;
}
