//! Which listener a request belongs to.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use common::{PORT_443, RouteBuilder as _, get, http, https, listener_key, prefix, put, route, router};
use portcullis_ir::{Change, Listener, Resource};
use portcullis_router::{Bind, Outcome};

/// `GatewayHTTPListenerIsolation` of the conformance suite.
#[test]
fn only_the_most_specific_listener_of_a_port_serves_a_host() {
    let names = ["empty", "wildcard", "foo-wildcard", "exact"];
    let hostnames = ["", "*.example.com", "*.foo.example.com", "abc.foo.example.com"];
    let listeners = [0, 1, 2, 3].map(|n| http(names[n], hostnames[n]));
    let routes =
        [0, 1, 2, 3].map(|n| route(names[n], names[n], hostnames[n]).matching([prefix(&format!("/{}", names[n]))]));
    let rules = router(listeners, routes);
    for (host, served) in [
        ("bar.com", "empty"),
        ("example.com", "empty"),
        ("bar.example.com", "wildcard"),
        ("foo.example.com", "wildcard"),
        ("bar.foo.example.com", "foo-wildcard"),
        ("abc.foo.example.com", "exact"),
    ] {
        for name in names {
            let expected = if name == served { name } else { "404" };
            assert_eq!(get(host, &format!("/{name}")).answer(&rules), expected, "{host}");
        }
    }
}

