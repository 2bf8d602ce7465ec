//! Snapshots that are easy to tell apart.

use std::sync::Arc;
use std::time::Duration;

use portcullis_ir::{
    Action, Attachment, Backend, BackendKey, Endpoint, Endpoints, Failure, GatewayKey, HostPattern, Listener,
    ListenerKey, ListenerProtocol, Match, PathMatch, Protocol, Resource, Route, RouteHostname, RouteKey, Snapshot,
    Source, Timeouts,
};

pub(crate) fn gateway() -> GatewayKey {
    GatewayKey::new("team", "web")
}

pub(crate) fn http() -> ListenerKey {
    ListenerKey::new(gateway(), "http")
}

/// Different in every `edition`.
pub(crate) fn route(number: u16, edition: u16) -> Resource {
    let any = RouteHostname { effective: HostPattern::Any, written: HostPattern::Any };
    Resource::Route(Arc::new(Route {
        key: RouteKey::http("team", format!("route-{number}"), 0),
        rule_name: None,
        created: 1_700_000_000,
        attachments: vec![Attachment::new(http(), vec![any])],
        matches: vec![Match {
            path: PathMatch::Exact(format!("/{number}/{edition}").into()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        }],
        filters: Vec::new(),
        action: Action::Fail(Failure::NoBackends),
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
    }))
}

pub(crate) fn backend(number: u16) -> Resource {
    Resource::Backend(Arc::new(Backend {
        key: key(number),
        protocol: Protocol::Http,
        tls: None,
        source: Source::Endpoints,
        connect_timeout: Duration::from_secs(1),
        broken: None,
    }))
}

pub(crate) fn endpoints(number: u16, port: u16) -> Resource {
    let endpoint = Endpoint { address: ([10, 0, 0, 1], port).into(), ready: true };
    Resource::Endpoints(Arc::new(Endpoints { key: key(number), endpoints: vec![endpoint] }))
}

/// On loopback only.
pub(crate) fn listener(port: u16) -> Resource {
    Resource::Listener(Arc::new(Listener {
        key: http(),
        addresses: vec![[127, 0, 0, 1].into()],
        port,
        hostname: HostPattern::Any,
        protocol: ListenerProtocol::Http,
        proxy_protocol: false,
        limits: None,
        auth: None,
        external: Vec::new(),
    }))
}

pub(crate) fn snapshot(resources: impl IntoIterator<Item = Resource>) -> Snapshot {
    resources.into_iter().collect()
}

fn key(number: u16) -> BackendKey {
    BackendKey::service("team", format!("backend-{number}"), 80)
}
