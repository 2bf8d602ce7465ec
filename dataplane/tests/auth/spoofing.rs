//! What clients say about themselves never reaches a backend, however they spell it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use portcullis_ir as ir;

use crate::support::h2;
use crate::world::{World, anonymous, api_key, consumer, enforce, open, policy, sha256};

const SPELLED: [&str; 8] = [
    "X-User: root",
    "x-user: root",
    "X_USER: root",
    "x_User: root",
    "X-User:root",
    "x-user:   root  ",
    "X-Forwarded-Client-Cert: Hash=root",
    "x_forwarded-client_cert: Hash=root",
];

fn policies() -> Vec<(&'static str, ir::AuthPolicy)> {
    vec![
        ("/enforce", policy(vec![api_key()])),
        ("/exempt", ir::AuthPolicy { exempt: open(""), ..policy(vec![api_key()]) }),
        ("/anonymous", policy(vec![api_key(), anonymous()])),
        ("/shadow", ir::AuthPolicy { shadow: true, ..policy(vec![api_key()]) }),
        ("/nobody", policy(vec![])),
    ]
}

#[tokio::test]
async fn no_spelling_of_an_identity_header_reaches_the_backend() {
    let mut world = World::new().await;
    let mut all = vec![consumer("alice", &["keys"], vec![sha256("key-alice")])];
    for (path, mut policy) in policies() {
        if path == "/exempt" {
            policy.exempt = vec![ir::Match { path: ir::PathMatch::prefix(path), ..ir::Match::default() }];
        }
        all.push(world.rule(path, enforce(policy)));
    }
    world.put(all).await;
    let mut leaks = 0;
    for (path, _) in policies() {
        for spelled in SPELLED {
            for connection in ["keep-alive", "x-user", "x_user, X-User"] {
                for key in [Some("X-Api-Key: key-alice"), None] {
                    let mut headers = vec![spelled.to_owned(), format!("Connection: {connection}"), spelled.to_owned()];
                    headers.extend(key.map(str::to_owned));
                    let before = world.backend.seen().len();
                    let response = world.ask(path, &headers).await;
                    let turned_away = path == "/enforce" && key.is_none();
                    assert_eq!(response.status, if turned_away { 401 } else { 200 }, "{path} {headers:?}");
                    for seen in &world.backend.seen()[before..] {
                        leaks += seen.headers.iter().filter(|(_, value)| value.contains("root")).count();
                        if path == "/enforce" {
                            assert_eq!(seen.header("x-user"), Some("alice"), "it is told all the same: {headers:?}");
                        }
                    }
                }
            }
        }
    }
    assert_eq!(leaks, 0);
    world.plane.stop().await;
}

#[tokio::test]
async fn neither_http2_nor_trailers_are_a_way_around() {
    let backend = h2::echo_backend().await;
    let mut world = World::new().await;
    let mut protocol = crate::resources::backend("h2", backend);
    if let ir::Resource::Backend(backend) = &mut protocol[0] {
        std::sync::Arc::make_mut(backend).protocol = ir::Protocol::Http2;
    }
    let rule = world.rule("/", enforce(policy(vec![anonymous()])));
    let ir::Resource::Route(route) = rule else { unreachable!() };
    let mut route = (*route).clone();
    let target = ir::Target::Backend(ir::BackendKey::service("ns", "h2", 80));
    route.action = ir::Action::Forward(vec![ir::WeightedBackend { target, weight: 1, filters: Vec::new() }]);
    world.put(protocol.into_iter().chain([ir::Resource::Route(std::sync::Arc::new(route))])).await;
    let client: ::h2::client::SendRequest<Bytes> = h2::connect(world.address()).await;
    let request = Request::builder().method("POST").uri("http://a.test/").header("te", "trailers").body(()).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-user", HeaderValue::from_static("root"));
    trailers.insert("x_user", HeaderValue::from_static("root"));
    trailers.insert("x-checksum", HeaderValue::from_static("1"));
    let answer = h2::exchange(&client, request, b"body", Some(trailers)).await;
    // The backend sends back what trailers it got.
    let echoed = answer.trailers.unwrap();
    assert_eq!(echoed.get("x-checksum").unwrap(), "1");
    assert!(!echoed.contains_key("x-user") && !echoed.contains_key("x_user"), "{echoed:?}");
    world.plane.stop().await;
}
