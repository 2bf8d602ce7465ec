//! Rewritten paths and the locations of redirects.

mod common;

use common::{http, https};
use portcullis_ir::{Host, Listener, PathRewrite, Redirect};
use portcullis_router::{RedirectFacts, redirect_location, replace_prefix};
use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_assert_eq, proptest};

const NOTHING: Redirect = Redirect { scheme: None, hostname: None, port: None, path: None, status: 302 };

fn facts<'a>(listener: &'a Listener, scheme: &'a str) -> RedirectFacts<'a> {
    RedirectFacts { listener, scheme, host: "example.org", path: "/a", query: None, matched_prefix: None }
}

/// The table of `HTTPPathModifier.replacePrefixMatch`, then what it leaves open.
const REPLACED: [(&str, &str, &str, &str); 21] = [
    ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
    ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
    ("/foo", "/foo", "/xyz", "/xyz"),
    ("/foo/", "/foo", "/xyz", "/xyz/"),
    ("/foo/bar", "/foo", "", "/bar"),
    ("/foo/", "/foo", "", "/"),
    ("/foo", "/foo", "", "/"),
    ("/foo/", "/foo", "/", "/"),
    ("/foo", "/foo", "/", "/"),
    ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
    ("/", "/", "/xyz", "/xyz/"),
    ("/foo/bar", "/", "/", "/foo/bar"),
    ("/a/b/c", "/a/b", "xyz", "/xyz/c"),
    // The client's own bytes stay, encoded or doubled as they are.
    ("/foo/b%2Fr/%C3%BC", "/foo", "/xyz", "/xyz/b%2Fr/%C3%BC"),
    ("/f%6fo/bar", "/foo", "/xyz", "/xyz/bar"),
    ("//foo//bar", "/foo", "/xyz", "/xyz//bar"),
    ("/foo//", "/foo", "/xyz", "/xyz//"),
    ("//foo/bar//baz", "/foo/bar", "/", "//baz"),
    ("/foo/bar", "/foo", "/x//", "/x/bar"),
];

#[test]
fn a_rewrite_replaces_a_prefix_as_the_specification_says() {
    for (path, prefix, replacement, expected) in REPLACED {
        assert_eq!(replace_prefix(path, prefix, replacement), expected, "{path} {prefix} {replacement}");
    }
}

#[test]
fn a_redirect_replaces_a_prefix_as_the_specification_says() {
    let listener = http("web", "");
    for (path, prefix, replacement, expected) in REPLACED {
        let redirect = Redirect { path: Some(PathRewrite::Prefix(replacement.into())), ..NOTHING };
        let facts =
            RedirectFacts { path, matched_prefix: Some(prefix), query: Some("a=b"), ..facts(&listener, "http") };
        assert_eq!(redirect_location(&redirect, &facts), format!("http://example.org{expected}?a=b"));
    }
}

#[test]
fn the_port_is_the_redirects_then_the_schemes_then_the_listeners() {
    let http_at = |port| Listener { port, ..http("web", "") };
    let https_at = |port| Listener { port, ..https("web", "") };
    for (listener, scheme, port, expected) in [
        (http_at(80), None, None, "http://example.org/a"),
        (http_at(80), Some("https"), None, "https://example.org/a"),
        (http_at(80), None, Some(8080), "http://example.org:8080/a"),
        (http_at(80), None, Some(443), "http://example.org:443/a"),
        (http_at(80), Some("https"), Some(443), "https://example.org/a"),
        (http_at(80), Some("https"), Some(80), "https://example.org:80/a"),
        (http_at(8080), None, None, "http://example.org:8080/a"),
        (http_at(8080), None, Some(80), "http://example.org/a"),
        (http_at(8080), Some("http"), None, "http://example.org/a"),
        (http_at(8080), Some("https"), None, "https://example.org/a"),
        (http_at(8080), Some("https"), Some(8443), "https://example.org:8443/a"),
        (https_at(443), None, None, "https://example.org/a"),
        (https_at(443), Some("http"), None, "http://example.org/a"),
        (https_at(443), Some("http"), Some(443), "http://example.org:443/a"),
        (https_at(443), None, Some(80), "https://example.org:80/a"),
        (https_at(8443), None, None, "https://example.org:8443/a"),
        (https_at(8443), Some("https"), None, "https://example.org/a"),
        (https_at(8443), Some("http"), None, "http://example.org/a"),
        // No well-known port: the listener's.
        (http_at(8080), Some("ftp"), None, "ftp://example.org:8080/a"),
    ] {
        let redirect = Redirect { scheme: scheme.map(Into::into), port, ..NOTHING };
        let own = if listener.port == 443 || listener.port == 8443 { "https" } else { "http" };
        assert_eq!(redirect_location(&redirect, &facts(&listener, own)), expected, "{redirect:?} at {}", listener.port);
    }
}

