//! Routes and their matches.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::sample::select;
use proptest::strategy::{Just, Strategy};
use proptest::{option, prop_oneof};

use super::filter::{failure, filter, redirect, target};
use super::limit::attached;
use super::name::{
    header_name, host_pattern, listener_key, method, path, query_name, route_key, stream_route_key, value,
};
use crate::{
    Action, Attachment, HeaderMatch, Match, PathMatch, Pattern, QueryMatch, Retry, Route, RouteHostname,
    SessionCarrier, SessionPersistence, StreamBackend, StreamRoute, StringMatch, Timeouts, WeightedBackend,
};

pub fn route() -> impl Strategy<Value = Route> {
    let timeouts = (option::of(super::duration()), option::of(super::duration()))
        .prop_map(|(request, backend_request)| Timeouts { request, backend_request });
    let rule_name = option::of(select(vec!["first", "second"]));
    let again = (timeouts, option::of(retry()), option::of(persistence()));
    ((route_key(), rule_name, 0..5_i64), attachments(), vec(matched(), 1..4), vec(filter(), 0..3), action(), again)
        .prop_map(|(names, attachments, matches, filters, action, (timeouts, retry, persistence))| {
            let (key, rule_name, created) = names;
            Route {
                key,
                rule_name: rule_name.map(Into::into),
                created,
                attachments,
                matches,
                filters,
                action,
                timeouts,
                retry: retry.map(Box::new),
                persistence: persistence.map(Box::new),
            }
        })
}

pub fn stream_route() -> impl Strategy<Value = StreamRoute> {
    let backend = (target(), 0..=1_000_000_u32).prop_map(|(target, weight)| StreamBackend { target, weight });
    let rule_name = option::of(select(vec!["first", "second"]));
    (stream_route_key(), rule_name, 0..5_i64, attachments(), vec(backend, 0..4)).prop_map(
        |(key, rule_name, created, attachments, backends)| StreamRoute {
            key,
            rule_name: rule_name.map(Into::into),
            created,
            attachments,
            backends,
        },
    )
}

fn retry() -> impl Strategy<Value = Retry> {
    let codes = btree_set(400..600_u16, 0..3).prop_map(|codes| codes.into_iter().collect());
    (0..5_u32, codes, option::of(super::duration())).prop_map(|(attempts, codes, backoff)| Retry {
        attempts,
        codes,
        backoff,
    })
}

fn persistence() -> impl Strategy<Value = SessionPersistence> {
    let carrier = select(vec![SessionCarrier::SessionCookie, SessionCarrier::PermanentCookie, SessionCarrier::Header]);
    let path = option::of(select(vec!["/", "/shop"]));
    (carrier, path, option::of(super::duration()), option::of(super::duration())).prop_map(
        |(carrier, path, absolute_timeout, idle_timeout)| SessionPersistence {
            name: "session".into(),
            carrier,
            path: path.map(Into::into),
            absolute_timeout,
            idle_timeout,
        },
    )
}

pub fn matched() -> impl Strategy<Value = Match> {
    let header = (header_name(), string_match()).prop_map(|(name, value)| HeaderMatch { name, value });
    let query = (query_name(), string_match()).prop_map(|(name, value)| QueryMatch { name: name.into(), value });
    let path = prop_oneof![
        2 => path().prop_map(|path| PathMatch::Exact(path.into())),
        3 => path().prop_map(|path| PathMatch::prefix(&path)),
        1 => pattern(&["/a.*", "/(a|ab)", "/api/[^/]+", ".*"]).prop_map(PathMatch::Regex),
        1 => string_match().prop_map(PathMatch::GrpcMethod),
    ];
    (path, option::of(method()), vec(header, 0..3), vec(query, 0..3)).prop_map(|(path, method, headers, query)| Match {
        path,
        method,
        // At most one entry per name.
        headers: unique(headers, |header| header.name.clone()),
        query: unique(query, |query| query.name.clone()),
    })
}

fn action() -> impl Strategy<Value = Action> {
    let weight = prop_oneof![Just(0), Just(1), 0..=1_000_000_u32];
    let backend = (target(), weight, vec(filter(), 0..2)).prop_map(|(target, weight, filters)| WeightedBackend {
        target,
        weight,
        filters,
    });
    prop_oneof![
        4 => vec(backend, 0..4).prop_map(Action::Forward),
        1 => redirect().prop_map(|redirect| Action::Redirect(Box::new(redirect))),
        1 => failure().prop_map(Action::Fail),
    ]
}

/// Sorted by listener, each once. The effective hostname is what the written one has in common with a listener's.
fn attachments() -> impl Strategy<Value = Vec<Attachment>> {
    let hostname = (host_pattern(), host_pattern()).prop_map(|(listener, written)| RouteHostname {
        effective: listener.intersect(&written).unwrap_or_else(|| written.clone()),
        written,
    });
    // A policy of its own at the first: a rule stays one small message.
    let auth = prop_oneof![4 => Just(None), 1 => super::auth::auth().prop_map(Some)];
    (btree_map(listener_key(), attached(), 1..4), vec(hostname, 1..4), auth).prop_map(
        |(listeners, hostnames, mut auth)| {
            let hostnames = unique(hostnames, |hostname| hostname.effective.clone());
            let attachment = |(listener, limits)| Attachment {
                limits,
                auth: auth.take(),
                ..Attachment::new(listener, hostnames.clone())
            };
            listeners.into_iter().map(attachment).collect()
        },
    )
}

fn string_match() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        3 => value().prop_map(|value| StringMatch::Exact(value.into())),
        1 => pattern(&["[0-9]+", "one|two", ".*"]).prop_map(StringMatch::Regex),
    ]
}

/// Compiled once: a test generates thousands.
fn pattern(sources: &[&str]) -> impl Strategy<Value = Pattern> + use<> {
    // The pools hold valid expressions only.
    let parse = |source: &&str| Pattern::parse(source).unwrap_or_else(|error| unreachable!("{source}: {error}"));
    select(sources.iter().map(parse).collect::<Vec<_>>())
}

fn unique<T, K: PartialEq>(values: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for value in values {
        if !kept.iter().any(|other| key(other) == key(&value)) {
            kept.push(value);
        }
    }
    kept
}
