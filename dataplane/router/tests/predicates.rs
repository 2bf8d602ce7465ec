//! What a rule can ask of a request.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Ask, MatchBuilder as _, RouteBuilder as _, exact, get, http, prefix, route, router};
use http::Method;
use portcullis_ir::Match;
use portcullis_router::Router;

fn only(matched: Match) -> Router<()> {
    router([http("web", "")], [route("it", "web", "").matching([matched])])
}

fn takes(router: &Router<()>, ask: &Ask) -> bool {
    ask.answer(router) == "it"
}

#[test]
fn a_prefix_takes_whole_elements_and_ignores_its_trailing_slash() {
    let rules = only(prefix("/abc/"));
    for (path, taken) in
        [("/abc", true), ("/abc/", true), ("/abc/d", true), ("/abcd", false), ("/ab", false), ("/", false)]
    {
        assert_eq!(takes(&rules, &get("h", path)), taken, "{path}");
    }
    assert!(takes(&only(prefix("/")), &get("h", "*")), "OPTIONS * has no path to speak of");
}

#[test]
fn an_exact_path_takes_itself_alone() {
    let rules = only(exact("/abc/"));
    assert!(
        takes(&rules, &get("h", "/abc/")) && !takes(&rules, &get("h", "/abc")) && !takes(&rules, &get("h", "/ABC/"))
    );
}

#[test]
fn methods_are_compared_with_case() {
    let rules = only(prefix("/").method(Method::from_bytes(b"PURGE").unwrap()));
    assert!(takes(&rules, &get("h", "/").method(Method::from_bytes(b"PURGE").unwrap())));
    assert!(!takes(&rules, &get("h", "/").method(Method::from_bytes(b"purge").unwrap())));
    assert!(!takes(&rules, &get("h", "/")));
}

#[test]
fn all_values_of_a_header_are_joined_before_they_are_compared() {
    let rules = only(prefix("/").header("x-flags", "a,b"));
    assert!(takes(&rules, &get("h", "/").header("x-flags", "a,b")));
    assert!(takes(&rules, &get("h", "/").header("x-flags", "a").header("x-flags", "b")));
    for other in ["a", "a, b", "a,b,", "A,b"] {
        assert!(!takes(&rules, &get("h", "/").header("x-flags", other)), "{other}");
    }
    assert!(!takes(&rules, &get("h", "/").header("x-flags", "a").header("x-flags", "b").header("x-flags", "c")));
    assert!(!takes(&rules, &get("h", "/")));
    let rules = only(prefix("/").header_regex("x-flags", "(a+,)+b"));
    assert!(takes(&rules, &get("h", "/").header("x-flags", "a").header("x-flags", "b")));
    let long = "a".repeat(400);
    assert!(takes(&rules, &get("h", "/").header("x-flags", &long).header("x-flags", &long).header("x-flags", "b")));
    assert!(!takes(&rules, &get("h", "/").header("x-flags", &long).header("x-flags", &long).header("x-flags", "c")));
}

#[test]
fn a_value_that_is_not_utf8_never_matches() {
    assert!(!takes(&only(prefix("/").header_regex("x", ".*")), &get("h", "/").header("x", b"\xff")));
    assert!(!takes(&only(prefix("/").header_regex("x", ".*")), &get("h", "/").header("x", "a").header("x", b"\xff")));
    assert!(!takes(&only(prefix("/").query_regex("p", ".*")), &get("h", "/?p=%ff")));
    assert!(takes(&only(prefix("/").header("x", "ü")), &get("h", "/").header("x", "ü")));
}

#[test]
fn parameters_are_compared_decoded_and_the_first_counts() {
    let rules = only(prefix("/").query("animal", "blue whale"));
    for (query, taken) in [
        ("?animal=blue%20whale", true),
        ("?a=b&%61nimal=blue%20whale&animal=cat", true),
        ("?animal=cat&animal=blue%20whale", false),
        ("?animal=blue+whale", false),
        ("?Animal=blue%20whale", false),
        ("?animal", false),
        ("", false),
    ] {
        assert_eq!(takes(&rules, &get("h", &format!("/{query}"))), taken, "{query}");
    }
    assert!(takes(&only(prefix("/").query_regex("p", "[é%]+")), &get("h", "/?p=%C3%A9%")));
    assert!(takes(&only(prefix("/").query("p", "")), &get("h", "/?p")));
}

#[test]
fn all_parts_of_a_match_must_hold_and_any_match_of_a_rule_suffices() {
    let whole = prefix("/a").method(Method::POST).header("x", "1").query("p", "1");
    let rules = router([http("web", "")], [route("it", "web", "").matching([whole, exact("/b")])]);
    let ask = get("h", "/a?p=1").method(Method::POST).header("x", "1");
    assert!(takes(&rules, &ask) && takes(&rules, &get("h", "/b")));
    assert!(!takes(&rules, &get("h", "/a").method(Method::POST).header("x", "1")));
    assert!(!takes(&rules, &get("h", "/a?p=1").method(Method::POST)));
    assert!(!takes(&rules, &ask.method(Method::GET)));
}
