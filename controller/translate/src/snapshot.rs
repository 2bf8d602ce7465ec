//! The program of each Gateway: its listeners, the rules attached to them, and what those name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_ir::{
    Backend, BackendKey, BackendKind, Certificate, Endpoints, GatewayKey, Route, RouteKey, Shared, Snapshot,
    StreamRoute, Table,
};

use crate::backend;
use crate::gateway::GatewayPlan;
use crate::introduce::Introductions;
use crate::memo::Memo;
use crate::mend::{Edits, Mending, set};
use crate::policy::apply::Applied;
use crate::program::{Program, Users};
use crate::route_table::{RouteChange, Routes};
use crate::world::World;
use crate::{NamespacedName, ObjectRef};

/// What a pass leaves of its programs, to be mended.
#[derive(Default)]
pub(crate) struct Assembly {
    programs: BTreeMap<GatewayKey, Program>,
    /// Some backends were not as they were compiled: a Gateway presents a certificate to them.
    introduced: bool,
}

/// `changes` are the routes that come out differently from the last pass.
pub(crate) fn assemble(
    world: &World<'_>,
    memo: &mut Memo,
    gateways: &[&GatewayPlan],
    changes: &[RouteChange],
    policies: &Applied,
) -> BTreeMap<GatewayKey, Snapshot> {
    let Assembly { programs: mut before, introduced: were_introduced } = std::mem::take(&mut memo.assembly);
    let introductions = Introductions::of(gateways);
    let introduced = !introductions.is_empty();
    let mut programs = BTreeMap::new();
    let mut same_places = true;
    for plan in gateways {
        let mut program = before.remove(&plan.key).unwrap_or_default();
        same_places &= program.prepare(world, plan, policies);
        programs.insert(plan.key.clone(), program);
    }
    same_places &= !before.values().any(Program::is_served);
    let known = !introduced && !were_introduced && same_places;
    match known.then(|| memo.backends.doubtful(&world.recent, |_| None)).flatten() {
        Some(doubtful) => mend_some(world, memo, &mut programs, changes, policies, &doubtful),
        None => mend_whole(world, memo, &mut programs, policies, &introductions),
    }
    memo.backends.settle(&world.recent);
    let snapshots = programs.iter().map(|(key, program)| (key.clone(), program.snapshot.clone())).collect();
    memo.assembly = Assembly { programs, introduced };
    snapshots
}

/// The endpoints of all programs, now that nothing but EndpointSlices has changed.
pub(crate) fn mend_endpoints(world: &World<'_>, memo: &mut Memo) {
    let Memo { backends, assembly, .. } = memo;
    let doubtful = backends.doubtful(&world.recent, |_| None);
    for program in assembly.programs.values_mut() {
        let there = &program.snapshot.live.endpoints;
        let keys: Vec<BackendKey> = match &doubtful {
            Some(doubtful) => doubtful.iter().filter(|key| there.contains_key(*key)).cloned().collect(),
            // What else than Services there is rests on plans, which this lane does not make.
            None => there.keys().filter(|key| key.kind == BackendKind::Service).cloned().collect(),
        };
        for key in keys {
            let compiled = backends.get(world, &key, |reader, old| backend::compile(reader, &key, old));
            if let Some(now) = &compiled.endpoints {
                set(&mut program.snapshot.live.endpoints, &key, Some(now));
            }
        }
    }
    if doubtful.is_some() {
        backends.settle(&world.recent);
    }
}

impl Assembly {
    pub(crate) fn endpoints(&self, gateway: &GatewayKey) -> Option<&Table<BackendKey, Endpoints>> {
        self.programs.get(gateway).map(|program| &program.snapshot.live.endpoints)
    }
}

/// Nothing but `changes`, what policies have `altered` and the `doubtful` backends can be otherwise than in the last pass.
fn mend_some(
    world: &World<'_>,
    memo: &mut Memo,
    programs: &mut BTreeMap<GatewayKey, Program>,
    changes: &[RouteChange],
    policies: &Applied,
    doubtful: &BTreeSet<BackendKey>,
) {
    for RouteChange { before, after } in changes {
        let gateways = [before, after].into_iter().flatten().flat_map(|route| route.gateways());
        for gateway in gateways.collect::<BTreeSet<_>>() {
            if let Some(program) = programs.get_mut(gateway).filter(|program| program.is_served()) {
                program.exchange(gateway, before.as_deref(), after.as_deref(), policies);
            }
        }
    }
    for (gateway, key) in &policies.altered {
        if let Some(program) = programs.get_mut(gateway).filter(|program| program.is_served()) {
            let rule = compiled_rule(&memo.table.compiled, gateway, key);
            program.govern(key, rule.map(|rule| policies.rule(gateway, rule)));
        }
    }
    let mut gone = BTreeSet::new();
    for program in programs.values_mut() {
        let touched = program.users.touched();
        let doubtful = doubtful.iter().filter(|key| !touched.contains(*key)).cloned().collect::<Vec<_>>();
        for key in touched.into_iter().chain(doubtful) {
            if program.users.has(&key) {
                let compiled = memo.backends.get(world, &key, |reader, old| backend::compile(reader, &key, old));
                program.place(&key, compiled.backend.as_ref(), compiled.endpoints.as_ref());
            } else {
                program.place(&key, None, None);
                gone.insert(key);
            }
        }
    }
    for key in gone {
        if !programs.values().any(|program| program.users.has(&key)) {
            memo.backends.remove(&key);
        }
    }
}

