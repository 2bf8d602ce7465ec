//! Our own side: a snapshot with so many routes, and the shipped data plane that serves it from a file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use portcullis_dataplane::write_snapshot_file;
use portcullis_ir::{
    Action, Attachment, Backend, BackendKey, Endpoint, Endpoints, Failure, GatewayKey, HeaderMatch, Host, HostPattern,
    Listener, ListenerKey, ListenerProtocol, Match, PathMatch, Protocol, Resource, Route, RouteHostname, RouteKey,
    Snapshot, Source, StringMatch, Target, Timeouts, WeightedBackend,
};
use portcullis_wire::Version;

use crate::child::{Launch, free_address};
use crate::client::prefix;

/// `portcullis-dataplane` over a snapshot: metrics on, one request in a hundred logged, as it ships; one worker, as the
/// peers have.
pub fn data_plane(
    binaries: &Path,
    folder: &Path,
    upstream: SocketAddr,
    routes: Option<usize>,
) -> anyhow::Result<Launch> {
    data_plane_over(binaries, folder, |listen| snapshot(listen, upstream, routes))
}

/// [`data_plane`] over any snapshot that has a listener at the address given.
pub fn data_plane_over(
    binaries: &Path,
    folder: &Path,
    snapshot: impl FnOnce(SocketAddr) -> Snapshot,
) -> anyhow::Result<Launch> {
    let listen = free_address()?;
    let file = folder.join("snapshot");
    write_snapshot_file(&file, Version { epoch: 1, number: 1 }, &snapshot(listen))?;
    let arguments: Vec<OsString> = vec![
        "--snapshot".into(),
        file.into(),
        "--admin".into(),
        free_address()?.to_string().into(),
        "--workers".into(),
        "1".into(),
        "--drain-delay".into(),
        "0".into(),
        "--drain-deadline".into(),
        "1".into(),
    ];
    Ok(Launch { program: binaries.join("portcullis-dataplane"), arguments, listen })
}

/// One listener, one backend, and either one route for everything or so many with a prefix and a header each.
#[must_use]
pub fn snapshot(listen: SocketAddr, upstream: SocketAddr, routes: Option<usize>) -> Snapshot {
    let listener = Listener {
        key: listener_key(),
        addresses: vec![listen.ip()],
        port: listen.port(),
        hostname: HostPattern::Any,
        protocol: ListenerProtocol::Http,
        proxy_protocol: false,
        limits: None,
        auth: None,
        external: Vec::new(),
    };
    let mut snapshot = Snapshot::default();
    snapshot.insert(Resource::Listener(Arc::new(listener)));
    for port in BACKENDS {
        let endpoints =
            Endpoints { key: backend_key(port), endpoints: vec![Endpoint { address: upstream, ready: true }] };
        snapshot.insert(Resource::Backend(Arc::new(backend(backend_key(port)))));
        snapshot.insert(Resource::Endpoints(Arc::new(endpoints)));
    }
    let routes = match routes {
        None => vec![route("everything", Match { path: PathMatch::prefix("/"), ..Match::default() }, BACKENDS[0])],
        Some(routes) => (1..=routes).map(|number| numbered(number, &prefix(number), BACKENDS[0])).collect(),
    };
    for route in routes {
        snapshot.insert(Resource::Route(Arc::new(route)));
    }
    snapshot
}

/// One route for everything with a tenth of its requests for a second backend.
#[must_use]
pub fn snapshot_with_canary(listen: SocketAddr, upstream: SocketAddr) -> Snapshot {
    let mut snapshot = snapshot(listen, upstream, None);
    let whole = route("everything", Match { path: PathMatch::prefix("/"), ..Match::default() }, BACKENDS[0]);
    let shares = BACKENDS.into_iter().zip([9, 1]).map(|(port, weight)| WeightedBackend {
        target: Target::Backend(backend_key(port)),
        weight,
        filters: Vec::new(),
    });
    snapshot.insert(Resource::Route(Arc::new(Route { action: Action::Forward(shares.collect()), ..whole })));
    snapshot
}

