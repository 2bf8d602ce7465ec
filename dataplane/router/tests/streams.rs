//! Rules of bytes and datagrams: precedence by example, and agreement with a naive fold over everything.
#![allow(clippy::unwrap_used)]

mod common;

use std::cmp::Reverse;
use std::sync::Arc;

use common::{listener_key, pattern};
use portcullis_ir::{
    Attachment, Change, Delta, HostPattern, Listener, ListenerKey, ListenerProtocol, Resource, ResourceKey,
    RouteHostname, RouteKey, RouteKind, Snapshot, StreamRoute, Transport,
};
use portcullis_router::{Bind, Router, Streams};
use proptest::prelude::*;
use proptest::sample::select;

const PORT: Bind = Bind { address: None, port: 9000 };

fn listener(name: &str, protocol: ListenerProtocol, hostname: &str) -> Listener {
    Listener { port: PORT.port, protocol, ..common::http(name, hostname) }
}

fn route(name: &str, created: i64, attachments: &[(&str, &str, &str)]) -> StreamRoute {
    let attachments = attachments.iter().map(|(listener, effective, written)| {
        let hostname = RouteHostname { effective: pattern(effective), written: pattern(written) };
        Attachment::new(listener_key(listener), vec![hostname])
    });
    StreamRoute {
        key: RouteKey::new(RouteKind::TlsRoute, "apps", name, 0),
        rule_name: None,
        created,
        attachments: attachments.collect(),
        backends: Vec::new(),
    }
}

fn table(resources: impl IntoIterator<Item = Resource>) -> (Router<()>, Streams<()>) {
    let changes: Vec<_> = resources.into_iter().map(|after| Change { before: None, after: Some(after) }).collect();
    let (mut router, mut streams) = (Router::new(), Streams::new());
    router.apply(&changes, &mut |_| ());
    streams.apply(&changes, &mut |_| ());
    (router, streams)
}

fn put(route: StreamRoute) -> Resource {
    Resource::StreamRoute(Arc::new(route))
}

fn open(listener: Listener) -> Resource {
    Resource::Listener(Arc::new(listener))
}

/// The name of the route that has a TLS connection.
fn taken<'t>((router, streams): &'t (Router<()>, Streams<()>), sni: Option<&str>) -> Option<&'t str> {
    let listener = router.listener_for_sni(PORT, sni)?;
    streams.find(&listener.key, sni).map(|rule| &*rule.route.key.name)
}

#[test]
fn an_exact_hostname_goes_before_the_longest_wildcard_and_that_before_any() {
    let table = table([
        open(listener("tls", ListenerProtocol::TlsPassthrough, "")),
        put(route("any", 0, &[("tls", "", "")])),
        put(route("short", 0, &[("tls", "*.com", "*.com")])),
        put(route("long", 0, &[("tls", "*.a.com", "*.a.com")])),
        put(route("exact", 9, &[("tls", "x.a.com", "x.a.com")])),
    ]);
    for (sni, name) in [
        (Some("x.a.com"), "exact"),
        (Some("y.a.com"), "long"),
        (Some("a.com"), "short"),
        (Some("a.org"), "any"),
        (None, "any"),
    ] {
        assert_eq!(taken(&table, sni), Some(name), "{sni:?}");
    }
}

#[test]
fn among_equals_the_hostname_written_decides_then_age_then_name() {
    let routes = [
        put(route("b-old", 1, &[("tls", "x.a.com", "*.com")])),
        put(route("a-new", 2, &[("tls", "x.a.com", "*.com")])),
        put(route("c-old", 1, &[("tls", "x.a.com", "*.com")])),
    ];
    let door = open(listener("tls", ListenerProtocol::TlsPassthrough, "x.a.com"));
    let older = table(routes.iter().cloned().chain([door.clone()]));
    assert_eq!(taken(&older, Some("x.a.com")), Some("b-old"));
    let written = put(route("late", 9, &[("tls", "x.a.com", "*.a.com")]));
    let written = table(routes.into_iter().chain([door, written]));
    assert_eq!(taken(&written, Some("x.a.com")), Some("late"));
}

#[test]
fn a_server_name_belongs_to_the_most_specific_listener_even_if_that_has_no_route_for_it() {
    let table = table([
        open(listener("wide", ListenerProtocol::TlsPassthrough, "")),
        open(listener("narrow", ListenerProtocol::TlsPassthrough, "*.a.com")),
        put(route("all", 0, &[("wide", "", "")])),
        put(route("one", 0, &[("narrow", "x.a.com", "x.a.com")])),
    ]);
    assert_eq!(taken(&table, Some("x.a.com")), Some("one"));
    assert_eq!(taken(&table, Some("y.a.com")), None);
    assert_eq!(taken(&table, Some("b.com")), Some("all"));
}

#[test]
fn tcp_and_udp_of_one_number_are_two_ports_and_the_first_listener_has_each() {
    let (_, streams) = table([
        open(listener("b", ListenerProtocol::Tcp, "")),
        open(listener("a", ListenerProtocol::Tcp, "")),
        open(listener("d", ListenerProtocol::Udp, "")),
    ]);
    let name = |transport| streams.listener(transport, PORT).map(|listener| &*listener.key.name);
    assert_eq!((name(Transport::Tcp), name(Transport::Udp)), (Some("a"), Some("d")));
}