#[test]
fn a_miss_names_the_listener_that_would_have_served() {
    let rules = router([http("web", "*.example.com")], [route("a", "web", "a.example.com")]);
    let listener = |host| {
        get(host, "/").outcome(&rules, |outcome| match outcome {
            Outcome::NotFound { listener } => listener.map(|listener| listener.key.clone()),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(listener("b.example.com"), Some(listener_key("web")));
    assert_eq!(listener("example.org"), None);
    assert_eq!(get("a.example.com", "/").bind(PORT_443).answer(&rules), "404");
}

/// `HTTPRouteHTTPSListenerDetectMisdirectedRequests`: its Gateway, its routes, and its table.
#[test]
fn a_request_for_another_https_listener_is_misdirected() {
    let rules = router(
        [
            https("https", ""),
            https("second", "second-example.org"),
            https("wildcard", "*.wildcard.org"),
            https("fourth", "fourth-example.wildcard.org"),
            http("http", ""),
        ],
        [
            route("one", "https", "example.org"),
            route("two", "second", "second-example.org"),
            route("three", "wildcard", "*.wildcard.org"),
            route("four", "fourth", "fourth-example.wildcard.org"),
        ],
    );
    for (sni, host, answer) in [
        ("example.org", "example.org", "one"),
        ("example.org", "second-example.org", "421"),
        ("example.org", "unknown-example.org", "404"),
        ("second-example.org", "second-example.org", "two"),
        ("second-example.org", "example.org", "421"),
        ("second-example.org", "unknown-example.org", "421"),
        ("third-example.wildcard.org", "third-example.wildcard.org", "three"),
        ("third-example.wildcard.org", "fifth-example.wildcard.org", "three"),
        ("third-example.wildcard.org", "fourth-example.wildcard.org", "421"),
        ("third-example.wildcard.org", "second-example.org", "421"),
        ("third-example.wildcard.org", "unknown-example.org", "421"),
        ("fourth-example.wildcard.org", "fourth-example.wildcard.org", "four"),
        ("fourth-example.wildcard.org", "fifth-example.wildcard.org", "421"),
        ("unknown-example.org", "example.org", "one"),
        ("unknown-example.org", "unknown-example.org", "404"),
        // A client without a server name was taken in by the listener for all hosts.
        ("", "example.org", "one"),
        ("", "second-example.org", "421"),
    ] {
        assert_eq!(get(host, "/").sni(sni).answer(&rules), answer, "{sni} {host}");
    }
}

/// The same without a listener for all hosts: what belongs to nobody is 404, whoever was asked.
#[test]
fn a_host_of_no_listener_is_not_found_rather_than_misdirected() {
    let rules = router(
        [https("a", "a.org"), https("b", "*.b.org")],
        [route("a", "a", "a.org"), route("b", "b", "*.b.org").matching([prefix("/b")])],
    );
    for (sni, host, answer) in [
        ("a.org", "a.org", "a"),
        ("a.org", "x.b.org", "421"),
        ("a.org", "other.org", "404"),
        ("a.org", "", "404"),
        ("x.b.org", "y.b.org", "404"),
        // No listener for such a connection any more: the client should open another one.
        ("gone.org", "a.org", "421"),
        ("gone.org", "gone.org", "404"),
    ] {
        assert_eq!(get(host, "/").sni(sni).answer(&rules), answer, "{sni} {host}");
    }
}

#[test]
fn the_server_name_chooses_exact_then_the_longest_wildcard_then_any() {
    let rules = router(
        [
            https("any", ""),
            https("short", "*.org"),
            https("long", "*.a.org"),
            https("exact", "x.a.org"),
            http("h", "y.a.org"),
        ],
        [],
    );
    let chosen = |sni| rules.listener_for_sni(PORT_443, sni).map(|listener| listener.key.name.to_string());
    assert_eq!(chosen(Some("x.a.org")).as_deref(), Some("exact"));
    assert_eq!(chosen(Some("y.a.org")).as_deref(), Some("long"));
    assert_eq!(chosen(Some("a.org")).as_deref(), Some("short"));
    assert_eq!(chosen(Some("a.com")).as_deref(), Some("any"));
    assert_eq!(chosen(None).as_deref(), Some("any"));
    assert_eq!(rules.listener_for_sni(common::PORT_80, Some("y.a.org")), None, "not an HTTPS listener");
}

#[test]
fn a_listener_is_reached_at_each_of_its_addresses_only() {
    let addresses = [1, 2].map(|n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)));
    let listener = Listener { addresses: addresses.to_vec(), ..http("web", "") };
    let rules = router([listener], [route("a", "web", "")]);
    for address in addresses {
        assert_eq!(get("h", "/").bind(Bind { address: Some(address), port: 80 }).answer(&rules), "a");
    }
    assert_eq!(get("h", "/").answer(&rules), "404");
}

#[test]
fn plain_and_tls_listeners_of_one_port_do_not_mix() {
    let both = [Listener { port: 443, ..http("plain", "") }, https("tls", "")];
    let rules = router(both, [route("plain", "plain", ""), route("tls", "tls", "")]);
    assert_eq!(get("h", "/").bind(PORT_443).answer(&rules), "plain");
    assert_eq!(get("h", "/").sni("h").answer(&rules), "tls");
}

#[test]
fn a_listener_that_moves_takes_its_rules_along() {
    let mut rules = router([http("web", "a.com")], [route("a", "web", "")]);
    let before = rules.clone();
    let moved = Listener { port: 8080, ..http("web", "b.com") };
    let change = Change {
        before: Some(Resource::Listener(Arc::new(http("web", "a.com")))),
        after: Some(Resource::Listener(Arc::new(moved))),
    };
    rules.apply(&[change], &mut |_| ());
    let elsewhere = get("b.com", "/").bind(Bind { address: None, port: 8080 });
    assert_eq!((elsewhere.answer(&rules), get("a.com", "/").answer(&rules)), ("a".to_owned(), "404".to_owned()));
    assert_eq!((elsewhere.answer(&before), get("a.com", "/").answer(&before)), ("404".to_owned(), "a".to_owned()));
}

#[test]
fn a_route_may_come_before_its_listener_and_stay_after_it() {
    let mut rules = router([], [route("a", "web", "")]);
    assert_eq!(get("h", "/").answer(&rules), "404");
    let web = Resource::Listener(Arc::new(http("web", "")));
    rules.apply(&[put(web.clone())], &mut |_| ());
    assert_eq!(get("h", "/").answer(&rules), "a");
    rules.apply(&[Change { before: Some(web.clone()), after: None }], &mut |_| ());
    assert_eq!(get("h", "/").answer(&rules), "404");
    rules.apply(&[put(web)], &mut |_| ());
    assert_eq!(get("h", "/").answer(&rules), "a");
}

#[test]
fn a_payload_is_made_once_for_each_compiled_route() {
    let mut made = Vec::new();
    let mut rules = portcullis_router::Router::new();
    let routes = ["a", "b"].map(|name| put(Resource::Route(Arc::new(route(name, "web", "")))));
    rules.apply(&routes, &mut |route| made.push(route.key.name.to_string()));
    rules.apply(&routes[1..], &mut |route| made.push(route.key.name.to_string()));
    assert_eq!(made, ["a", "b", "b"]);
}
