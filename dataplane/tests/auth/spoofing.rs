//! What clients say about themselves never reaches a backend, however they spell it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use portcullis_ir as ir;

use crate::matrix::{Method, Shown, all_methods, credentials, site};
use crate::provider::HOSTS;
use crate::support::{Client, h2};
use crate::world::{World, anonymous, ask_at, enforce, open, policy};

const SPELLED: [&str; 10] = [
    "X-User: root",
    "x-user: root",
    "X_USER: root",
    "x_User: root",
    "X-User:root",
    "x-user:   root  ",
    "x-user:\troot\t",
    "X-User: alice, root",
    "X-Forwarded-Client-Cert: Hash=root",
    "x_forwarded-client_cert: Hash=root",
];

/// What no header is called: such a request is refused, before any policy looks at it.
const MISSPELLED: [&str; 6] = [
    "X-User : root",
    "X-User\t: root",
    " X-User: root",
    "X-\u{201c}User: root",
    "X-User\u{0}: root",
    "X-Other: a\r\n X-User: root",
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Enforce,
    Exempt,
    Anonymous,
    Shadow,
}

const MODES: [Mode; 4] = [Mode::Enforce, Mode::Exempt, Mode::Anonymous, Mode::Shadow];

fn path(method: &Method, mode: Mode) -> String {
    format!("/{}-{mode:?}", method.name)
}

fn of(method: &Method, mode: Mode) -> ir::Auth {
    let mut policy = policy(vec![method.kind.clone()]);
    match mode {
        Mode::Enforce => {}
        Mode::Exempt => {
            let path = ir::PathMatch::prefix(&path(method, mode));
            policy.exempt = vec![ir::Match { path, ..ir::Match::default() }];
        }
        Mode::Anonymous => policy.methods.push(anonymous()),
        Mode::Shadow => policy.shadow = true,
    }
    enforce(policy)
}

#[tokio::test]
async fn no_spelling_of_an_identity_header_reaches_the_backend() {
    let mut site = site().await;
    let methods = all_methods(&site).await;
    let world = &mut site.world;
    let mut all = credentials();
    for method in &methods {
        all.extend(MODES.map(|mode| world.rule(&path(method, mode), of(method, mode))));
    }
    world.put(all).await;
    let mut client = Client::connect(world.address()).await;
    let (mut leaks, mut tried) = (0, 0);
    for method in &methods {
        for mode in MODES {
            for spelled in SPELLED {
                for connection in ["keep-alive", "x-user", "x_user, X-User"] {
                    for shown in [Shown::Valid, Shown::Missing] {
                        // Before and behind whatever a proxy in between may cut off.
                        let mut headers =
                            vec![spelled.to_owned(), format!("Connection: {connection}"), spelled.to_owned()];
                        headers.extend((method.show)(shown));
                        let what = format!("{} {mode:?} {shown:?} {headers:?}", method.name);
                        let before = world.backend.seen().len();
                        let response = ask_at(&mut client, HOSTS[0], &path(method, mode), &headers).await;
                        let accepted = shown == Shown::Valid && !method.unavailable;
                        let turned_away = mode == Mode::Enforce && !accepted;
                        assert_eq!(response.status == 200, !turned_away, "{what}: {response:?}");
                        let seen = &world.backend.seen()[before..];
                        assert_eq!(seen.len(), usize::from(!turned_away), "{what}");
                        for seen in seen {
                            leaks += seen.headers.iter().filter(|(_, value)| value.contains("root")).count();
                            let told = [seen.values("x-user"), seen.values("x_user")].concat();
                            let who = (accepted && mode != Mode::Exempt).then_some("alice");
                            assert_eq!(told, Vec::from_iter(who), "{what}");
                            assert_eq!(seen.header("x-forwarded-client-cert"), None, "{what}");
                        }
                        tried += 1;
                    }
                }
            }
        }
    }
    assert_eq!((leaks, tried), (0, 7 * 4 * 10 * 3 * 2));
    site.stop().await;
}

#[tokio::test]
async fn what_is_no_header_is_no_request_and_no_verb_is_a_way_around() {
    let mut world = World::new().await;
    let rule = world.rule("/", enforce(policy(vec![anonymous()])));
    world.put([rule]).await;
    for misspelled in MISSPELLED {
        let mut client = Client::connect(world.address()).await;
        client.send(format!("GET / HTTP/1.1\r\nhost: a.test\r\n{misspelled}\r\n\r\n")).await;
        let status = client.try_response(false).await.map(|response| response.status);
        assert!(matches!(status, None | Some(400)), "{misspelled:?}: {status:?}");
    }
    assert_eq!(world.backend.seen().len(), 0);
    for verb in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "x-own"] {
        let mut client = Client::connect(world.address()).await;
        client
            .send(format!(
                "{verb} / HTTP/1.1\r\nhost: a.test\r\norigin: https://b.test\r\n\
                 access-control-request-method: GET\r\nx-user: root\r\nX_User: root\r\ncontent-length: 0\r\n\r\n"
            ))
            .await;
        let response = client.try_response(verb == "HEAD").await.unwrap();
        assert_eq!(response.status, 200, "{verb}");
        let seen = world.backend.seen().pop().unwrap();
        assert!(seen.request_line.starts_with(verb), "{seen:?}");
        assert!(seen.header("x-user").is_none() && seen.header("x_user").is_none(), "{verb}: {seen:?}");
    }
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
