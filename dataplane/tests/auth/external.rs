//! A policy's own authorization service: asked last, about whom the methods have found, and about nobody else.

use std::time::Duration;

use http::HeaderName;
use portcullis_ir as ir;

use crate::resources;
use crate::support::Backend;
use crate::world::{World, anonymous, api_key, consumer, enforce, open, policy, sha256};

fn asks(service: &str, edit: impl FnOnce(&mut ir::ExternalAuth)) -> Option<ir::ExternalAuth> {
    let mut external = ir::ExternalAuth {
        protocol: ir::ExternalAuthProtocol::Http {
            path_prefix: "/check".into(),
            allowed_request_headers: vec![HeaderName::from_static("x-user"), HeaderName::from_static("x-api-key")],
            allowed_response_headers: vec![HeaderName::from_static("x-role")],
        },
        backend: ir::Target::Backend(ir::BackendKey::service("ns", service, 80)),
        max_body_bytes: 0,
        timeout: Duration::from_secs(10),
        fail_open: false,
        cache: None,
    };
    edit(&mut external);
    Some(external)
}

/// Says yes to `alice` alone, and no by 418.
async fn service() -> Backend {
    Backend::answering(|seen| match seen.header("x-user") {
        Some("alice") => b"HTTP/1.1 200 OK\r\nx-role: admin\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 418 No\r\ncontent-length: 2\r\n\r\nno".to_vec(),
    })
    .await
}

#[tokio::test]
async fn the_service_is_asked_last_and_sees_whom_the_methods_have_found() {
    let service = service().await;
    let mut world = World::new().await;
    let with = |policy: ir::AuthPolicy| ir::AuthPolicy { external: asks("auth", |_| {}), ..policy };
    let deny = ir::Authorization { rules: Vec::new(), default: ir::AuthorizationAction::Deny };
    let mut all = vec![
        consumer("alice", &["keys"], vec![sha256("key-alice")]),
        consumer("bob", &["keys"], vec![sha256("key-bob")]),
        world.rule("/enforce", enforce(with(policy(vec![api_key()])))),
        world.rule("/anybody", enforce(with(policy(vec![api_key(), anonymous()])))),
        world.rule("/shadow", enforce(with(ir::AuthPolicy { shadow: true, ..policy(vec![api_key()]) }))),
        world.rule("/exempt", enforce(with(ir::AuthPolicy { exempt: open("/exempt"), ..policy(vec![api_key()]) }))),
        world.rule("/denied", enforce(with(ir::AuthPolicy { authorization: Some(deny), ..policy(vec![api_key()]) }))),
    ];
    all.extend(resources::backend("auth", service.address));
    world.put(all).await;
    let (alice, bob) = ("X-Api-Key: key-alice", "X-Api-Key: key-bob");
    for (path, key, status, asked, told) in [
        ("/enforce", Some(alice), 200, 1, [Some("alice"), Some("admin")]),
        ("/enforce", Some(bob), 418, 1, [None, None]),
        ("/enforce", None, 401, 0, [None, None]),
        ("/anybody", Some(alice), 200, 1, [Some("alice"), Some("admin")]),
        ("/anybody", None, 418, 1, [None, None]),
        ("/shadow", Some(alice), 200, 1, [Some("alice"), Some("admin")]),
        ("/shadow", Some(bob), 200, 1, [None, None]),
        ("/shadow", None, 200, 0, [None, None]),
        ("/exempt/open", None, 200, 0, [None, None]),
        ("/denied", Some(alice), 403, 0, [None, None]),
    ] {
        let before = (service.seen().len(), world.backend.seen().len());
        let mut headers = vec!["X-User: alice".to_owned()];
        headers.extend(key.map(str::to_owned));
        let answer = world.ask(path, &headers).await;
        assert_eq!(answer.status, status, "{path} {key:?}: {answer:?}");
        let questions = service.seen().split_off(before.0);
        assert_eq!(questions.len(), asked, "{path} {key:?}");
        // As the backend would see it: neither what the client claims, nor its credential, unless that stays.
        for question in questions {
            let who = key.map(|key| key.trim_start_matches("X-Api-Key: key-"));
            assert_eq!(question.header("x-user"), who, "{path} {key:?}");
        }
        for seen in world.backend.seen().split_off(before.1) {
            assert_eq!([seen.header("x-user"), seen.header("x-role")], told, "{path} {key:?}");
        }
    }
    let metrics = world.plane.admin("/metrics").await.body;
    for (outcome, count) in [("allowed", 3), ("denied", 3)] {
        let line = format!(
            "portcullis_dataplane_auth_external_total{{policy_namespace=\"team\",policy=\"policy\",service=\"ns/auth\",\
             outcome=\"{outcome}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    world.plane.stop().await;
}

#[tokio::test]
async fn a_service_that_is_away_slow_or_talks_nonsense_denies_unless_the_policy_lets_it_be_away() {
    let hung = Backend::with_connections(|_, mut reader, _| async move { reader.closed().await }).await;
    let nonsense = Backend::answering(|_| b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()).await;
    let broken = Backend::answering(|_| b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut world = World::new().await;
    let services = [
        ("hung", hung.address, 503, 200),
        ("nonsense", nonsense.address, 403, 403),
        ("broken", broken.address, 503, 200),
        ("down", down, 503, 200),
    ];
    let mut all = vec![consumer("alice", &["keys"], vec![sha256("key-alice")])];
    for (name, address, ..) in services {
        all.extend(resources::backend(name, address));
        for open in [false, true] {
            let edit = |external: &mut ir::ExternalAuth| {
                (external.fail_open, external.timeout) = (open, Duration::from_millis(300));
            };
            let policy = ir::AuthPolicy { external: asks(name, edit), ..policy(vec![api_key()]) };
            all.push(world.rule(&format!("/{name}-{open}"), enforce(policy)));
        }
    }
    world.put(all).await;
    for (name, _, closed, opened) in services {
        for (open, status) in [(false, closed), (true, opened)] {
            let path = format!("/{name}-{open}");
            let headers = ["X-Api-Key: key-alice".to_owned(), "X-Role: admin".to_owned()];
            let before = world.backend.seen().len();
            assert_eq!(world.ask(&path, &headers).await.status, status, "{path}");
            for seen in world.backend.seen().split_off(before) {
                assert_eq!((seen.header("x-user"), seen.header("x-role")), (Some("alice"), None), "{path}");
            }
            assert_eq!(world.ask(&path, &[]).await.status, 401, "{path}: whoever shows nothing is turned away first");
        }
    }
    world.plane.stop().await;
}
