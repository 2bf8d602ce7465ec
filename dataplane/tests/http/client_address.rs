//! What backends are told about the client.

use super::support::{Backend, Seen, Setup, ok};

/// What the backend sees of a request with these header lines.
async fn seen(trusted: bool, lines: &str) -> Seen {
    let backend = Backend::answering(|_| ok("")).await;
    let setup = Setup::before(backend.address).settings(|settings| {
        settings.trusted_proxies =
            if trusted { vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()] } else { Vec::new() };
    });
    let gateway = setup.start().await;
    let mut client = gateway.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nhost: a.test\r\n{lines}\r\n")).await;
    assert_eq!(client.response().await.status, 200);
    backend.only()
}

const CLAIMS: &str = "x-forwarded-for: 1.2.3.4\r\nX-Forwarded-For: 10.9.9.9\r\nx-forwarded-proto: https\r\n\
                      x-forwarded-host: claimed.test\r\nforwarded: for=1.2.3.4\r\nx-real-ip: 1.2.3.4\r\n\
                      x-request-id: chosen-by-client\r\n";

#[tokio::test]
async fn strangers_are_told_apart_from_what_they_claim() {
    let seen = seen(false, CLAIMS).await;
    assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.values("x-forwarded-proto"), ["http"]);
    for gone in ["x-forwarded-host", "forwarded", "x-real-ip"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_ne!(seen.header("x-request-id"), Some("chosen-by-client"));
}

#[tokio::test]
async fn trusted_hops_are_believed_and_continued() {
    let seen = seen(true, CLAIMS).await;
    assert_eq!(seen.values("x-forwarded-for"), ["1.2.3.4, 10.9.9.9, 127.0.0.1"]);
    assert_eq!(seen.values("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.header("x-forwarded-host"), Some("claimed.test"));
    assert_eq!(seen.values("x-request-id"), ["chosen-by-client"]);
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own() {
    let backend = Backend::answering(|_| ok("")).await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.response().await;
    }
    let ids: std::collections::BTreeSet<_> =
        backend.seen().iter().map(|seen| seen.header("x-request-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 3);
}
