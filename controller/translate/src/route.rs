//! One route of any kind: attached to its parents, each rule compiled once, and what each parent has to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_api::experimental::grpcroutes::GrpcRoute;
use gateway_api::experimental::httproutes::{HttpRoute, HttpRouteRules};
use gateway_api::experimental::tcproutes::TcpRoute;
use gateway_api::experimental::udproutes::UdpRoute;
use gateway_api::tlsroutes::TlsRoute;
use portcullis_ir::{
    Attachment, BackendKey, GatewayKey, ListenerKey, Route, RouteHostname, RouteKey, RouteKind, StreamRoute,
};

use crate::attach::attachments;
use crate::backend::Resolver;
use crate::by_gateway::ByGateway;
use crate::cache::Cache;
use crate::memo::Memo;
use crate::object::name_of;
use crate::parents::{Hostnames, InvalidRules, Judged, ParentPlan, Parents};
use crate::recent::Subject;
use crate::route_table::{RouteChange, Whole};
use crate::rule::{self, CompiledRule, Unresolved};
use crate::status::Recorder;
use crate::stream_route::CompiledStream;
use crate::world::{Reader, World};
use crate::{NamespacedName, ObjectRef, Objects, RouteObject, RouteStatus};

/// Most hostnames of a route (`HTTPRouteSpec.hostnames`, `GRPCRouteSpec.hostnames`).
pub(crate) const MAX_HOSTNAMES: usize = 16;

/// What a route of any kind comes to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct CompiledRoute {
    /// One entry per parentRef that names something of ours, in the order written.
    pub(crate) parents: Vec<ParentPlan>,
    /// Its rules for each Gateway, with the attachments to that Gateway's listeners.
    pub(crate) rules: ByGateway<Box<[Arc<Route>]>>,
    /// The same for a route of streams.
    pub(crate) streams: ByGateway<Box<[Arc<StreamRoute>]>>,
    /// Every backend that a rule names.
    pub(crate) backends: Vec<BackendKey>,
    /// Every XBackend that a rule names, usable or not.
    pub(crate) x_backends: Vec<NamespacedName>,
    /// The listeners that count it, each once.
    pub(crate) attached: Box<[ListenerKey]>,
}

impl CompiledRoute {
    /// Those that it is attached to.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = &GatewayKey> {
        self.rules.keys().chain(self.streams.keys())
    }
}

/// What tells the kinds of route apart.
pub(crate) trait RouteSource: RouteObject + Sized {
    /// What a rule does that is not valid.
    const DENIAL: &'static str;