fn naive_listener(snapshot: &Snapshot, transport: Transport) -> Option<&ListenerKey> {
    let spoken = |listener: &Listener| match listener.protocol {
        ListenerProtocol::Tcp => Some(Transport::Tcp),
        ListenerProtocol::Udp => Some(Transport::Udp),
        _ => None,
    };
    let mut listeners = snapshot.config.listeners.values();
    listeners
        .find(|listener| spoken(listener) == Some(transport) && Bind::of(listener).any(|bind| bind == PORT))
        .map(|listener| &listener.key)
}

fn naive_find<'s>(snapshot: &'s Snapshot, listener: &ListenerKey, sni: Option<&str>) -> Option<&'s RouteKey> {
    let routes = snapshot.config.stream_routes.values();
    let candidates = routes.flat_map(|route| {
        let attachments = route.attachments.iter().filter(|attachment| attachment.listener == *listener);
        attachments.flat_map(|attachment| &attachment.hostnames).map(move |hostname| (hostname, route))
    });
    candidates
        .filter(|(hostname, _)| match sni {
            Some(name) => hostname.effective.matches(name),
            None => hostname.effective == HostPattern::Any,
        })
        .max_by_key(|(hostname, route)| (&hostname.effective, &hostname.written, Reverse(route.rank())))
        .map(|(_, route)| &route.key)
}

const LISTENERS: [&str; 3] = ["l1", "l2", "l3"];
const HOSTS: [&str; 6] = ["", "*.com", "*.a.com", "x.a.com", "a.com", "*.x.a.com"];

fn any_listener() -> impl Strategy<Value = Resource> {
    let protocol = select(vec![ListenerProtocol::Tcp, ListenerProtocol::Udp, ListenerProtocol::TlsPassthrough]);
    let port = select(vec![PORT.port, PORT.port, 9001]);
    (select(&LISTENERS[..]), protocol, port)
        .prop_map(|(name, protocol, port)| open(Listener { port, ..listener(name, protocol, "") }))
}

fn any_route() -> impl Strategy<Value = Resource> {
    let hostname = (select(&HOSTS[..]), select(&HOSTS[..]));
    let attachment = (select(&LISTENERS[..]), prop::collection::vec(hostname, 1..3));
    (select(vec!["r1", "r2", "r3", "r4"]), 0..3_i64, prop::collection::vec(attachment, 1..3)).prop_map(
        |(name, created, attachments)| {
            let mut route = route(name, created, &[]);
            route.attachments = attachments
                .into_iter()
                .map(|(listener, hostnames)| {
                    let hostname = |(effective, written)| RouteHostname {
                        effective: pattern(effective),
                        written: pattern(written),
                    };
                    Attachment::new(listener_key(listener), hostnames.into_iter().map(hostname).collect())
                })
                .collect();
            put(route)
        },
    )
}

fn delta() -> impl Strategy<Value = Delta> {
    let upsert = prop_oneof![1 => any_listener(), 3 => any_route()];
    let removal = prop_oneof![
        select(&LISTENERS[..]).prop_map(|name| ResourceKey::Listener(listener_key(name))),
        select(vec!["r1", "r2", "r3", "r4"]).prop_map(|name| ResourceKey::StreamRoute(RouteKey::new(
            RouteKind::TlsRoute,
            "apps",
            name,
            0
        ))),
    ];
    (prop::collection::vec(upsert, 0..4), prop::collection::vec(removal, 0..2))
        .prop_map(|(upserts, removals)| Delta { upserts, removals })
}

fn agrees(streams: &Streams<()>, snapshot: &Snapshot) -> Result<(), TestCaseError> {
    for transport in [Transport::Tcp, Transport::Udp] {
        let found = streams.listener(transport, PORT).map(|listener| &listener.key);
        prop_assert_eq!(found, naive_listener(snapshot, transport));
    }
    for name in LISTENERS {
        let key = listener_key(name);
        for sni in [None, Some("x.a.com"), Some("a.com"), Some("y.a.com"), Some("z.x.a.com"), Some("b.org")] {
            let found = streams.find(&key, sni).map(|rule| &rule.route.key);
            prop_assert_eq!(found, naive_find(snapshot, &key, sni), "{} {:?}", name, sni);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_fold_over_all_rules_and_leaves_its_past_alone(deltas in prop::collection::vec(delta(), 1..20)) {
        let (mut snapshot, mut streams) = (Snapshot::default(), Streams::seeded(1));
        for delta in deltas {
            let (past, past_streams) = (snapshot.clone(), streams.clone());
            streams.apply(&snapshot.apply(delta), &mut |_| ());
            agrees(&streams, &snapshot)?;
            agrees(&past_streams, &past)?;
            prop_assert_eq!(streams.rules().count(), snapshot.config.stream_routes.len());
        }
        let removals = snapshot.resources().map(|resource| resource.key()).collect();
        streams.apply(&snapshot.apply(Delta { upserts: Vec::new(), removals }), &mut |_| ());
        prop_assert!(streams.is_empty(), "something is left behind");
    }
}
