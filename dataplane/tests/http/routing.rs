//! What rules do to a request on its way: matching, weights, filters, rewrites, redirects.

use http::{HeaderName, HeaderValue};
use portcullis_ir as ir;

use super::support::gateway::{prefix, to};
use super::support::{Backend, Gateway, Setup, ok};

fn edits(
    set: &[(&'static str, &'static str)],
    add: &[(&'static str, &'static str)],
    remove: &[&'static str],
) -> ir::Filter {
    let pair = |&(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    ir::Filter::RequestHeaders(ir::HeaderEdits {
        set: set.iter().map(pair).collect(),
        add: add.iter().map(pair).collect(),
        remove: remove.iter().map(|name| HeaderName::from_static(name)).collect(),
    })
}

fn rewrite(hostname: Option<&str>, path: Option<ir::PathRewrite>) -> ir::Filter {
    let hostname = hostname.map(|name| ir::Host::parse(name).unwrap());
    ir::Filter::UrlRewrite(ir::UrlRewrite { hostname, path })
}

#[tokio::test]
async fn request_filters_of_rule_and_backend_apply_to_all_values() {
    let backend = Backend::answering(|_| ok("")).await;
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .route(|route| {
            route.filters = vec![edits(&[("x-set", "rule")], &[("x-add", "rule")], &["x-gone"])];
            let mut to = to("b");
            to.filters = vec![edits(&[("x-set", "backend")], &[], &[])];
            route.action = ir::Action::Forward(vec![to]);
        })
        .start()
        .await;
    let mut client = gateway.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nhost: a\r\nX-Set: 1\r\nx-set: 2\r\nX-Add: client\r\nx-gone: 1\r\nX-Gone: 2\r\n\
             x-kept: 1\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status, 200);
    let seen = backend.only();
    assert_eq!(seen.values("x-set"), ["backend"], "the backend's filter speaks last");
    assert_eq!(seen.values("x-add"), ["client", "rule"]);
    assert_eq!((seen.header("x-gone"), seen.header("x-kept")), (None, Some("1")));
}

#[tokio::test]
async fn framing_cannot_be_edited() {
    let backend = Backend::answering(|_| ok("")).await;
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .route(|route| {
            let set = [("transfer-encoding", "chunked"), ("content-length", "1"), ("connection", "close")];
            route.filters = vec![edits(&set, &[("content-length", "7")], &["content-length", "host"])];
        })
        .start()
        .await;
    let mut client = gateway.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_eq!(client.response().await.status, 200);
    let seen = backend.only();
    assert_eq!((seen.body.as_slice(), seen.header("connection")), (&b"hello"[..], None));
}

#[tokio::test]
async fn prefixes_are_replaced_by_element_and_nothing_is_decoded() {
    // Gateway API's table for ReplacePrefixMatch, and what must survive.
    for (request, matched, replacement, sent) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo/bar", "/foo", "/", "/bar"),
        ("/foo/%2Fb%20c//d?q=%2F..&r", "/foo", "/x", "/x/%2Fb%20c//d?q=%2F..&r"),
        ("/%66oo/bar", "/foo", "/xyz", "/xyz/bar"),
    ] {
        let backend = Backend::answering(|_| ok("")).await;
        let gateway = Setup::new()
            .backend("b", &[backend.address], ir::Protocol::Http)
            .route(|route| {
                route.matches = vec![prefix(matched)];
                route.filters = vec![rewrite(None, Some(ir::PathRewrite::Prefix(replacement.into())))];
            })
            .start()
            .await;
        assert_eq!(gateway.get(request).await.status, 200, "{request}");
        assert_eq!(backend.only().target(), sent, "{request} {matched} {replacement}");
    }
}

#[tokio::test]
async fn hosts_and_whole_paths_are_rewritten() {
    let backend = Backend::answering(|_| ok("")).await;
    let gateway = Setup::new()
        .backend("b", &[backend.address], ir::Protocol::Http)
        .route(|route| {
            let path = ir::PathRewrite::Full("/whole".into());
            route.filters = vec![rewrite(Some("inner.test"), Some(path))];
        })
        .start()
        .await;
    assert_eq!(gateway.get("/a/b?c=d").await.status, 200);
    let seen = backend.only();
    assert_eq!((seen.target(), seen.header("host")), ("/whole?c=d", Some("inner.test")));
    assert_eq!(seen.header("x-forwarded-host"), Some("a.test"));
}

