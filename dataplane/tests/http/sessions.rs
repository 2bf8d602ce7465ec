//! Session persistence: the requests of a session go to one endpoint as long as it is there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use portcullis_ir as ir;
use tokio::io::AsyncWriteExt;

use super::support::gateway::{prefix, to};
use super::support::{Backend, Gateway, Response, Setup, ok};

fn cookie() -> ir::SessionPersistence {
    ir::SessionPersistence {
        name: "sid".into(),
        carrier: ir::SessionCarrier::SessionCookie,
        path: None,
        absolute_timeout: None,
        idle_timeout: None,
    }
}

/// A backend that answers with its own name.
async fn named(name: &'static str) -> Backend {
    Backend::answering(move |_| ok(name)).await
}

/// Two backends of one endpoint more than one each, weighted as told.
struct Shop {
    endpoints: Vec<(&'static str, Backend)>,
}

impl Shop {
    async fn open() -> Self {
        let mut endpoints = Vec::new();
        for name in ["v1-a", "v1-b", "v2-a", "v2-b"] {
            endpoints.push((name, named(name).await));
        }
        Self { endpoints }
    }

    fn addresses(&self, version: &str, without: &str) -> Vec<SocketAddr> {
        let of = self.endpoints.iter().filter(|(name, _)| name.starts_with(version) && *name != without);
        of.map(|(_, backend)| backend.address).collect()
    }

    async fn gateway(&self, weights: [u32; 2], persistence: ir::SessionPersistence, without: &str) -> Gateway {
        Setup::new()
            .backend("v1", &self.addresses("v1", without), ir::Protocol::Http)
            .backend("v2", &self.addresses("v2", without), ir::Protocol::Http)
            .route(|route| {
                let weighted = ["v1", "v2"].into_iter().zip(weights);
                let backends = weighted.map(|(name, weight)| ir::WeightedBackend { weight, ..to(name) });
                route.action = ir::Action::Forward(backends.collect());
                route.persistence = Some(Box::new(persistence));
            })
            .start()
            .await
    }
}

async fn ask(gateway: &Gateway, headers: &str) -> Response {
    let mut client = gateway.connect().await;
    client.send(format!("GET /x HTTP/1.1\r\nhost: a\r\n{headers}\r\n")).await;
    client.response().await
}

/// The `name=value` of the cookie that an answer sets.
fn given(response: &Response) -> String {
    let cookie = response.header("set-cookie").expect("a cookie");
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_stays_with_its_endpoint_and_is_told_once() {
    let shop = Shop::open().await;
    let gateway = shop.gateway([1, 1], cookie(), "").await;
    let mut reached = BTreeSet::new();
    for _ in 0..8 {
        let first = ask(&gateway, "").await;
        let cookie = given(&first);
        assert!(first.header("set-cookie").unwrap().ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{first:?}");
        for _ in 0..6 {
            let again = ask(&gateway, &format!("cookie: other=1; {cookie}\r\n")).await;
            assert_eq!((again.text(), again.header("set-cookie")), (first.text(), None));
        }
        reached.insert(first.text());
    }
    assert!(reached.len() > 1, "new sessions are balanced: {reached:?}");
}

#[tokio::test]
async fn sessions_go_before_weights_and_every_replica_knows_them() {
    let shop = Shop::open().await;
    let before = shop.gateway([1, 0], cookie(), "").await;
    let session = given(&ask(&before, "").await);
    let home = ask(&before, &format!("cookie: {session}\r\n")).await.text();
    assert!(home.starts_with("v1"), "{home}");
    let after = shop.gateway([0, 1], cookie(), "").await;
    for _ in 0..4 {
        assert_eq!(ask(&after, &format!("cookie: {session}\r\n")).await.text(), home);
        assert!(ask(&after, "").await.text().starts_with("v2"));
    }
}

#[tokio::test]
async fn a_session_whose_endpoint_is_gone_begins_anew() {
    let shop = Shop::open().await;
    let gateway = shop.gateway([1, 0], cookie(), "").await;
    let first = ask(&gateway, "").await;
    let (session, home) = (given(&first), first.text());
    let smaller = shop.gateway([1, 0], cookie(), &home).await;
    let moved = ask(&smaller, &format!("cookie: {session}\r\n")).await;
    assert_ne!(moved.text(), home);
    let session = given(&moved);
    assert_eq!(ask(&gateway, &format!("cookie: {session}\r\n")).await.text(), moved.text());
}

#[tokio::test]
async fn a_session_whose_endpoint_fails_moves_with_the_request() {
    // An endpoint that listens for one connection only.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let failing = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nonce").await.unwrap();
    });
    let rule = |route: &mut ir::Route| route.persistence = Some(Box::new(cookie()));
    let alone = Setup::before(failing).change_routes(rule).start().await;
    let first = ask(&alone, "").await;
    assert_eq!(first.text(), "once");
    let session = given(&first);

    let other = named("other").await;
    let both = Setup::new().backend("b", &[failing, other.address], ir::Protocol::Http).route(rule).start().await;
    // Not in back-off yet: it is found out by connecting.
    let moved = ask(&both, &format!("cookie: {session}\r\n")).await;
    assert_eq!((moved.status, moved.text().as_str()), (200, "other"));
    let session = given(&moved);
    let again = ask(&both, &format!("cookie: {session}\r\n")).await;
    assert_eq!((again.text().as_str(), again.header("set-cookie")), ("other", None));
}

#[tokio::test]
async fn a_connection_that_died_does_not_move_a_session() {
    // Each endpoint takes one request on its first connection and lets the next one die there.
    let dying = |name: &'static str| {
        Backend::with_connections(move |backend, mut reader, number| async move {
            while let Some(seen) = reader.request(number).await {
                backend.note(seen);
                if number == 0 && backend.seen().len() > 1 {
                    return;
                }
                if reader.stream.write_all(&ok(name)).await.is_err() {
                    return;
                }
            }
        })
    };
    let (a, b) = (dying("a").await, dying("b").await);
    let gateway = Setup::new()
        .backend("b", &[a.address, b.address], ir::Protocol::Http)
        .route(|route| route.persistence = Some(Box::new(cookie())))
        .start()
        .await;
    let first = ask(&gateway, "").await;
    let session = given(&first);
    for _ in 0..3 {
        let again = ask(&gateway, &format!("cookie: {session}\r\n")).await;
        assert_eq!((again.status, again.text(), again.header("set-cookie")), (200, first.text(), None));
    }
    let home = if first.text() == "a" { &a } else { &b };
    assert_eq!(home.connections(), 2, "the second was made because the first had died");
}

