//! Tokens that say nothing by themselves, through a whole data plane: at a provider that others made, and at endpoints
//! that hang, fail or talk nonsense.

use std::time::Duration;

use portcullis_ir as ir;
use serde_json::json;

use crate::provider::{asked, known, of, secret};
use crate::real::Real;
use crate::support::{Backend, Client, ok};
use crate::world::{World, ask_on, authorization};

const LONG: Duration = Duration::from_secs(3600);

fn bearer(token: &str) -> Vec<String> {
    vec![authorization("Bearer", token)]
}

fn endpoint(real: &Real) -> String {
    real.endpoint("introspection_endpoint")
}

#[tokio::test]
async fn the_provider_says_who_a_token_is_for_until_it_says_no() {
    let mut real = Real::start(LONG).await;
    let mut world = World::new().await;
    let endpoint = endpoint(&real);
    let rules = [
        world.rule("/kept", of("uid", vec![asked(&endpoint, |_| {})])),
        world.rule("/each-time", of("uid", vec![asked(&endpoint, |asked| asked.cache_ttl = Duration::ZERO)])),
        world.rule("/for-us", of("uid", vec![asked(&endpoint, |asked| asked.audiences = vec!["shop".into()])])),
        world.rule(
            "/only-bob",
            of(
                "uid",
                vec![asked(&endpoint, |asked| {
                    asked.when = Some(ir::Expression("auth.claims.sub == 'bob'".into()));
                })],
            ),
        ),
    ];
    world.put(rules.into_iter().chain(known(&real).await)).await;
    let token = real.access_token("alice").await;
    for path in ["/kept", "/each-time"] {
        assert_eq!(world.ask(path, &bearer(&token)).await.status, 200, "{path}");
        let seen = world.backend.seen().pop().unwrap();
        assert_eq!((seen.header("x-user"), seen.header("authorization")), (Some("alice"), None));
        for wrong in ["made-up", "a.b.c", &token[..token.len() - 1]] {
            let answer = world.ask(path, &bearer(wrong)).await;
            assert_eq!(answer.status, 401, "{path} {wrong}");
            assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"), "{answer:?}");
        }
    }
    assert_eq!(world.ask("/for-us", &bearer(&token)).await.status, 401, "it names no audience");
    assert_eq!(world.ask("/only-bob", &bearer(&token)).await.status, 401);
    assert_eq!(world.ask("/only-bob", &bearer(&real.access_token("bob").await)).await.status, 200);
    real.revoke(&token).await;
    assert_eq!(world.ask("/each-time", &bearer(&token)).await.status, 401, "revoked");
    real.stop().await;
    assert_eq!(world.ask("/kept", &bearer(&token)).await.status, 200, "what is kept needs nobody");
    assert_eq!(world.ask("/kept", &bearer("another")).await.status, 503);
    assert_eq!(world.ask("/kept", &[]).await.status, 401);
    world.plane.stop().await;
}

/// A data plane that asks an endpoint which answers every question with `body`.
async fn world_of(
    answer: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    edit: impl FnOnce(&mut ir::Introspection),
) -> (World, Backend) {
    let server = Backend::answering(move |_| answer()).await;
    let mut world = World::new().await;
    let rule = world.rule("/", of("uid", vec![asked(&format!("http://{}/introspect", server.address), edit)]));
    world.put([rule, secret()]).await;
    (world, server)
}

#[tokio::test]
async fn a_hundred_requests_with_one_token_are_one_question() {
    let body = json!({ "active": true, "sub": "alice" }).to_string();
    let (world, server) = world_of(move || ok(&body), |_| {}).await;
    let address = world.address();
    let asking: Vec<_> = (0..100)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                ask_on(&mut client, "/", &bearer("opaque")).await.status
            })
        })
        .collect();
    for one in asking {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(server.seen().len(), 1);
    let question = server.only();
    assert!(question.request_line.starts_with("POST /introspect "));
    // RFC 6749, 2.3.1: `gateway` and `s:cret%`, encoded before they are joined.
    assert_eq!(question.header("authorization"), Some("Basic Z2F0ZXdheTpzJTNBY3JldCUyNQ=="));
    assert_eq!(question.body, b"token=opaque&token_type_hint=access_token");
    world.plane.stop().await;
}

