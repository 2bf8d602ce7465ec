//! What the router costs, as workloads for an instruction counter (or, for memory, to print it).
//!
//! ```text
//! router_cost find   <routes> <iterations> [paths|hosts|versions]
//! router_cost apply  <routes> <iterations> [paths|hosts|versions]
//! router_cost memory <routes> 0            [paths|hosts|versions]
//! ```
//! Run `find` and `apply` under `valgrind --tool=cachegrind --cache-sim=no` with N and with 5N iterations: the difference
//! divided by 4N is the cost of one, because everything else is the same. `paths` is the shape of B2: each route a
//! distinct prefix and an exact header, on one host.

// A command line tool prints.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_ir::{
    Action, Attachment, BackendKey, Change, GatewayKey, HeaderMatch, Host, HostPattern, Listener, ListenerKey,
    ListenerProtocol, Match, PathMatch, Resource, Route, RouteHostname, RouteKey, Snapshot, StringMatch, Target,
    Timeouts, WeightedBackend,
};
use portcullis_router::{Bind, Outcome, Request, Router};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// In what the routes differ.
#[derive(Clone, Copy)]
enum Layout {
    /// Prefix and header value, all on one host.
    Paths,
    /// Host.
    Hosts,
    /// Header value alone: all on one host and one path.
    Versions,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: router_cost find|apply|memory <routes> <iterations> [paths|hosts|versions]";
    let [work, routes, iterations, layout @ ..] = &arguments[..] else { bail!(usage) };
    let routes: usize = routes.parse().context(usage)?;
    let iterations: usize = iterations.parse().context(usage)?;
    ensure!(routes > 0, "there must be a route to hit: give at least 1");
    let layout = match layout {
        [] => Layout::Paths,
        [name] if name == "paths" => Layout::Paths,
        [name] if name == "hosts" => Layout::Hosts,
        [name] if name == "versions" => Layout::Versions,
        _ => bail!(usage),
    };
    match work.as_str() {
        "find" => find(layout, routes, iterations),
        "apply" => apply(layout, routes, iterations),
        "memory" => memory(layout, routes),
        _ => bail!(usage),
    }
}

/// One request after the other, all for the last route.
fn find(layout: Layout, routes: usize, iterations: usize) -> anyhow::Result<()> {
    let router = compile(&snapshot(layout, routes));
    let (host, path, version) = names(layout, routes - 1);
    let path = format!("{path}/users/42");
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("user-agent", "curl/8.5.0"), ("accept", "*/*"), ("authorization", "Bearer abc"), ("x-version", &*version)]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
    }
    let request = Request {
        bind: Bind { address: None, port: 80 },
        sni: None,
        host: &host,
        path: &path,
        method: &Method::GET,
        headers: &headers,
        query: Some("page=1"),
    };
    ensure!(matches!(router.find(&request), Outcome::Found(_)), "the last route is not found");
    for _ in 0..iterations {
        black_box(black_box(&router).find(black_box(&request)));
    }
    Ok(())
}

/// The last route changes its backend, over and over. As in a data plane, the program before stays until the next is
/// there.
fn apply(layout: Layout, routes: usize, iterations: usize) -> anyhow::Result<()> {
    let mut current = compile(&snapshot(layout, routes));
    let versions = [0, 1].map(|backend| Resource::Route(Arc::new(route(layout, routes - 1, backend))));
    for iteration in 0..iterations {
        let (before, after) = (&versions[iteration % 2], &versions[(iteration + 1) % 2]);
        let mut next = current.clone();
        next.apply(&[Change { before: Some(before.clone()), after: Some(after.clone()) }], &mut |_| ());
        current = black_box(next);
    }
    ensure!(current.rules().count() == routes, "a route is lost");
    Ok(())
}

fn memory(layout: Layout, routes: usize) -> anyhow::Result<()> {
    let before = resident()?;
    let snapshot = snapshot(layout, routes);
    let held = resident()?;
    let router = compile(&snapshot);
    let compiled = resident()?;
    println!("snapshot: {} bytes a route", (held - before) / routes);
    println!("router: {} bytes a route", (compiled - held) / routes);
    black_box((snapshot, router));
    Ok(())
}

fn resident() -> anyhow::Result<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").context("/proc is not there; memory is read from it")?;
    let pages = pages.split_whitespace().nth(1).context("/proc/self/statm has no second field")?;
    Ok(pages.parse::<usize>()? * 4096)
}

fn compile(snapshot: &Snapshot) -> Router<()> {
    let changes: Vec<_> = snapshot.resources().map(|after| Change { before: None, after: Some(after) }).collect();
    let mut router = Router::seeded(1);
    router.apply(&changes, &mut |_| ());
    router
}

fn snapshot(layout: Layout, routes: usize) -> Snapshot {
    let routes = (0..routes).map(|n| Resource::Route(Arc::new(route(layout, n, 0))));
    let listener = Listener {
        key: listener(),
        addresses: Vec::new(),
        port: 80,
        hostname: HostPattern::Any,
        protocol: ListenerProtocol::Http,
        proxy_protocol: false,
        limits: None,
        auth: None,
        external: Vec::new(),
    };
    routes.chain([Resource::Listener(Arc::new(listener))]).collect()
}

fn route(layout: Layout, n: usize, backend: u16) -> Route {
    let (host, path, version) = names(layout, n);
    // Written as a host name, so it parses.
    let hostname = Host::parse(&host).map_or(HostPattern::Any, HostPattern::Exact);
    let value = StringMatch::Exact(version.into());
    let target = Target::Backend(BackendKey::service("apps", format!("backend-{n}"), 8080 + backend));
    Route {
        key: RouteKey::http("apps", format!("route-{n}"), 0),
        rule_name: None,
        created: 0,
        attachments: vec![Attachment::new(
            listener(),
            vec![RouteHostname { effective: hostname.clone(), written: hostname }],
        )],
        matches: vec![Match {
            path: PathMatch::prefix(&path),
            headers: vec![HeaderMatch { name: HeaderName::from_static("x-version"), value }],
            ..Match::default()
        }],
        filters: Vec::new(),
        action: Action::Forward(vec![WeightedBackend { target, weight: 1, filters: Vec::new() }]),
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
    }
}

/// Host, path prefix and header value of a route; all of one length, so that tables of different sizes compare.
fn names(layout: Layout, n: usize) -> (String, String, String) {
    match layout {
        Layout::Paths => ("www.example.com".into(), format!("/route-{n:05}"), format!("v{n:05}")),
        Layout::Hosts => (format!("h{n:05}.example.com"), "/route-00000".into(), "v00000".into()),
        Layout::Versions => ("www.example.com".into(), "/".into(), format!("v{n:05}")),
    }
}

fn listener() -> ListenerKey {
    ListenerKey::new(GatewayKey::new("infra", "gateway"), "web")
}
