#![allow(clippy::unwrap_used)]

use std::time::Duration;

use portcullis_router::{Bind, Outcome, Request};
use proptest::prelude::*;

use super::*;
use crate::policy::State;
use crate::program::CompiledTarget;

fn gateway() -> ir::GatewayKey {
    ir::GatewayKey::new("ns", "gw")
}

fn listener(protocol: ir::ListenerProtocol) -> Resource {
    Resource::Listener(Arc::new(ir::Listener {
        key: ir::ListenerKey::new(gateway(), "web"),
        addresses: Vec::new(),
        port: 80,
        hostname: ir::HostPattern::Any,
        protocol,
        proxy_protocol: false,
        limits: None,
        auth: None,
        external: Vec::new(),
    }))
}

fn backend_key(name: &str) -> ir::BackendKey {
    ir::BackendKey::service("ns", name, 80)
}

fn backend(name: &str) -> Resource {
    Resource::Backend(Arc::new(ir::Backend {
        key: backend_key(name),
        protocol: ir::Protocol::Http,
        tls: None,
        source: ir::Source::Endpoints,
        connect_timeout: Duration::from_secs(1),
        broken: None,
    }))
}

fn endpoints(name: &str, port: u16) -> Resource {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    Resource::Endpoints(Arc::new(ir::Endpoints {
        key: backend_key(name),
        endpoints: vec![ir::Endpoint { address, ready: true }],
    }))
}

fn route(name: &str, path: &str, backends: &[(&str, u32)]) -> Resource {
    let hostname = ir::RouteHostname { effective: ir::HostPattern::Any, written: ir::HostPattern::Any };
    Resource::Route(Arc::new(ir::Route {
        key: ir::RouteKey::http("ns", name, 0),
        rule_name: None,
        created: 0,
        attachments: vec![ir::Attachment::new(ir::ListenerKey::new(gateway(), "web"), vec![hostname])],
        matches: vec![ir::Match { path: ir::PathMatch::Exact(path.into()), ..ir::Match::default() }],
        filters: Vec::new(),
        action: ir::Action::Forward(
            backends
                .iter()
                .map(|&(name, weight)| ir::WeightedBackend {
                    target: ir::Target::Backend(backend_key(name)),
                    weight,
                    filters: Vec::new(),
                })
                .collect(),
        ),
        timeouts: ir::Timeouts::default(),
        retry: None,
        persistence: None,
    }))
}

struct Story {
    compiler: Compiler,
    metrics: Arc<Metrics>,
    number: u64,
    _runtime: tokio::runtime::Runtime,
}

impl Story {
    fn begin() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let metrics = Arc::new(Metrics::default());
        let compiler =
            Compiler::new(2, Arc::clone(&metrics), Upkeep::new(runtime.handle().clone()), Arc::new(State::new(2)));
        Self { compiler, metrics, number: 0, _runtime: runtime }
    }

    fn put(&mut self, upserts: impl IntoIterator<Item = Resource>) -> Arc<Program> {
        self.apply(ir::Delta { upserts: upserts.into_iter().collect(), removals: Vec::new() })
    }

    fn remove(&mut self, key: ResourceKey) -> Arc<Program> {
        self.apply(ir::Delta { upserts: Vec::new(), removals: vec![key] })
    }

    fn apply(&mut self, delta: ir::Delta) -> Arc<Program> {
        self.number += 1;
        self.compiler.apply(Version { epoch: 1, number: self.number }, Digests::default(), delta)
    }
}

fn state<'p>(program: &'p Program, path: &str) -> Option<&'p RuleState> {
    let request = Request {
        bind: Bind { address: None, port: 80 },
        sni: None,
        host: "a.example",
        path,
        method: &http::Method::GET,
        headers: &http::HeaderMap::new(),
        query: None,
    };
    match program.router.find(&request) {
        Outcome::Found(found) => Some(&found.rule.payload),
        Outcome::NotFound { .. } | Outcome::Misdirected => None,
    }
}

/// The address that a rule's first target leads to.
fn target(program: &Program, path: &str) -> Option<(ir::BackendKey, Option<u16>)> {
    match state(program, path)?.targets.first()? {
        CompiledTarget::Backend(slot) => {
            let backend = program.backend(*slot)?;
            let port = backend.endpoints().iter().next().map(|endpoint| endpoint.address().port());
            Some((backend.backend.key.clone(), port))
        }
        CompiledTarget::Fail(_) => None,
    }
}

