//! The program of each Gateway: its listeners, the rules attached to them, and what those name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_ir::{BackendKey, GatewayKey, Route, RouteKey, Snapshot, StreamRoute};

use crate::backend;
use crate::gateway::GatewayPlan;
use crate::introduce::Introductions;
use crate::memo::Memo;
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
    let mut snapshots: BTreeMap<GatewayKey, Snapshot> = BTreeMap::new();
    // Maps of thousands are built at once at the end: that costs a fraction of as many inserts.
    let mut parts: BTreeMap<&GatewayKey, Parts<'_>> = BTreeMap::new();
    for plan in gateways {
        let snapshot = snapshots.entry(plan.key.clone()).or_default();
        for listener in plan.all_listeners().filter_map(|one| one.listener.as_ref()) {
            let listener = policies.listeners.get(&listener.key).unwrap_or(listener);
            snapshot.config.listeners.insert(listener.key.clone(), Arc::clone(listener));
        }
        // Certificates are only of use to a listener.
        if !snapshot.config.listeners.is_empty() {
            snapshot.live.certificates.clone_from(&plan.certificates);
        }
    }
    for compiled in routes {
        for gateway in compiled.rules.keys().chain(compiled.streams.keys()) {
            // A Gateway that is not accepted has no listener that a rule could be attached to.
            if snapshots.get(gateway).is_none_or(|one| one.config.listeners.is_empty()) {
                continue;
            }
            let parts = parts.entry(gateway).or_default();
            let rules = compiled.rules.get(gateway).into_iter().flatten();
            parts.routes.extend(rules.map(|rule| {
                let key = (gateway.clone(), rule.key.clone());
                let rule = if policies.routes.is_empty() { rule } else { policies.routes.get(&key).unwrap_or(rule) };
                (key.1, Arc::clone(rule))
            }));
            let streams = compiled.streams.get(gateway).into_iter().flatten();
            parts.streams.extend(streams.map(|rule| (rule.key.clone(), Arc::clone(rule))));
            parts.backends.extend(&compiled.backends);
        }
    }
    for (gateway, needs) in &policies.needs {
        let Some(snapshot) = snapshots.get_mut(gateway).filter(|one| !one.config.listeners.is_empty()) else {
            continue;
        };
        let Needs { backends: named, issuers, credentials, store, .. } = needs;
        parts.entry(gateway).or_default().backends.extend(named);
        let fetched = issuers.iter().filter_map(|key| world.inputs.issuers.get_key_value(key));
        snapshot.live.issuers.extend(fetched.map(|(key, issuer)| (key.clone(), Arc::clone(issuer))));
        snapshot.live.credentials.clone_from(credentials);
        snapshot.live.stores.extend(store.iter().map(|store| (store.key.clone(), Arc::clone(store))));
    }
    for plan in gateways {
        let asked = plan.all_listeners().filter(|one| one.listener.is_some()).flat_map(|one| &one.backends);
        for backend in asked {
            parts.entry(&plan.key).or_default().backends.push(backend);
        }
    }
    let introductions = Introductions::of(gateways);
    for (gateway, Parts { routes, streams, mut backends }) in parts {
        let Some(snapshot) = snapshots.get_mut(gateway) else { continue };
        backends.sort_unstable();
        backends.dedup();
        let (mut plans, mut endpoints) = (Vec::with_capacity(backends.len()), Vec::with_capacity(backends.len()));
        for key in backends {
            let compiled = memo.backends.get(world, key, |reader, old| backend::compile(reader, key, old));
            if let Some(backend) = &compiled.backend {
                let backend = introductions.backend(&mut memo.introduced, gateway, backend, &mut snapshot.live);
                plans.push((key.clone(), backend));
            }
            if let Some(there) = &compiled.endpoints {
                endpoints.push((key.clone(), Arc::clone(there)));
            }
        }
        snapshot.config.routes = routes.into_iter().collect();
        snapshot.config.stream_routes = streams.into_iter().collect();
        snapshot.config.backends = plans.into_iter().collect();
        snapshot.live.endpoints = endpoints.into_iter().collect();
    }
    snapshots
}

/// What the routes bring into one snapshot.
#[derive(Default)]
struct Parts<'a> {
    routes: Vec<(RouteKey, Arc<Route>)>,
    streams: Vec<(RouteKey, Arc<StreamRoute>)>,
    backends: Vec<&'a BackendKey>,
}

impl Memo {
    /// Drops what this pass had no use for.
    pub(crate) fn forget(
        &mut self,
        inputs: &Inputs,
        gateways: &[&GatewayPlan],
        snapshots: &BTreeMap<GatewayKey, Snapshot>,
    ) {
        let used: BTreeSet<&BackendKey> = snapshots.values().flat_map(|one| one.config.backends.keys()).collect();
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
        backends.retain(used.len(), |key| used.contains(key));
    }
}
