//! The program of each Gateway: its listeners, the rules attached to them, and what those name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_ir::{
    Backend, BackendKey, Config, Endpoints, GatewayKey, Live, Route, RouteKey, Shared, Snapshot, StreamRoute,
};

use crate::backend;
use crate::gateway::GatewayPlan;
use crate::introduce::Introductions;
use crate::memo::Memo;
use crate::mend::{Edits, Mending};
use crate::policy::apply::Applied;
use crate::policy::needs::Needs;
use crate::route::CompiledRoute;
use crate::world::World;
use crate::{Inputs, NamespacedName};

pub(crate) fn assemble(
    world: &World<'_>,
    memo: &mut Memo,
    gateways: &[&GatewayPlan],
    routes: &[Arc<CompiledRoute>],
    policies: &Applied,
) -> BTreeMap<GatewayKey, Snapshot> {
    let mut before = std::mem::take(&mut memo.snapshots);
    for plan in gateways {
        before.entry(plan.key.clone()).or_default();
    }
    let mut snapshots: BTreeMap<GatewayKey, Snapshot> = BTreeMap::new();
    let mut parts: Vec<Parts<'_>> = Vec::new();
    for plan in gateways {
        let snapshot = snapshots.entry(plan.key.clone()).or_default();
        for listener in plan.all_listeners().filter_map(|one| one.listener.as_ref()) {
            let listener = policies.listeners.get(&listener.key).unwrap_or(listener);
            snapshot.config.listeners.insert(listener.key.clone(), Arc::clone(listener));
        }
        // A Gateway that is not accepted has no listener that a rule could be attached to, and certificates are only of
        // use to a listener.
        if !snapshot.config.listeners.is_empty()
            && let Some((gateway, before)) = before.get_key_value(&plan.key)
        {
            snapshot.live.certificates.clone_from(&plan.certificates);
            parts.push(Parts::of(gateway, before));
        }
    }
    parts.sort_by_key(|parts| parts.gateway);
    for compiled in routes {
        for (gateway, rules) in &compiled.rules {
            let Some(parts) = find(&mut parts, gateway) else { continue };
            for rule in rules {
                parts.routes.put(&rule.key, policies.rule(gateway, rule));
            }
            parts.backends.extend(&compiled.backends);
        }
        for (gateway, rules) in &compiled.streams {
            let Some(parts) = find(&mut parts, gateway) else { continue };
            for rule in rules {
                parts.streams.put(&rule.key, rule);
            }
            parts.backends.extend(&compiled.backends);
        }
    }
    for (gateway, needs) in &policies.needs {
        let (Some(parts), Some(snapshot)) = (find(&mut parts, gateway), snapshots.get_mut(gateway)) else { continue };
        let Needs { backends: named, issuers, credentials, store, .. } = needs;
        parts.backends.extend(named);
        let fetched = issuers.iter().filter_map(|key| world.inputs.issuers.get_key_value(key));
        snapshot.live.issuers.extend(fetched.map(|(key, issuer)| (key.clone(), Arc::clone(issuer))));
        snapshot.live.credentials.clone_from(credentials);
        snapshot.live.stores.extend(store.iter().map(|store| (store.key.clone(), Arc::clone(store))));
    }
    for plan in gateways {
        if let Some(parts) = find(&mut parts, &plan.key) {
            let asked = plan.all_listeners().filter(|one| one.listener.is_some());
            parts.backends.extend(asked.flat_map(|one| &one.backends));
        }
    }
    let introductions = Introductions::of(gateways);
    let mut edits = Vec::with_capacity(parts.len());
    for parts in parts {
        if let Some(snapshot) = snapshots.get_mut(parts.gateway) {
            edits.push((parts.gateway.clone(), parts.edits(world, memo, &introductions, &mut snapshot.live)));
        }
    }
    for (gateway, AllEdits { routes, streams, backends, endpoints }) in edits {
        let Some(snapshot) = snapshots.get_mut(&gateway) else { continue };
        let Snapshot { config, live } = before.remove(&gateway).unwrap_or_default();
        snapshot.config = Config { listeners: std::mem::take(&mut snapshot.config.listeners), ..config };
        snapshot.live.endpoints = live.endpoints;
        routes.apply(&mut snapshot.config.routes);
        streams.apply(&mut snapshot.config.stream_routes);
        backends.apply(&mut snapshot.config.backends);
        endpoints.apply(&mut snapshot.live.endpoints);
    }
    memo.snapshots.clone_from(&snapshots);
    snapshots
}

/// What the routes bring into one snapshot, as it differs from the last.
struct Parts<'a> {
    gateway: &'a GatewayKey,
    before: &'a Snapshot,
    routes: Mending<'a, RouteKey, Route>,
    streams: Mending<'a, RouteKey, StreamRoute>,
    backends: Vec<&'a BackendKey>,
}