#[test]
fn endpoints_move_without_a_route_being_compiled() {
    let mut story = Story::begin();
    let parts = [listener(ir::ListenerProtocol::Http), route("r", "/a", &[("b", 1)]), backend("b"), endpoints("b", 1)];
    let first = story.put(parts);
    let second = story.put([endpoints("b", 2)]);
    assert_eq!(target(&first, "/a"), Some((backend_key("b"), Some(1))));
    assert_eq!(target(&second, "/a"), Some((backend_key("b"), Some(2))));
    let same = |program: &Program| std::ptr::from_ref(state(program, "/a").unwrap());
    assert_eq!(same(&first), same(&second));
}

#[test]
fn a_rule_may_come_before_its_backend_and_outlive_it() {
    let mut story = Story::begin();
    let first = story.put([listener(ir::ListenerProtocol::Http), route("r", "/a", &[("b", 1)])]);
    assert_eq!(target(&first, "/a"), None);
    let second = story.put([backend("b")]);
    assert_eq!(target(&second, "/a"), Some((backend_key("b"), None)));
    let third = story.put([endpoints("b", 7)]);
    assert_eq!(target(&third, "/a"), Some((backend_key("b"), Some(7))));
    let fourth = story.remove(ResourceKey::Backend(backend_key("b")));
    assert_eq!(target(&fourth, "/a"), None);
    assert_eq!(target(&third, "/a"), Some((backend_key("b"), Some(7))), "a former program stays as it was");
}

#[test]
fn pick_state_and_counters_survive_an_edit_that_keeps_the_weights() {
    let mut story = Story::begin();
    let parts = [listener(ir::ListenerProtocol::Http), backend("b"), backend("c")];
    story.put(parts);
    let first = story.put([route("r", "/a", &[("b", 3), ("c", 1)])]);
    let second = story.put([route("r", "/b", &[("b", 3), ("c", 1)])]);
    let third = story.put([route("r", "/b", &[("b", 1), ("c", 1)])]);
    let (first, second, third) =
        (state(&first, "/a").unwrap(), state(&second, "/b").unwrap(), state(&third, "/b").unwrap());
    assert!(Arc::ptr_eq(&first.pick, &second.pick) && Arc::ptr_eq(&first.metrics, &third.metrics));
    assert!(!Arc::ptr_eq(&second.pick, &third.pick));
}

