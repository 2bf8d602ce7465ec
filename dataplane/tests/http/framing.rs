//! The probe list of framing attacks: each is refused, or reaches the backend as exactly one faultless request.

use super::support::{Backend, Response, Setup, ok};

const GOOD_END: &str = "\r\n\r\n";

/// Sends raw bytes on a connection of their own; the answer (none if it was closed) and what the backend saw.
async fn probe(raw: &[u8]) -> (Option<Response>, Backend) {
    let backend = Backend::answering(|_| ok("fine")).await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send(raw).await;
    let response = client.try_response(raw.starts_with(b"HEAD")).await;
    (response, backend)
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_and_the_backend_sees_nothing() {
    let large = format!("x-large: {}", "a".repeat(100 * 1024));
    let many = "x-many: 1\r\n".repeat(2000);
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nhost: a.test\r\n{lines}{GOOD_END}").into_bytes();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("xchunked", with("transfer-encoding: xchunked"), 400),
        ("chunked not last", with("transfer-encoding: chunked, gzip"), 400),
        ("another coding before chunked", with("transfer-encoding: gzip, chunked"), 400),
        ("chunked twice", with("transfer-encoding: chunked\r\ntransfer-encoding: chunked"), 400),
        ("identity", with("transfer-encoding: identity"), 400),
        ("coding with a space", with("transfer-encoding : chunked"), 400),
        ("coding with a tab", with("transfer-encoding\t: chunked"), 400),
        ("coding behind a control byte", with("transfer-encoding: \x0bchunked"), 400),
        ("folded coding", with("transfer-encoding:\r\n chunked"), 400),
        ("lengths that differ", with("content-length: 5\r\ncontent-length: 6"), 400),
        ("a list of lengths that differ", with("content-length: 5, 6"), 400),
        ("+3", with("content-length: +3"), 400),
        ("-1", with("content-length: -1"), 400),
        ("hexadecimal length", with("content-length: 0x5"), 400),
        ("overflowing length", with("content-length: 99999999999999999999999"), 400),
        ("empty length", with("content-length: "), 400),
        (
            "HTTP/1.0 with chunks",
            b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            400,
        ),
        ("folded line", with("x-folded: a\r\n b"), 400),
        ("space before the colon", with("x-space : a"), 400),
        ("space in a name", with("x space: a"), 400),
        ("NUL in a value", with("x-nul: a\0b"), 400),
        ("bare CR in a value", with("x-cr: a\rb"), 400),
        ("no name", with(": a"), 400),
        ("two hosts", with("host: a.test"), 400),
        ("two hosts that differ", with("host: b.test"), 400),
        ("no host", b"GET / HTTP/1.1\r\nx: y\r\n\r\n".to_vec(), 400),
        ("empty host", b"GET / HTTP/1.1\r\nhost: \r\n\r\n".to_vec(), 400),
        ("userinfo in the host", b"GET / HTTP/1.1\r\nhost: user@a.test\r\n\r\n".to_vec(), 400),
        ("path in the host", b"GET / HTTP/1.1\r\nhost: a.test/b\r\n\r\n".to_vec(), 400),
        ("absolute target of another host", b"GET http://b.test/ HTTP/1.1\r\nhost: a.test\r\n\r\n".to_vec(), 400),
        ("absolute target without host", b"GET http://b.test/ HTTP/1.1\r\n\r\n".to_vec(), 400),
        ("target of another scheme", b"GET ftp://a.test/ HTTP/1.1\r\nhost: a.test\r\n\r\n".to_vec(), 400),
        ("target that is none", b"GET a.test HTTP/1.1\r\nhost: a.test\r\n\r\n".to_vec(), 400),
        ("Connection: Host", with("connection: host"), 400),
        ("Connection: Content-Length", with("connection: close, content-length\r\ncontent-length: 0"), 400),
        ("Connection: X-Forwarded-For", with("connection: x-forwarded-for"), 400),
        ("malformed nomination", with("connection: a b"), 400),
        ("path above the root", b"GET /../a HTTP/1.1\r\nhost: a.test\r\n\r\n".to_vec(), 400),
        ("encoded path above the root", b"GET /%2e%2e/a HTTP/1.1\r\nhost: a.test\r\n\r\n".to_vec(), 400),
        ("NUL in the path", b"GET /%00 HTTP/1.1\r\nhost: a.test\r\n\r\n".to_vec(), 400),
        ("no version", b"GET /\r\n\r\n".to_vec(), 400),
        ("unknown version", b"GET / HTTP/3.0\r\nhost: a.test\r\n\r\n".to_vec(), 400),
        ("CONNECT", b"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n".to_vec(), 405),
        ("TRACE", b"TRACE / HTTP/1.1\r\nhost: a.test\r\n\r\n".to_vec(), 405),
        ("100 kB header", with(&large), 431),
        ("2,000 headers", with(&many), 431),
        ("200 headers", with("x-many: 1\r\n".repeat(200).trim_end()), 431),
    ];
    let backend = Backend::answering(|_| ok("fine")).await;
    let gateway = Setup::before(backend.address).start().await;
    for (name, raw, status) in cases {
        let mut client = gateway.connect().await;
        client.send(&raw).await;
        let response = client.try_response(false).await.unwrap_or_else(|| panic!("{name}: closed without an answer"));
        assert_eq!(response.status, status, "{name}: {}", response.text());
        assert_eq!(response.header("connection"), Some("close"), "{name}");
        assert_eq!(client.rest().await, b"", "{name}");
        assert!(backend.seen().is_empty(), "{name}: {:#?}", backend.seen());
    }
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn what_the_parser_refuses_is_counted() {
    let backend = Backend::echoing_lines().await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nx y: z\r\n\r\n").await;
    assert_eq!(client.response().await.status, 400);
    client.rest().await;
    gateway.counts("portcullis_dataplane_request_flags_total{flag=\"BR\"}", 1).await;
}

#[tokio::test]
async fn length_and_chunks_together_reach_the_backend_as_one_request_and_end_the_connection() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n";
    let raw = format!(
        "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    );
    let (response, backend) = probe(raw.as_bytes()).await;
    let response = response.unwrap();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    let seen = backend.only();
    assert_eq!(seen.body, b"");
    assert_eq!(seen.values("content-length").len() + seen.values("transfer-encoding").len(), 1);
}

#[tokio::test]
async fn bare_line_feeds_are_written_anew() {
    let (response, backend) = probe(b"POST /a HTTP/1.1\nhost: a.test\ncontent-length: 5\n\n12345").await;
    assert_eq!(response.unwrap().status, 200);
    let seen = backend.only();
    assert_eq!((seen.request_line.as_str(), seen.body.as_slice()), ("POST /a HTTP/1.1", &b"12345"[..]));
}

#[tokio::test]
async fn equal_lengths_become_one() {
    let (response, backend) =
        probe(b"POST /a HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\ncontent-length: 5, 5\r\n\r\n12345").await;
    assert_eq!(response.unwrap().status, 200);
    assert_eq!(backend.only().values("content-length"), ["5"]);
}

#[tokio::test]
async fn absolute_targets_become_origin_form() {
    let (response, backend) = probe(b"GET http://a.test/b?c=d HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert_eq!(response.unwrap().status, 200);
    assert_eq!(backend.only().request_line, "GET /b?c=d HTTP/1.1");
}

#[tokio::test]
async fn dot_segments_are_resolved_and_other_bytes_kept() {
    let (response, backend) = probe(b"GET /a/./b//../%7ec?x=../y HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert_eq!(response.unwrap().status, 200);
    assert_eq!(backend.only().target(), "/a/%7ec?x=../y");
}

#[tokio::test]
async fn methods_are_case_sensitive_and_pass() {
    let (response, backend) = probe(b"get / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert_eq!(response.unwrap().status, 200);
    assert_eq!(backend.only().request_line, "get / HTTP/1.1");
}

#[tokio::test]
async fn hop_by_hop_headers_and_what_is_nominated_stay_behind() {
    let (response, backend) = probe(
        b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: keep-alive, X-Mine\r\nx-mine: 1\r\nkeep-alive: timeout=5\r\n\
          te: gzip, trailers\r\nproxy-connection: keep-alive\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQ\r\n\
          proxy-authorization: Basic eA==\r\nx-other: 2\r\n\r\n",
    )
    .await;
    assert_eq!(response.unwrap().status, 200);
    let seen = backend.only();
    for gone in [
        "connection",
        "x-mine",
        "keep-alive",
        "te",
        "proxy-connection",
        "upgrade",
        "http2-settings",
        "proxy-authorization",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(seen.header("x-other"), Some("2"));
}

#[tokio::test]
async fn a_bad_chunk_ends_everything_and_the_backend_connection_is_not_used_again() {
    let backend = Backend::answering(|_| ok("fine")).await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n").await;
    let response = client.response().await;
    assert_eq!((response.status, response.header("connection")), (400, Some("close")));
    assert_eq!(gateway.get("/next").await.status, 200);
    // Only the second was whole, and it came on a connection of its own.
    let seen = backend.only();
    assert_eq!((seen.target(), seen.connection), ("/next", 1));
}