#[tokio::test]
async fn a_flood_of_made_up_tokens_is_bounded_in_questions_and_memory() {
    let body = json!({ "active": false }).to_string();
    let (world, server) = world_of(move || ok(&body), |asked| asked.cache_entries = 10).await;
    let mut client = Client::connect(world.address()).await;
    for number in 0..200 {
        assert_eq!(ask_on(&mut client, "/", &bearer(&format!("made-up-{number}"))).await.status, 401);
    }
    // No more than one question each, and the newest no is still remembered.
    assert_eq!(server.seen().len(), 200);
    assert_eq!(ask_on(&mut client, "/", &bearer("made-up-199")).await.status, 401);
    assert_eq!(server.seen().len(), 200);
    world.plane.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_gives_no_clear_yes_lets_nobody_through() {
    let large = json!({ "active": true, "sub": "x".repeat(100_000) }).to_string();
    let deep = format!("{{\"active\":true,\"x\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    for (what, answer, status) in [
        ("no", ok("{\"active\":false}"), 401),
        ("garbage", ok("garbage"), 503),
        ("no word of it", ok("{}"), 503),
        ("a word and not a truth value", ok("{\"active\":\"true\"}"), 503),
        ("yes and no", ok("{\"active\":false,\"active\":true}"), 503),
        ("more than an answer has", ok(&large), 503),
        ("deep", ok(&deep), 503),
        ("over", ok("{\"active\":true,\"exp\":1}"), 401),
        ("to come", ok("{\"active\":true,\"nbf\":99999999999}"), 401),
        ("an error", b"HTTP/1.1 500 X\r\ncontent-length: 15\r\n\r\n{\"active\":true}".to_vec(), 503),
        ("we are not known", b"HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n".to_vec(), 503),
        ("elsewhere", b"HTTP/1.1 307 X\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n".to_vec(), 503),
        ("no HTTP", b"nonsense\r\n\r\n".to_vec(), 503),
        ("half", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"active\":true}".to_vec(), 503),
    ] {
        let (world, _server) = world_of(move || answer.clone(), |asked| asked.timeout = Duration::from_secs(2)).await;
        assert_eq!(world.ask("/", &bearer("opaque")).await.status, status, "{what}");
        assert_eq!(world.ask("/", &[]).await.status, 401, "{what}");
        assert_eq!(world.backend.seen().len(), 0, "{what}");
        world.plane.stop().await;
    }
}

#[tokio::test]
async fn an_endpoint_that_hangs_costs_the_time_that_the_policy_gives_it_and_other_rules_nothing() {
    let server = Backend::with_connections(|_, mut reader, number| async move {
        let _request = reader.request(number).await;
        std::future::pending::<()>().await;
    })
    .await;
    let mut world = World::new().await;
    let hung = asked(&format!("http://{}/", server.address), |asked| asked.timeout = Duration::from_millis(300));
    let rules = [world.rule("/hung", of("uid", vec![hung])), world.rule_at("web", "/free", None), secret()];
    world.put(rules).await;
    let mut waiting = Client::connect(world.address()).await;
    let headers = bearer("opaque");
    waiting.send(format!("GET /hung HTTP/1.1\r\nhost: a.test\r\n{}\r\n\r\n", headers[0])).await;
    for _ in 0..20 {
        assert_eq!(world.ask("/free", &[]).await.status, 200);
    }
    assert_eq!(waiting.response().await.status, 503);
    // Whoever comes next within a moment is told the same, without a question.
    assert_eq!(world.ask("/hung", &headers).await.status, 503);
    world.plane.stop().await;
}