#[test]
fn series_end_with_their_rule() {
    let mut story = Story::begin();
    let program = story.put([listener(ir::ListenerProtocol::Http), route("r", "/a", &[])]);
    let key = ir::RouteKey::http("ns", "r", 0);
    let counters = &state(&program, "/a").unwrap().metrics;
    story.metrics.request(&key, counters, 200, crate::observe::Flags::NONE, Duration::ZERO);
    assert!(story.metrics.render(None, |_| {}).contains(r#"route="r""#));
    story.remove(ResourceKey::Route(key));
    assert!(!story.metrics.render(None, |_| {}).contains(r#"route="r""#));
}

#[test]
fn a_listener_without_its_certificate_is_told_and_heals_when_it_comes() {
    let mut story = Story::begin();
    let key = ir::CertificateKey::new("ns", "c");
    let tls = ir::TlsTermination { certificates: vec![key.clone()], client_validation: None };
    let program = story.put([listener(ir::ListenerProtocol::Https(tls))]);
    let listener_key = ir::ListenerKey::new(gateway(), "web");
    assert!(program.tls.config(&listener_key).is_err());
    assert_eq!(story.compiler.rejected().len(), 1);

    let pair = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let certificate = ir::Certificate {
        key,
        chain: vec![pair.cert.der().to_vec().into()],
        private_key: ir::Secret::new(pair.signing_key.serialize_der()),
    };
    let program = story.put([Resource::Certificate(Arc::new(certificate))]);
    assert!(program.tls.config(&listener_key).is_ok());
    assert_eq!(story.compiler.rejected(), []);
}

fn stream_route(name: &str, backends: &[(&str, u32)]) -> Resource {
    let hostname = ir::RouteHostname { effective: ir::HostPattern::Any, written: ir::HostPattern::Any };
    let listener = ir::ListenerKey::new(gateway(), "web");
    let backends = backends
        .iter()
        .map(|&(name, weight)| ir::StreamBackend { target: ir::Target::Backend(backend_key(name)), weight });
    Resource::StreamRoute(Arc::new(ir::StreamRoute {
        key: ir::RouteKey::new(ir::RouteKind::TcpRoute, "ns", name, 0),
        rule_name: None,
        created: 0,
        attachments: vec![ir::Attachment::new(listener, vec![hostname])],
        backends: backends.collect(),
    }))
}

fn stream_rule(program: &Program) -> Option<&StreamState> {
    let listener = program.streams.listener(ir::Transport::Tcp, Bind { address: None, port: 80 })?;
    program.streams.find(&listener.key, None).map(|rule| &rule.payload)
}

#[test]
fn a_stream_rule_holds_its_backends_pick_state_and_counters_as_any_rule_does() {
    let mut story = Story::begin();
    let first = story.put([listener(ir::ListenerProtocol::Tcp), stream_route("r", &[("b", 3), ("c", 1)])]);
    assert!(stream_rule(&first).unwrap().pick(&first, 0).is_none(), "the backend is not there yet");
    let second = story.put([backend("b"), backend("c")]);
    let state = stream_rule(&second).unwrap();
    let picked: Vec<_> = (0..4).map(|_| state.pick(&second, 0).unwrap().backend.key.name.to_string()).collect();
    assert_eq!(picked.iter().filter(|name| **name == "b").count(), 3);
    state.metrics.outcome(crate::observe::Outcome::Ok);

    let third = story.put([stream_route("r", &[("c", 3), ("d", 1)])]);
    let kept = stream_rule(&third).unwrap();
    assert!(Arc::ptr_eq(&state.pick, &kept.pick) && Arc::ptr_eq(&state.metrics, &kept.metrics));
    assert!(kept.names(&third, &backend_key("c")) && !kept.names(&third, &backend_key("b")));
    assert!(story.metrics.render(None, |_| {}).contains(r#"route_kind="TCPRoute""#));
    story.remove(ResourceKey::StreamRoute(ir::RouteKey::new(ir::RouteKind::TcpRoute, "ns", "r", 0)));
    assert!(!story.metrics.render(None, |_| {}).contains(r#"route_kind="TCPRoute""#));
}

#[test]
fn a_backend_whose_tls_cannot_be_had_is_told_until_it_heals() {
    let mut story = Story::begin();
    let with = |roots: Vec<Box<[u8]>>| {
        let Resource::Backend(plain) = backend("b") else { panic!("a backend") };
        let tls = ir::BackendTls {
            hostname: ir::Host::parse("b.example").unwrap(),
            subject_alt_names: Vec::new(),
            roots,
            client_certificate: None,
        };
        Resource::Backend(Arc::new(ir::Backend { tls: Some(Box::new(tls)), ..(*plain).clone() }))
    };
    let bad: Vec<Box<[u8]>> = vec![b"no certificate".as_slice().into()];
    let told = |story: &Story| story.compiler.degraded().into_iter().map(|it| it.key).collect::<Vec<_>>();
    story.put([with(bad.clone())]);
    assert_eq!(told(&story), [ResourceKey::Backend(backend_key("b"))]);
    assert_eq!(story.compiler.rejected(), []);
    story.put([backend("b")]);
    assert_eq!(told(&story), []);
    story.put([with(bad)]);
    story.remove(ResourceKey::Backend(backend_key("b")));
    assert_eq!(told(&story), []);
}

#[derive(Clone, Debug)]
enum Edit {
    Put(Resource),
    Remove(ResourceKey),
}

fn edit() -> impl Strategy<Value = Edit> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        (name(), prop::collection::vec((name(), 0u32..3), 0..3)).prop_map(|(route_name, backends)| Edit::Put(route(
            route_name,
            &format!("/{route_name}"),
            &backends
        ))),
        name().prop_map(|name| Edit::Put(backend(name))),
        (name(), 1u16..9).prop_map(|(name, port)| Edit::Put(endpoints(name, port))),
        name().prop_map(|name| Edit::Remove(ResourceKey::Route(ir::RouteKey::http("ns", name, 0)))),
        name().prop_map(|name| Edit::Remove(ResourceKey::Backend(backend_key(name)))),
        name().prop_map(|name| Edit::Remove(ResourceKey::Endpoints(backend_key(name)))),
    ]
}

proptest! {
    /// Whatever the way to a configuration, every rule leads where a compile from nothing would lead it; and programs
    /// that are still held keep leading where they led.
    #[test]
    fn the_way_to_a_configuration_does_not_matter(edits in prop::collection::vec(edit(), 1..40), held in 1usize..5) {
        let mut story = Story::begin();
        story.put([listener(ir::ListenerProtocol::Http)]);
        let routes = |program: &Program| ["/a", "/b", "/c"].map(|path| target(program, path));
        let mut former = std::collections::VecDeque::new();
        for edit in edits {
            let program = match edit {
                Edit::Put(resource) => story.put([resource]),
                Edit::Remove(key) => story.remove(key),
            };
            let mut fresh = Story::begin();
            let expected = fresh.put(story.compiler.snapshot().resources());
            prop_assert_eq!(routes(&program), routes(&expected));
            former.push_back((Arc::clone(&program), routes(&program)));
            if former.len() > held {
                former.pop_front();
            }
            for (program, led) in &former {
                prop_assert_eq!(&routes(program), led);
            }
        }
    }
}