    fn find(reader: &Reader<'_, '_>, name: &NamespacedName) -> Option<Arc<Self>>;
    fn hostnames(&self) -> Hostnames;
    fn rules(&self, resolver: &mut Resolver<'_, '_, '_>) -> CompiledRules;
}

/// The rules of a route without their attachments, and what is wrong with them.
#[derive(Default)]
pub(crate) struct CompiledRules {
    pub(crate) rules: Rules,
    pub(crate) invalid: InvalidRules,
    pub(crate) unresolved: Unresolved,
}

pub(crate) enum Rules {
    Requests(Vec<CompiledRule>),
    Streams(Vec<CompiledStream>),
}

/// Brings the table of all routes of all kinds up to now; returns those that come out differently. Which Gateways there are is
/// settled by now.
pub(crate) fn compile_all(world: &World<'_>, memo: &mut Memo, recorder: &Recorder<'_>) -> Vec<RouteChange> {
    let own = |subject: &Subject| match subject {
        Subject::Route(reference) => Some(reference.clone()),
        Subject::Service(_) | Subject::Slices(_) => None,
    };
    let changes = match memo.routes.doubtful(&world.recent, own) {
        Some(doubtful) => compile_some(world, memo, recorder, doubtful),
        None => compile_whole(world, memo, recorder),
    };
    memo.routes.settle(&world.recent);
    changes
}

/// None of the others can come out differently.
fn compile_some(
    world: &World<'_>,
    memo: &mut Memo,
    recorder: &Recorder<'_>,
    doubtful: BTreeSet<ObjectRef>,
) -> Vec<RouteChange> {
    let Memo { routes, table, .. } = memo;
    for reference in std::mem::take(&mut table.undated) {
        if doubtful.contains(&reference) {
            continue;
        }
        if let (Some(object), Some((compiled, settled))) = (world.inputs.route(&reference), routes.present(&reference))
        {
            let status = recorder.route(object, compiled, settled);
            let compiled = Arc::clone(compiled);
            table.put(&reference, Some(&compiled), status.as_ref());
        }
    }
    let mut changes = Vec::new();
    for reference in doubtful {
        let change = if let Some(object) = world.inputs.route(&reference) {
            let (compiled, settled) =
                routes.get_with(world, &reference, |reader, old| compile_any(reader, &reference, old));
            let status = recorder.route(object, compiled, settled);
            let compiled = Arc::clone(compiled);
            table.put(&reference, Some(&compiled), status.as_ref())
        } else {
            routes.remove(&reference);
            table.put(&reference, None, None)
        };
        changes.extend(change);
    }
    changes
}

fn compile_whole(world: &World<'_>, memo: &mut Memo, recorder: &Recorder<'_>) -> Vec<RouteChange> {
    let inputs = world.inputs;
    let Memo { routes, table, .. } = memo;
    let mut whole = table.whole();
    compile_kind(&inputs.http_routes, world, routes, recorder, &mut whole);
    compile_kind(&inputs.grpc_routes, world, routes, recorder, &mut whole);
    compile_kind(&inputs.tls_routes, world, routes, recorder, &mut whole);
    compile_kind(&inputs.tcp_routes, world, routes, recorder, &mut whole);
    compile_kind(&inputs.udp_routes, world, routes, recorder, &mut whole);
    let replacement = whole.finish();
    let changes = table.replace(replacement);
    routes.retain(table.compiled.len(), |reference| table.compiled.contains_key(reference));
    changes
}

fn compile_kind<R: RouteSource>(
    objects: &Objects<R>,
    world: &World<'_>,
    routes: &mut Cache<ObjectRef, CompiledRoute, RouteStatus>,
    recorder: &Recorder<'_>,
    whole: &mut Whole<'_>,
) {
    let Some(kind) = objects.values().next().map(|object| object.route_kind()) else { return };
    let references: Vec<_> = objects.keys().map(|name| ObjectRef::namespaced(kind.into(), name)).collect();
    let mut objects = objects.values();
    routes.each(world, &references, compile_named::<R>, |at, one, settled| {
        if let Some(object) = objects.next() {
            whole.put(&references[at], one, recorder.route(&**object, one, settled));
        }
    });
}

fn compile_any(reader: &Reader<'_, '_>, reference: &ObjectRef, old: Option<&CompiledRoute>) -> CompiledRoute {
    let compile = match reference.kind.route_kind() {
        Some(RouteKind::HttpRoute) => compile_named::<HttpRoute>,
        Some(RouteKind::GrpcRoute) => compile_named::<GrpcRoute>,
        Some(RouteKind::TlsRoute) => compile_named::<TlsRoute>,
        Some(RouteKind::TcpRoute) => compile_named::<TcpRoute>,
        Some(RouteKind::UdpRoute) => compile_named::<UdpRoute>,
        None => return CompiledRoute::default(),
    };
    compile(reader, reference, old)
}

fn compile_named<R: RouteSource>(
    reader: &Reader<'_, '_>,
    reference: &ObjectRef,
    old: Option<&CompiledRoute>,
) -> CompiledRoute {
    let namespace = reference.namespace.clone().unwrap_or_default();
    compile::<R>(reader, &NamespacedName::new(namespace, Arc::clone(&reference.name)), old)
}

fn compile<R: RouteSource>(
    reader: &Reader<'_, '_>,
    name: &NamespacedName,
    old: Option<&CompiledRoute>,
) -> CompiledRoute {
    let Some(route) = R::find(reader, name) else { return CompiledRoute::default() };
    let hostnames = route.hostnames();
    let parents = Parents::find(reader, route.route_kind(), name, route.parent_refs(), &hostnames);
    if parents.found.is_empty() {
        return CompiledRoute::default();
    }

    let mut resolver = Resolver::new(reader, route.route_kind(), &name.namespace);
    let CompiledRules { rules, invalid, unresolved } = route.rules(&mut resolver);
    let judged = Judged {
        rules: rules.len(),
        hostnames: &hostnames,
        invalid: &invalid,
        unresolved: &unresolved,
        denial: R::DENIAL,
    };
    let counts = !judged.all_invalid();
    let (backends, x_backends) = resolver.finish();
    let mut compiled = CompiledRoute {
        parents: parents.plans(&judged),
        backends,
        x_backends,
        attached: parents.attached.keys().filter(|_| counts).cloned().collect(),
        ..CompiledRoute::default()
    };
    let created = route.metadata().creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let object = Attached { kind: route.route_kind(), name, created, listeners: &parents.attached };
    match &rules {
        Rules::Requests(rules) => {
            compiled.rules = object.by_gateway(rules, old.map(|old| &old.rules), CompiledRule::attach);
        }
        Rules::Streams(rules) => {
            let attach = |rule: &CompiledStream, key, created, to| Some(rule.attach(key, created, to));
            compiled.streams = object.by_gateway(rules, old.map(|old| &old.streams), attach);
        }
    }
    compiled
}

/// What all rules of one route share.
struct Attached<'a> {
    kind: RouteKind,
    name: &'a NamespacedName,
    created: i64,
    listeners: &'a BTreeMap<ListenerKey, Vec<RouteHostname>>,
}

