//! Which of several rules takes a request: the order of the Gateway API, told case by case.

mod common;

use common::{
    MatchBuilder as _, RouteBuilder as _, exact, get, grpc_method, grpc_method_regex, http, prefix, regex, route,
    router,
};
use http::Method;
use portcullis_ir::{Match, RouteKey};
use portcullis_router::Router;

/// Two routes of one host; the first wins, whichever comes first.
fn assert_wins(winner: &Match, loser: &Match, ask: &common::Ask) {
    for swapped in [false, true] {
        let (older, newer) = if swapped { (1, 0) } else { (0, 1) };
        let winner = route("winner", "web", "").created(newer).matching([winner.clone()]);
        let loser = route("loser", "web", "").created(older).matching([loser.clone()]);
        let routes = if swapped { [loser, winner] } else { [winner, loser] };
        assert_eq!(ask.answer(&router([http("web", "")], routes)), "winner");
    }
}

#[test]
fn an_exact_path_wins_over_anything_else() {
    assert_wins(
        &exact("/a/b"),
        &prefix("/a/b").method(Method::GET).header("x", "1"),
        &get("h", "/a/b").header("x", "1"),
    );
    assert_wins(&exact("/a/b"), &regex("/a/b|/some/other/path"), &get("h", "/a/b"));
}

#[test]
fn an_expression_wins_over_a_prefix_and_a_longer_one_over_a_shorter() {
    assert_wins(&regex("/a.*"), &prefix("/a/b/c"), &get("h", "/a/b/c"));
    assert_wins(&regex("/a/b/c.*"), &regex("/a/.*"), &get("h", "/a/b/c"));
}

#[test]
fn the_longer_prefix_wins_whatever_else_the_shorter_asks_for() {
    assert_wins(
        &prefix("/a/b"),
        &prefix("/a").method(Method::GET).header("x", "1"),
        &get("h", "/a/b/c").header("x", "1"),
    );
    assert_wins(&prefix("/a"), &prefix("/"), &get("h", "/a/"));
}

/// "Characters in a matching service; Characters in a matching method; Header matches" (`GRPCRouteRule.matches`).
#[test]
fn a_grpc_service_wins_over_a_longer_method_and_a_method_over_neither() {
    let ask = get("h", "/a.B/LongerThanTheService").header("x", "1").header("y", "2");
    let headers = |matched: Match| matched.header("x", "1").header("y", "2");
    assert_wins(&exact("/a.B/LongerThanTheService"), &headers(prefix("/a.B")), &ask);
    assert_wins(&prefix("/a.B"), &headers(grpc_method("LongerThanTheService")), &ask);
    assert_wins(&grpc_method("LongerThanTheService"), &headers(grpc_method_regex("Longer.*TheService|.*")), &ask);
    assert_wins(&grpc_method_regex("Longer.*"), &headers(grpc_method_regex(".*")), &ask);
    assert_wins(&grpc_method_regex(".*"), &headers(prefix("/")), &ask);
    assert_wins(&grpc_method("LongerThanTheService").header("x", "1"), &grpc_method("LongerThanTheService"), &ask);
}

#[test]
fn a_grpc_method_is_the_second_of_two_elements_and_case_counts() {
    let rules = router([http("web", "")], [route("method", "web", "").matching([grpc_method("Get")])]);
    assert_eq!(get("h", "/a.B/Get").answer(&rules), "method");
    for path in ["/Get", "//Get", "/a.B/get", "/a.B/Get/", "/x/a.B/Get", "/a.B/Get/x", "/a.B/"] {
        assert_ne!(get("h", path).answer(&rules), "method", "{path}");
    }
}

#[test]
fn then_a_method_then_more_headers_then_more_parameters() {
    let ask = get("h", "/a?p=1&q=2").header("x", "1").header("y", "2");
    assert_wins(
        &prefix("/a").method(Method::GET),
        &prefix("/a").header("x", "1").header("y", "2").query("p", "1"),
        &ask,
    );
    assert_wins(&prefix("/a").header("x", "1").header("y", "2"), &prefix("/a").header("x", "1").query("p", "1"), &ask);
    assert_wins(&prefix("/a").query("p", "1").query("q", "2"), &prefix("/a").query("p", "1"), &ask);
}