struct AllEdits {
    routes: Edits<RouteKey, Route>,
    streams: Edits<RouteKey, StreamRoute>,
    backends: Edits<BackendKey, Backend>,
    endpoints: Edits<BackendKey, Endpoints>,
}

impl<'a> Parts<'a> {
    fn of(gateway: &'a GatewayKey, before: &'a Snapshot) -> Self {
        Self {
            gateway,
            before,
            routes: Mending::of(&before.config.routes),
            streams: Mending::of(&before.config.stream_routes),
            backends: Vec::new(),
        }
    }

    /// `live` gets the certificates that the Gateway presents to backends.
    fn edits(self, world: &World<'_>, memo: &mut Memo, introductions: &Introductions<'_>, live: &mut Live) -> AllEdits {
        let Self { gateway, before, routes, streams, mut backends } = self;
        backends.sort_unstable_by(|one, other| one.order(other));
        backends.dedup_by(|one, other| one.order(other).is_eq());
        let keys: Vec<BackendKey> = backends.into_iter().cloned().collect();
        let mut plans = Mending::of(&before.config.backends);
        let mut endpoints = Mending::of(&before.live.endpoints);
        let Memo { backends, introduced, .. } = memo;
        backends.each(world, &keys, backend::compile, |at, compiled, _| {
            let key = &keys[at];
            if let Some(backend) = &compiled.backend {
                plans.put(key, &introductions.backend(introduced, gateway, backend, live));
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
        }
    }
}

/// Those of a Gateway, in their order.
fn find<'p, 'a>(parts: &'p mut [Parts<'a>], gateway: &GatewayKey) -> Option<&'p mut Parts<'a>> {
    let at = parts.binary_search_by(|parts| parts.gateway.order(gateway)).ok()?;
    Some(&mut parts[at])
}

impl Memo {
    /// Drops what this pass had no use for.
    pub(crate) fn forget(
        &mut self,
        inputs: &Inputs,
        gateways: &[&GatewayPlan],
        snapshots: &BTreeMap<GatewayKey, Snapshot>,
    ) {
        let planned: BTreeSet<NamespacedName> = gateways.iter().map(|plan| NamespacedName::from(&plan.key)).collect();
        let sets: BTreeSet<&NamespacedName> =
            gateways.iter().flat_map(|plan| &plan.sets).map(|set| &set.name).collect();
        let Self {
            secrets,
            roots,
            tls_policies,
            backend_objects,
            x_backends,
            attach_points,
            set_points,
            listeners,
            routes,
            backends,
            introduced,
            rate_limit_policies,
            auth_policies,
            policies: _,
            recent: _,
            snapshots: _,
        } = self;
        rate_limit_policies
            .retain(inputs.rate_limit_policies.len(), |name| inputs.rate_limit_policies.contains_key(name));
        auth_policies.retain(inputs.auth_policies.len(), |name| inputs.auth_policies.contains_key(name));
        roots.retain(|name, _| inputs.config_maps.contains_key(name));
        set_points.retain(|name, _| sets.contains(name));
        introduced
            .retain(|gateway, key| snapshots.get(gateway).is_some_and(|one| one.config.backends.contains_key(key)));
        secrets.retain(|key, _| {
            let name = NamespacedName::new(Arc::clone(&key.namespace), Arc::clone(&key.name));
            inputs.secrets.contains_key(&name)
        });
        tls_policies.retain(inputs.backend_tls_policies.len(), |name| inputs.backend_tls_policies.contains_key(name));
        backend_objects.retain(inputs.backends.len(), |name| inputs.backends.contains_key(name));
        x_backends.retain(inputs.x_backends.len(), |name| inputs.x_backends.contains_key(name));
        attach_points.retain(|name, _| planned.contains(name));
        listeners
            .retain(|key, _| snapshots.get(&key.gateway).is_some_and(|one| one.config.listeners.contains_key(key)));
        let present = [
            inputs.http_routes.len(),
            inputs.grpc_routes.len(),
            inputs.tls_routes.len(),
            inputs.tcp_routes.len(),
            inputs.udp_routes.len(),
        ];
        routes.retain(present.iter().sum(), |reference| inputs.route(reference).is_some());
        let used: Vec<_> =
            snapshots.values().map(|one| &one.config.backends).filter(|backends| !backends.is_empty()).collect();
        let distinct = match &used[..] {
            [only] => only.len(),
            used => used.iter().flat_map(|backends| backends.keys()).collect::<BTreeSet<_>>().len(),
        };
        backends.retain(distinct, |key| used.iter().any(|backends| backends.contains_key(key)));
    }
}