#[tokio::test]
async fn a_host_is_forwarded_as_it_was_sent() {
    let backend = Backend::answering(|_| ok("")).await;
    let gateway = Setup::before(backend.address).start().await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: WWW.Example.COM.:8080\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    let seen = backend.only();
    assert_eq!((seen.header("host"), seen.header("x-forwarded-host")), (Some("WWW.Example.COM.:8080"), None));
}

#[tokio::test]
async fn redirects_tell_scheme_host_and_port_and_leave_the_connection_open() {
    let redirect = ir::Redirect { scheme: None, hostname: None, port: None, path: None, status: 302 };
    let route = |path: &'static str, redirect: ir::Redirect| {
        move |route: &mut ir::Route| {
            route.matches = vec![prefix(path)];
            route.action = ir::Action::Redirect(Box::new(redirect));
        }
    };
    let path = Some(ir::PathRewrite::Prefix("/new".into()));
    let gateway = Setup::new()
        .route(route("/tls", ir::Redirect { scheme: Some("https".into()), status: 301, ..redirect.clone() }))
        .route(route("/old", ir::Redirect { path, port: Some(8080), ..redirect.clone() }))
        .route(route("/host", ir::Redirect { hostname: Some(ir::Host::parse("b.test").unwrap()), ..redirect }))
        .start()
        .await;
    let port = gateway.port;
    let mut client = gateway.connect().await;
    for (target, status, location) in [
        ("/tls/x?y=z", 301, "https://a.test/tls/x?y=z".to_owned()),
        ("/old/x", 302, "http://a.test:8080/new/x".to_owned()),
        ("/host", 302, format!("http://b.test:{port}/host")),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nhost: a.test\r\n\r\n")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("location")), (status, Some(&*location)), "{target}");
    }
}

#[tokio::test]
async fn weights_are_kept_exactly_and_the_invalid_share_is_denied() {
    let (one, two) = (Backend::answering(|_| ok("one")).await, Backend::answering(|_| ok("two")).await);
    let weighted = |name, weight| ir::WeightedBackend { weight, ..to(name) };
    let invalid = ir::Target::Invalid(ir::Failure::InvalidBackend);
    let gateway = Setup::new()
        .backend("one", &[one.address], ir::Protocol::Http)
        .backend("two", &[two.address], ir::Protocol::Http)
        .backend("empty", &[], ir::Protocol::Http)
        .route(|route| {
            route.action = ir::Action::Forward(vec![
                weighted("one", 5),
                weighted("two", 2),
                ir::WeightedBackend { target: invalid, weight: 2, filters: Vec::new() },
                weighted("empty", 1),
                weighted("one", 0),
            ]);
        })
        .start()
        .await;
    assert_eq!(statuses(&gateway, 100).await, [(200, 70), (500, 20), (503, 10)]);
    assert_eq!((one.seen().len(), two.seen().len()), (50, 20));
}

async fn statuses(gateway: &Gateway, requests: usize) -> Vec<(u16, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    let mut client = gateway.connect().await;
    for _ in 0..requests {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        *counts.entry(client.response().await.status).or_default() += 1;
    }
    counts.into_iter().collect()
}

#[tokio::test]
async fn what_a_stranger_claims_cannot_be_matched_by_rules() {
    let (trusted, others) = (Backend::answering(|_| ok("inside")).await, Backend::answering(|_| ok("outside")).await);
    let gateway = Setup::new()
        .backend("inside", &[trusted.address], ir::Protocol::Http)
        .backend("outside", &[others.address], ir::Protocol::Http)
        .route(|route| {
            let name = HeaderName::from_static("x-real-ip");
            let value = ir::StringMatch::Exact("10.0.0.1".into());
            route.matches = vec![ir::Match { headers: vec![ir::HeaderMatch { name, value }], ..ir::Match::default() }];
            route.action = ir::Action::Forward(vec![to("inside")]);
        })
        .route(|route| route.action = ir::Action::Forward(vec![to("outside")]))
        .start()
        .await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-real-ip: 10.0.0.1\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "outside");
}