#[test]
fn then_the_older_route_then_the_name_then_the_position() {
    let listener = || http("web", "");
    let routes = || [route("b", "web", "").created(1), route("a", "web", "").created(2)];
    assert_eq!(get("h", "/").answer(&router([listener()], routes())), "b");

    let routes = || [route("b", "web", ""), route("a", "web", "")];
    assert_eq!(get("h", "/").answer(&router([listener()], routes())), "a");

    let mut second = route("a", "web", "");
    second.key = RouteKey::http("apps", "a", 1);
    let rules = router([listener()], [second, route("a", "web", "")]);
    get("h", "/").outcome(&rules, |outcome| match outcome {
        portcullis_router::Outcome::Found(found) => assert_eq!(found.rule.route.key.rule, 0),
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_better_rule_that_does_not_match_leaves_the_request_to_the_next() {
    let rules = router(
        [http("web", "")],
        [
            route("exact", "web", "").matching([exact("/a/b").header("x", "1")]),
            route("long", "web", "").matching([prefix("/a/b").method(Method::POST)]),
            route("short", "web", "").matching([prefix("/a").query("p", "1")]),
            route("root", "web", ""),
        ],
    );
    assert_eq!(get("h", "/a/b").header("x", "1").answer(&rules), "exact");
    assert_eq!(get("h", "/a/b").method(Method::POST).answer(&rules), "long");
    assert_eq!(get("h", "/a/b?p=1").answer(&rules), "short");
    assert_eq!(get("h", "/a/b").answer(&rules), "root");
}

#[test]
fn a_more_specific_host_wins_over_a_better_path_and_falls_through_to_the_wildcard() {
    let rules = router(
        [http("web", "")],
        [
            route("name", "web", "www.example.com").matching([prefix("/a")]),
            route("long", "web", "*.www.example.com").matching([prefix("/a")]),
            route("short", "web", "*.example.com").matching([exact("/a/b"), prefix("/c")]),
            route("any", "web", ""),
        ],
    );
    assert_eq!(get("www.example.com", "/a/b").answer(&rules), "name");
    assert_eq!(get("x.www.example.com", "/a/b").answer(&rules), "long");
    assert_eq!(get("x.example.com", "/a/b").answer(&rules), "short");
    assert_eq!(get("www.example.com", "/c").answer(&rules), "short");
    assert_eq!(get("www.example.com", "/d").answer(&rules), "any");
    assert_eq!(get("example.com", "/a/b").answer(&rules), "any");
    assert_eq!(get("", "/a/b").answer(&rules), "any");
}

/// `HTTPRouteMultipleRoutesAttachmentSameHostnameIntersection` of Gateway API 1.7.
#[test]
fn of_two_routes_with_one_intersection_the_hostname_as_written_decides() {
    let rules = router(
        [http("web", "abc.example.com")],
        [
            route("older", "web", "abc.example.com")
                .written("*.example.com")
                .created(1)
                .matching([prefix("/a/longer")]),
            route("newer", "web", "abc.example.com").created(2).matching([prefix("/a").header("x", "1")]),
        ],
    );
    let ask = get("abc.example.com", "/a/longer");
    assert_eq!(ask.clone().header("x", "1").answer(&rules), "newer");
    assert_eq!(ask.answer(&rules), "older");
}

#[test]
fn a_thousand_rules_at_one_path_keep_their_order() {
    let versions = |n: usize| prefix("/").header("x-version", &n.to_string());
    let mut routes: Vec<_> = (0..1_000).map(|n| route(&format!("v{n}"), "web", "").matching([versions(n)])).collect();
    routes.push(route("canary", "web", "").matching([versions(7).header("x-canary", "yes")]));
    routes.push(route("post", "web", "").matching([prefix("/").method(Method::POST)]));
    routes.push(route("old", "web", "").created(-1).matching([versions(8)]));
    routes.push(route("odd", "web", "").created(-1).matching([prefix("/").header_regex("x-version", "[0-9]*9")]));
    routes.push(route("rest", "web", ""));
    let mut rules = Router::new();
    let changes = routes.into_iter().map(|route| common::put(portcullis_ir::Resource::Route(route.into())));
    let web = common::put(portcullis_ir::Resource::Listener(http("web", "").into()));
    rules.apply(&changes.chain([web]).collect::<Vec<_>>(), &mut |_| ());

    let version = |n: &str| get("h", "/x").header("x-version", n);
    assert_eq!(version("3").answer(&rules), "v3");
    assert_eq!(version("999").answer(&rules), "odd", "older than v999");
    assert_eq!(version("8").answer(&rules), "old");
    assert_eq!(version("7").header("x-canary", "yes").answer(&rules), "canary");
    assert_eq!(version("7").header("x-canary", "yes").method(Method::POST).answer(&rules), "post");
    assert_eq!(version("1000").answer(&rules), "rest");
}