#[tokio::test]
async fn a_header_carries_a_session_as_well() {
    let shop = Shop::open().await;
    let persistence =
        ir::SessionPersistence { carrier: ir::SessionCarrier::Header, name: "X-Session".into(), ..cookie() };
    let gateway = shop.gateway([1, 1], persistence, "").await;
    let first = ask(&gateway, "").await;
    assert_eq!(first.header("set-cookie"), None);
    let token = first.header("x-session").expect("a token").to_owned();
    for _ in 0..6 {
        let again = ask(&gateway, &format!("x-session: {token}\r\n")).await;
        assert_eq!((again.text(), again.header("x-session")), (first.text(), None));
    }
    assert!(ask(&gateway, "x-session: nonsense\r\n").await.header("x-session").is_some());
}

#[tokio::test]
async fn a_permanent_cookie_says_how_long_it_lives_and_for_which_path() {
    let backend =
        Backend::answering(|_| b"HTTP/1.1 200 OK\r\nset-cookie: theirs=1\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    for (path, told) in [(None, "/x"), (Some("/".into()), "/")] {
        let persistence = ir::SessionPersistence {
            carrier: ir::SessionCarrier::PermanentCookie,
            path,
            absolute_timeout: Some(Duration::from_secs(3600)),
            ..cookie()
        };
        let gateway = Setup::new()
            .backend("b", &[backend.address], ir::Protocol::Http)
            .route(|route| {
                route.matches = vec![prefix("/x")];
                route.persistence = Some(Box::new(persistence));
            })
            .start()
            .await;
        let response = ask(&gateway, "").await;
        let cookies = response.values("set-cookie");
        assert_eq!((cookies.len(), cookies[0]), (2, "theirs=1"), "the backend's own cookies stay");
        let attributes = format!("; Path={told}; HttpOnly; SameSite=Strict; Max-Age=3600");
        assert!(cookies[1].ends_with(&attributes), "{cookies:?}");
    }
}

#[tokio::test]
async fn an_idle_time_moves_on_with_each_request() {
    let backend = named("only").await;
    let persistence = ir::SessionPersistence { idle_timeout: Some(Duration::from_secs(2)), ..cookie() };
    let gateway = Setup::before(backend.address);
    let gateway = gateway.change_routes(|route| route.persistence = Some(Box::new(persistence.clone()))).start().await;
    let mut session = given(&ask(&gateway, "").await);
    let first = session.clone();
    // Not synchronisation: time must pass. Longer than the idle time in all, never without a request as long.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let again = ask(&gateway, &format!("cookie: {session}\r\n")).await;
        session = again.header("set-cookie").map_or(session, |_| given(&again));
    }
    assert_ne!(session, first, "the client is told of the time that it has");
}

#[tokio::test]
async fn an_upgrade_begins_a_session_too() {
    let backend = Backend::with_connections(|backend, mut reader, number| async move {
        let Some(seen) = reader.head(number).await else { return };
        backend.note(seen);
        let accepted = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        reader.stream.write_all(accepted).await.unwrap();
        reader.closed().await;
    })
    .await;
    let setup = Setup::before(backend.address).change_routes(|route| route.persistence = Some(Box::new(cookie())));
    let gateway = setup.start().await;
    let response = ask(&gateway, "connection: Upgrade\r\nupgrade: websocket\r\n").await;
    assert_eq!(response.status, 101);
    assert!(given(&response).starts_with("sid="));
}

#[tokio::test]
async fn a_session_that_cannot_be_carried_denies_the_rule() {
    let backend = named("only").await;
    let carrier = ir::SessionCarrier::Header;
    let persistence = ir::SessionPersistence { name: "connection".into(), carrier, ..cookie() };
    let setup = Setup::before(backend.address);
    let gateway = setup.change_routes(|route| route.persistence = Some(Box::new(persistence.clone()))).start().await;
    assert_eq!(ask(&gateway, "").await.status, 500);
    assert_eq!(backend.connections(), 0);
}
