//! Introspection against endpoints that answer, hang, are away or talk nonsense.
#![allow(clippy::unwrap_used)]

mod server;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use portcullis_auth::Reason;
use portcullis_expressions::Facts;
use portcullis_ir::{CredentialKey, CredentialUse, EndpointUrl, Expression, Introspection, Secret};
use portcullis_remote::{Introspector, Known};
use server::{Answer, Server, root};
use tokio::runtime::Handle;

const NOW: u64 = 1_000_000;

fn config(server: &Server) -> Introspection {
    Introspection {
        endpoint: EndpointUrl { url: server.url("/introspect").into(), roots: vec![root()] },
        client_id: "gate:way".into(),
        client_secret: CredentialKey { purpose: CredentialUse::Shared, namespace: "ns".into(), name: "s".into() },
        from: Vec::new(),
        audiences: Vec::new(),
        timeout: Duration::from_secs(10),
        cache_ttl: Duration::from_secs(60),
        cache_entries: 100,
        when: None,
    }
}

async fn judge(introspector: &Introspector, token: &str, now: u64) -> Result<Known, Reason> {
    let (method, headers) = (Method::GET, HeaderMap::new());
    let facts = Facts {
        method: &method,
        scheme: "https",
        host: "a.example",
        path: "/",
        query: None,
        headers: &headers,
        client: IpAddr::from([192, 0, 2, 1]),
        protocol: "HTTP/1.1",
        identity: None,
    };
    introspector.judge(token.as_bytes(), Some(&Secret::new(*b"p%w")), &facts, now, &Handle::current()).await
}

fn active(exp: u64) -> Answer {
    Answer::json(&format!(r#"{{"active": true, "sub": "ada", "exp": {exp}}}"#))
}

#[tokio::test]
async fn a_token_is_asked_about_once_until_it_is_over() {
    let server = Server::start(active(1030)).await;
    let introspector = Introspector::new("opaque", &config(&server)).unwrap();
    for _ in 0..3 {
        assert_eq!(judge(&introspector, "t 1", NOW).await.unwrap().identity.subject.as_deref(), Some("ada"));
    }
    let [asked] = server.asked().try_into().unwrap();
    assert!(asked.contains("\r\nauthorization: Basic Z2F0ZSUzQXdheTpwJTI1dw==\r\n"), "{asked}");
    assert!(asked.ends_with("token=t%201&token_type_hint=access_token"), "{asked}");
    assert!(judge(&introspector, "t 1", 1_029_999).await.is_ok());
    assert_eq!(judge(&introspector, "t 1", 1_030_000).await, Err(Reason::Expired));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn all_who_show_the_same_token_wait_for_one_answer() {
    let server = Server::start(active(2000)).await;
    let introspector = Arc::new(Introspector::new("opaque", &config(&server)).unwrap());
    let judged: Vec<_> = (0..50)
        .map(|_| {
            let introspector = Arc::clone(&introspector);
            tokio::spawn(async move { judge(&introspector, "t", NOW).await })
        })
        .collect();
    for one in judged {
        assert!(one.await.unwrap().is_ok());
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_no_is_remembered_for_a_while() {
    let server = Server::start(Answer::json(r#"{"active": false}"#)).await;
    let introspector = Introspector::new("opaque", &config(&server)).unwrap();
    for _ in 0..3 {
        assert_eq!(judge(&introspector, "t", NOW).await, Err(Reason::Refused));
    }
    assert_eq!(server.asked().len(), 1);
    server.answer(active(9000));
    assert!(judge(&introspector, "t", NOW + 10_000).await.is_ok());
}

#[tokio::test]
async fn an_endpoint_that_gives_no_answer_lets_nobody_through() {
    for answer in [
        Answer::json("garbage"),
        Answer::json(&format!(r#"{{"active": true, "x": "{}"}}"#, "y".repeat(100_000))),
        Answer::status(401, ""),
        Answer::status(500, r#"{"active": true}"#),
        Answer::status(302, r#"{"active": true}"#),
        Answer::Hang,
    ] {
        let server = Server::start(answer.clone()).await;
        let config = Introspection { timeout: Duration::from_millis(200), ..config(&server) };
        let introspector = Introspector::new("opaque", &config).unwrap();
        assert_eq!(judge(&introspector, "t", NOW).await, Err(Reason::Unavailable), "{answer:?}");
        assert_eq!(judge(&introspector, "t", NOW).await, Err(Reason::Unavailable), "remembered for a moment");
        assert_eq!(server.asked().len(), 1);
        server.answer(active(9000));
        let config = Introspection { timeout: Duration::from_secs(10), ..config };
        let introspector = Introspector::new("opaque", &config).unwrap();
        assert!(judge(&introspector, "t", NOW + 1000).await.is_ok());
    }
}

#[tokio::test]
async fn nothing_is_kept_where_nothing_may_be() {
    let server = Server::start(active(2000)).await;
    let config = Introspection { cache_ttl: Duration::ZERO, ..config(&server) };
    let introspector = Introspector::new("opaque", &config).unwrap();
    for _ in 0..3 {
        assert!(judge(&introspector, "t", NOW).await.is_ok());
    }
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn more_may_be_asked_of_a_token_than_that_it_is_active() {
    let server = Server::start(active(2000)).await;
    for (source, may) in
        [("auth.claims.sub == 'ada'", true), ("auth.claims.sub == 'bob'", false), ("auth.claims.x", false)]
    {
        let config = Introspection { when: Some(Expression(source.into())), ..config(&server) };
        let judged = judge(&Introspector::new("opaque", &config).unwrap(), "t", NOW).await;
        assert_eq!(judged.is_ok(), may, "{source}: {judged:?}");
    }
}