impl Attached<'_> {
    /// The IR of each rule for each Gateway; a rule that did not change keeps its `Arc`.
    fn by_gateway<C, R: PartialEq>(
        &self,
        rules: &[C],
        old: Option<&ByGateway<Box<[Arc<R>]>>>,
        attach: impl Fn(&C, RouteKey, i64, Vec<Attachment>) -> Option<R>,
    ) -> ByGateway<Box<[Arc<R>]>> {
        let mut listeners: BTreeMap<&GatewayKey, BTreeMap<ListenerKey, Vec<RouteHostname>>> = BTreeMap::new();
        for (listener, hostnames) in self.listeners {
            listeners.entry(&listener.gateway).or_default().insert(listener.clone(), hostnames.clone());
        }
        let compile = |(gateway, listeners): (&GatewayKey, BTreeMap<ListenerKey, Vec<RouteHostname>>)| {
            let known = old.and_then(|old| old.get(gateway)).map(|known| &**known).unwrap_or_default();
            let routes = rules.iter().enumerate().filter_map(|(at, rule)| {
                // A key counts to 65,535; an object so large never gets past an API server.
                let at = u16::try_from(at).ok()?;
                let NamespacedName { namespace, name } = self.name;
                let key = RouteKey::new(self.kind, Arc::clone(namespace), Arc::clone(name), at);
                let route = attach(rule, key, self.created, attachments(&listeners))?;
                Some(known.iter().find(|known| ***known == route).cloned().unwrap_or_else(|| Arc::new(route)))
            });
            (gateway.clone(), routes.collect())
        };
        listeners.into_iter().map(compile).collect()
    }
}

impl CompiledRule {
    /// None if there is nothing that a request could match.
    fn attach(&self, key: RouteKey, created: i64, attachments: Vec<Attachment>) -> Option<Route> {
        let Self { name: rule_name, matches, filters, action, timeouts, retry, persistence } = self.clone();
        (!matches.is_empty()).then_some(Route {
            key,
            rule_name,
            created,
            attachments,
            matches,
            filters,
            action,
            timeouts,
            retry: retry.map(Box::new),
            persistence: persistence.map(Box::new),
        })
    }
}

impl CompiledStream {
    fn attach(&self, key: RouteKey, created: i64, attachments: Vec<Attachment>) -> StreamRoute {
        let Self { name: rule_name, backends } = self.clone();
        StreamRoute { key, rule_name, created, attachments, backends }
    }
}

impl Rules {
    fn len(&self) -> usize {
        match self {
            Self::Requests(rules) => rules.len(),
            Self::Streams(rules) => rules.len(),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::Requests(Vec::new())
    }
}

impl RouteSource for HttpRoute {
    const DENIAL: &'static str = "answers 500";

    fn find(reader: &Reader<'_, '_>, name: &NamespacedName) -> Option<Arc<Self>> {
        reader.http_route(name)
    }

    fn hostnames(&self) -> Hostnames {
        Hostnames::parse(self.spec.hostnames.as_deref().unwrap_or_default(), MAX_HOSTNAMES)
    }

    fn rules(&self, resolver: &mut Resolver<'_, '_, '_>) -> CompiledRules {
        // "+kubebuilder:default" of `HTTPRouteSpec.rules`: one rule that matches everything, with no backend.
        let default = [HttpRouteRules::default()];
        let list = self.spec.rules.as_deref().unwrap_or(&default);
        let name = name_of(self);
        let mut compiled = CompiledRules::default();
        let rules = list.iter().enumerate().map(|(at, rule)| {
            let (rule, error) = rule::compile(at, rule, &name, resolver, &mut compiled.unresolved);
            compiled.invalid.extend(error.map(|error| (at, (error.reason(), error.to_string()))));
            rule
        });
        compiled.rules = Rules::Requests(rules.collect());
        compiled
    }
}
