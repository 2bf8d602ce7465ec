//! The naive router: a fold over everything, without any index. What [`crate::Router::find`] must always agree with.
//!
//! Written from the specification alone; it shares with the router nothing but `ir`. With it comes a small world of
//! configurations and requests ([`World`]) in which names collide, tie and nest all the time.

mod world;

use std::cmp::Reverse;
use std::sync::Arc;

use http::HeaderMap;
use portcullis_ir::{
    HeaderMatch, Listener, ListenerKey, ListenerProtocol, Match, Precedence, QueryMatch, RouteKey, Snapshot,
};

pub use world::{OwnedRequest, World};

use crate::{Bind, Outcome, Request};

/// An outcome by names, to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Found { route: RouteKey, matched: Match, listener: ListenerKey },
    NotFound { listener: Option<ListenerKey> },
    Misdirected,
}

/// Looks at every listener, every rule and every match.
pub fn naive_find(snapshot: &Snapshot, request: &Request<'_>) -> Verdict {
    let Some(listener) = most_specific(snapshot, request, Some(request.host)) else {
        return Verdict::NotFound { listener: None };
    };
    if let Some(sni) = request.sni
        && most_specific(snapshot, request, sni.name) != Some(listener)
    {
        return Verdict::Misdirected;
    }
    let mut best: Option<(Precedence<'_>, Verdict)> = None;
    for route in snapshot.config.routes.values() {
        let attachments = route.attachments.iter().filter(|attachment| attachment.listener == listener.key);
        for hostname in attachments.flat_map(|attachment| &attachment.hostnames) {
            if !hostname.effective.matches(request.host) {
                continue;
            }
            for (position, matched) in route.matches.iter().enumerate() {
                let precedence = Precedence::of(route, &hostname.effective, &hostname.written, position, matched);
                if is_met(matched, request) && best.as_ref().is_none_or(|(greatest, _)| precedence > *greatest) {
                    let verdict = Verdict::Found {
                        route: route.key.clone(),
                        matched: matched.clone(),
                        listener: listener.key.clone(),
                    };
                    best = Some((precedence, verdict));
                }
            }
        }
    }
    match best {
        Some((_, verdict)) => verdict,
        None => Verdict::NotFound { listener: Some(listener.key.clone()) },
    }
}

impl<T> From<&Outcome<'_, T>> for Verdict {
    fn from(outcome: &Outcome<'_, T>) -> Self {
        match outcome {
            Outcome::Found(found) => Self::Found {
                route: found.rule.route.key.clone(),
                matched: found.matched.clone(),
                listener: found.listener.key.clone(),
            },
            Outcome::NotFound { listener } => {
                Self::NotFound { listener: listener.map(|listener| listener.key.clone()) }
            }
            Outcome::Misdirected => Self::Misdirected,
        }
    }
}

fn most_specific<'s>(snapshot: &'s Snapshot, request: &Request<'_>, host: Option<&str>) -> Option<&'s Arc<Listener>> {
    let listeners = snapshot.config.listeners.values();
    listeners
        .filter(|listener| Bind::of(listener).any(|bind| bind == request.bind))
        .filter(|listener| !matches!(listener.protocol, ListenerProtocol::Tcp | ListenerProtocol::Udp))
        .filter(|listener| listener.protocol.is_tls() == request.sni.is_some())
        .filter(|listener| listener.hostname.matches(host.unwrap_or_default()))
        .max_by_key(|listener| (&listener.hostname, Reverse(&listener.key)))
}

fn is_met(matched: &Match, request: &Request<'_>) -> bool {
    matched.path.matches(request.path)
        && matched.method.as_ref().is_none_or(|method| method == request.method)
        && matched.headers.iter().all(|header| header_is_met(header, request.headers))
        && matched.query.iter().all(|parameter| query_is_met(parameter, request.query.unwrap_or_default()))
}

fn header_is_met(header: &HeaderMatch, headers: &HeaderMap) -> bool {
    let values: Vec<&[u8]> = headers.get_all(&header.name).iter().map(http::HeaderValue::as_bytes).collect();
    !values.is_empty() && String::from_utf8(values.join(&b","[..])).is_ok_and(|value| header.value.matches(&value))
}

fn query_is_met(parameter: &QueryMatch, query: &str) -> bool {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let first =
        pairs.map(|(name, value)| (decode(name), decode(value))).find(|(name, _)| *name == parameter.name.as_bytes());
    first.and_then(|(_, value)| String::from_utf8(value).ok()).is_some_and(|value| parameter.value.matches(&value))
}

fn decode(encoded: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = encoded.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|code| first == b'%' && code.iter().all(u8::is_ascii_hexdigit));
        match code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            None => {
                decoded.push(first);
                rest = tail;
            }
        }
    }
    decoded
}