/// Route `number` after its owner edited it: another prefix, another backend.
#[must_use]
pub fn edited(number: usize) -> Route {
    numbered(number, &format!("{}-moved", prefix(number)), BACKENDS[1])
}

/// Route `number` as [`snapshot`] holds it.
#[must_use]
pub fn unedited(number: usize) -> Route {
    numbered(number, &prefix(number), BACKENDS[0])
}

/// So many routes, of which all but the first have a host, a backend and endpoints of their own.
#[must_use]
pub fn snapshot_of_strangers(listen: SocketAddr, upstream: SocketAddr, routes: usize) -> Snapshot {
    let mut snapshot = snapshot(listen, upstream, Some(1));
    for resource in (2..=routes).flat_map(|number| alone(number, upstream)) {
        snapshot.insert(resource);
    }
    snapshot
}

/// Everything of a route with a host, a backend and endpoints of its own, as gateway-api-bench makes it: `/ready` leads there, everything else to
/// a Service that does not exist.
#[must_use]
pub fn alone(number: usize, upstream: SocketAddr) -> Vec<Resource> {
    let name = format!("route-{number:05}");
    let host = Host::parse(&format!("{name}.example")).map_or(HostPattern::Any, HostPattern::Exact);
    let key = BackendKey::service("apps", name.clone(), 80);
    let rule = |rule: u16, prefix: &str, target: Target| {
        let hostname = RouteHostname { effective: host.clone(), written: host.clone() };
        let matched = Match { path: PathMatch::prefix(prefix), ..Match::default() };
        Route {
            key: RouteKey::http("apps", name.as_str(), rule),
            attachments: vec![Attachment::new(listener_key(), vec![hostname])],
            action: Action::Forward(vec![WeightedBackend { target, weight: 1, filters: Vec::new() }]),
            ..route(&name, matched, BACKENDS[0])
        }
    };
    let ready = rule(0, "/ready", Target::Backend(key.clone()));
    let missing = rule(1, "/", Target::Invalid(Failure::InvalidBackend));
    vec![
        Resource::Backend(Arc::new(backend(key.clone()))),
        Resource::Endpoints(Arc::new(Endpoints { key, endpoints: vec![Endpoint { address: upstream, ready: true }] })),
        Resource::Route(Arc::new(ready)),
        Resource::Route(Arc::new(missing)),
    ]
}

/// Both lead to the one upstream; an edit moves a route from the first to the second.
const BACKENDS: [u16; 2] = [8080, 8081];

fn numbered(number: usize, prefix: &str, backend: u16) -> Route {
    let header =
        HeaderMatch { name: HeaderName::from_static("x-version"), value: StringMatch::Exact("v1".to_owned().into()) };
    let matched = Match { path: PathMatch::prefix(prefix), headers: vec![header], ..Match::default() };
    route(&format!("route-{number:05}"), matched, backend)
}

fn route(name: &str, matched: Match, backend: u16) -> Route {
    let hostname = RouteHostname { effective: HostPattern::Any, written: HostPattern::Any };
    Route {
        key: RouteKey::http("apps", name, 0),
        rule_name: None,
        created: 0,
        attachments: vec![Attachment::new(listener_key(), vec![hostname])],
        matches: vec![matched],
        filters: Vec::new(),
        action: Action::Forward(vec![WeightedBackend {
            target: Target::Backend(backend_key(backend)),
            weight: 1,
            filters: Vec::new(),
        }]),
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
    }
}

fn backend(key: BackendKey) -> Backend {
    Backend {
        key,
        protocol: Protocol::Http,
        tls: None,
        source: Source::Endpoints,
        connect_timeout: Duration::from_secs(5),
        broken: None,
    }
}

fn listener_key() -> ListenerKey {
    ListenerKey::new(GatewayKey::new("infra", "gateway"), "http")
}

fn backend_key(port: u16) -> BackendKey {
    BackendKey::service("apps", "upstream", port)
}
