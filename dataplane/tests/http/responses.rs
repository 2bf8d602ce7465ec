//! The backend's answers on their way to the client.

use portcullis_ir as ir;

use super::support::{Backend, Setup, ok};

/// Answers the first request on every connection with `bytes`.
async fn answering(bytes: &'static [u8]) -> Backend {
    Backend::answering(move |_| bytes.to_vec()).await
}

#[tokio::test]
async fn early_hints_are_forwarded_before_the_answer() {
    let backend = answering(
        b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </b>\r\n\r\n\
          HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    )
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let hints = client.response().await;
    assert_eq!((hints.status, hints.header("link")), (103, Some("</style.css>")));
    assert_eq!(client.response().await.header("link"), Some("</b>"));
    assert_eq!(client.response().await.text(), "hi");
    // HTTP/1.0 knows no interim responses.
    client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "hi");
}

#[tokio::test]
async fn answers_without_a_body_have_none_whatever_they_announce() {
    for (method, answer, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", Some("100")),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", None),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", None),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n", Some("100")),
        ("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", None),
    ] {
        let backend = Backend::answering(move |_| answer.as_bytes().to_vec()).await;
        let gateway = Setup::before(backend.address).start().await;
        let mut client = gateway.connect().await;
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            let response = client.head_response().await;
            assert_eq!(response.header("content-length"), length, "{method} {answer}");
            assert_eq!(response.header("transfer-encoding"), None, "{method} {answer}");
        }
    }
}

#[tokio::test]
async fn empty_bodies_are_said_to_be_empty() {
    let backend = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let gateway = Setup::before(backend.address).start().await;
    let response = gateway.get("/").await;
    assert_eq!((response.header("content-length"), response.body.len()), (Some("0"), 0));
}

#[tokio::test]
async fn reason_phrases_and_dates_of_the_backend_are_kept() {
    let backend =
        answering(b"HTTP/1.1 299 Rather Fine\r\ndate: Mon, 01 Jan 2001 00:00:00 GMT\r\ncontent-length: 0\r\n\r\n")
            .await;
    let gateway = Setup::before(backend.address).start().await;
    let response = gateway.get("/").await;
    assert_eq!((response.status, response.reason.as_str()), (299, "Rather Fine"));
    assert_eq!(response.header("date"), Some("Mon, 01 Jan 2001 00:00:00 GMT"));
}

#[tokio::test]
async fn what_belongs_to_the_backends_connection_stays_there() {
    let backend = answering(
        b"HTTP/1.1 200 OK\r\nconnection: keep-alive, x-mine\r\nx-mine: 1\r\nkeep-alive: timeout=5\r\n\
          proxy-connection: keep-alive\r\nupgrade: h2c\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let gateway = Setup::before(backend.address).start().await;
    let response = gateway.get("/").await;
    for gone in ["connection", "x-mine", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(response.header(gone), None, "{gone}");
    }
    assert_eq!(response.values("set-cookie"), ["a=1", "b=2"]);
}

#[tokio::test]
async fn answers_that_break_the_protocol_are_502() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\n12345",
        "garbage\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "",
    ] {
        let backend = Backend::with_connections(move |_, mut reader, number| async move {
            use tokio::io::AsyncWriteExt;
            reader.request(number).await.unwrap();
            reader.stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let gateway = Setup::before(backend.address).start().await;
        let response = gateway.get("/").await;
        assert_eq!(response.status, 502, "{answer:?} {}", response.text());
    }
}

#[tokio::test]
async fn a_backend_that_sends_too_much_is_not_used_again() {
    let backend =
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
            .await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.text(), "hi");
    }
    assert_eq!(backend.connections(), 3);
}

#[tokio::test]
async fn response_filters_of_backend_and_rule_apply() {
    let backend = answering(b"HTTP/1.1 200 OK\r\nserver: secret\r\nx-a: 1\r\ncontent-length: 0\r\n\r\n").await;
    let edits = |set: &[(&'static str, &'static str)], remove: &[&'static str]| {
        ir::Filter::ResponseHeaders(ir::HeaderEdits {
            set: set
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
                .collect(),
            add: Vec::new(),
            remove: remove.iter().map(|name| http::HeaderName::from_static(name)).collect(),
        })
    };
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .route(|route| {
            route.filters = vec![edits(&[("x-rule", "1"), ("x-both", "rule")], &["server"])];
            let mut to = super::support::gateway::to("b");
            to.filters = vec![edits(&[("x-backend", "1"), ("x-both", "backend")], &["x-a"])];
            route.action = ir::Action::Forward(vec![to]);
        })
        .start()
        .await;
    let response = gateway.get("/").await;
    assert_eq!((response.header("x-rule"), response.header("x-backend")), (Some("1"), Some("1")));
    assert_eq!(response.header("x-both"), Some("rule"), "the rule speaks last");
    assert_eq!((response.header("server"), response.header("x-a")), (None, None));
    let _ = ok("");
}