#[test]
fn where_a_trusted_hop_ended_tls_the_listeners_port_is_not_the_clients() {
    let listener = Listener { port: 8080, ..http("web", "") };
    assert_eq!(redirect_location(&NOTHING, &facts(&listener, "https")), "https://example.org/a");
    let redirect = Redirect { port: Some(8443), ..NOTHING };
    assert_eq!(redirect_location(&redirect, &facts(&listener, "https")), "https://example.org:8443/a");
}

#[test]
fn host_path_and_query_are_kept_unless_replaced() {
    let listener = http("web", "");
    let facts = RedirectFacts { path: "/a//%2e", query: Some("x=%20?"), ..facts(&listener, "http") };
    assert_eq!(redirect_location(&NOTHING, &facts), "http://example.org/a//%2e?x=%20?");
    let redirect = Redirect { hostname: Host::parse("other.org").ok(), ..NOTHING };
    assert_eq!(redirect_location(&redirect, &facts), "http://other.org/a//%2e?x=%20?");
    let redirect = Redirect { path: Some(PathRewrite::Full("/full".into())), ..NOTHING };
    assert_eq!(redirect_location(&redirect, &facts), "http://example.org/full?x=%20?");
    let redirect = Redirect { path: Some(PathRewrite::Full("".into())), ..NOTHING };
    assert_eq!(redirect_location(&redirect, &facts), "http://example.org/?x=%20?");
    assert_eq!(redirect_location(&NOTHING, &RedirectFacts { host: "::1", ..facts }), "http://[::1]/a//%2e?x=%20?");
}

#[test]
fn without_a_host_the_location_stays_on_this_server() {
    let listener = http("web", "");
    let facts = RedirectFacts { host: "", path: "//evil.example/a", ..facts(&listener, "http") };
    assert_eq!(redirect_location(&NOTHING, &facts), "/evil.example/a");
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec("(/{1,2})(a|b|%2F|%41|ü){0,2}", 1..5).prop_map(|elements| elements.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_follows_the_prefix_is_untouched_and_no_slashes_double(forwarded in path(), replacement in "(/[abü]{1,2}){0,3}/?") {
        let elements: Vec<&str> = forwarded.split('/').filter(|element| !element.is_empty()).collect();
        for covered in 0..=elements.len() {
            let prefix = format!("/{}", elements[..covered].join("/"));
            let replaced = replace_prefix(&forwarded, &prefix, &replacement);
            let head = replacement.trim_end_matches('/');
            prop_assert!(replaced.starts_with('/') && replaced.starts_with(head));
            let suffix = &replaced[head.len()..];
            prop_assert!(forwarded.ends_with(suffix) || (suffix == "/" && head.is_empty()), "{forwarded} {replaced}");
            let kept: Vec<&str> = suffix.split('/').filter(|element| !element.is_empty()).collect();
            prop_assert_eq!(kept, elements[covered..].to_vec());
            let doubles = |path: &str| path.matches("//").count();
            prop_assert!(doubles(&replaced) <= doubles(&forwarded), "{forwarded} {prefix} {replacement} {replaced}");
        }
    }
}