fn compiled_rule<'r>(routes: &'r Routes, gateway: &GatewayKey, key: &RouteKey) -> Option<&'r Arc<Route>> {
    let name = NamespacedName::new(Arc::clone(&key.namespace), Arc::clone(&key.name));
    let route = routes.get(&ObjectRef::namespaced(key.kind.into(), &name))?;
    route.rules.get(gateway)?.iter().find(|rule| rule.key == *key)
}

/// Puts all together, beside what was there.
fn mend_whole(
    world: &World<'_>,
    memo: &mut Memo,
    programs: &mut BTreeMap<GatewayKey, Program>,
    policies: &Applied,
    introductions: &Introductions<'_>,
) {
    let routes = memo.table.compiled.clone();
    let mut edits = Vec::new();
    {
        let served = programs.iter().filter(|(_, program)| program.is_served());
        let mut parts: Vec<Parts<'_>> = served.map(|(gateway, program)| Parts::of(gateway, program)).collect();
        for compiled in routes.values() {
            for (gateway, rules) in compiled.rules.iter() {
                let Some(parts) = find(&mut parts, gateway) else { continue };
                for rule in rules {
                    parts.routes.put(&rule.key, policies.rule(gateway, rule));
                }
            }
            for (gateway, rules) in compiled.streams.iter() {
                let Some(parts) = find(&mut parts, gateway) else { continue };
                for rule in rules {
                    parts.streams.put(&rule.key, rule);
                }
            }
            for gateway in compiled.gateways() {
                find(&mut parts, gateway).into_iter().for_each(|parts| parts.backends.extend(&compiled.backends));
            }
        }
        for parts in parts {
            edits.push((parts.gateway.clone(), parts.edits(world, memo, introductions)));
        }
    }
    for (gateway, edits) in edits {
        if let Some(program) = programs.get_mut(&gateway) {
            edits.apply(program);
        }
    }
    let used = match programs.values().filter(|program| program.is_served()).collect::<Vec<_>>()[..] {
        [only] => only.users.len(),
        ref several => several.iter().flat_map(|program| program.users.keys()).collect::<BTreeSet<_>>().len(),
    };
    memo.backends.retain(used, |key| programs.values().any(|program| program.users.has(key)));
}

/// What the routes bring into one program, as it differs from the last.
struct Parts<'a> {
    gateway: &'a GatewayKey,
    program: &'a Program,
    routes: Mending<'a, RouteKey, Route>,
    streams: Mending<'a, RouteKey, StreamRoute>,
    backends: Vec<&'a BackendKey>,
}

struct AllEdits {
    routes: Edits<RouteKey, Route>,
    streams: Edits<RouteKey, StreamRoute>,
    backends: Edits<BackendKey, Backend>,
    endpoints: Edits<BackendKey, Endpoints>,
    users: Users,
    /// What the Gateway presents to backends.
    introduced: Vec<Arc<Certificate>>,
}

impl<'a> Parts<'a> {
    fn of(gateway: &'a GatewayKey, program: &'a Program) -> Self {
        let config = &program.snapshot.config;
        Self {
            gateway,
            program,
            routes: Mending::of(&config.routes),
            streams: Mending::of(&config.stream_routes),
            backends: program.users.others().collect(),
        }
    }

    fn edits(self, world: &World<'_>, memo: &mut Memo, introductions: &Introductions<'_>) -> AllEdits {
        let Self { gateway, program, routes, streams, mut backends } = self;
        backends.sort_unstable_by(|one, other| one.order(other));
        let users = program.users.counted(&backends);
        backends.dedup_by(|one, other| one.order(other).is_eq());
        let keys: Vec<BackendKey> = backends.into_iter().cloned().collect();
        let mut plans = Mending::of(&program.snapshot.config.backends);
        let mut endpoints = Mending::of(&program.snapshot.live.endpoints);
        let mut presented = Vec::new();
        let Memo { backends, introduced, .. } = memo;
        backends.each(world, &keys, backend::compile, |at, compiled, _| {
            let key = &keys[at];
            if let Some(backend) = &compiled.backend {
                plans.put(key, &introductions.backend(introduced, gateway, backend, &mut presented));
            }
            if let Some(there) = &compiled.endpoints {
                endpoints.put(key, there);
            }
        });
        AllEdits {
            routes: routes.finish(),
            streams: streams.finish(),
            backends: plans.finish(),
            endpoints: endpoints.finish(),
            users,
            introduced: presented,
        }
    }
}

impl AllEdits {
    fn apply(self, program: &mut Program) {
        let Self { routes, streams, backends, endpoints, users, introduced } = self;
        let Snapshot { config, live } = &mut program.snapshot;
        routes.apply(&mut config.routes);
        streams.apply(&mut config.stream_routes);
        backends.apply(&mut config.backends);
        endpoints.apply(&mut live.endpoints);
        live.certificates.extend(introduced.into_iter().map(|certificate| (certificate.key.clone(), certificate)));
        program.users = users;
    }
}

/// Those of a Gateway, in their order.
fn find<'p, 'a>(parts: &'p mut [Parts<'a>], gateway: &GatewayKey) -> Option<&'p mut Parts<'a>> {
    let at = parts.binary_search_by(|parts| parts.gateway.order(gateway)).ok()?;
    Some(&mut parts[at])
}
