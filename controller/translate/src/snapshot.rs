//! The program of each Gateway: its listeners, the rules attached to them, and what those name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_ir::{BackendKey, GatewayKey, Snapshot};

use crate::backend;
use crate::gateway::GatewayPlan;
use crate::introduce::Introductions;
use crate::memo::Memo;
use crate::route::CompiledRoute;
use crate::world::World;
use crate::{Inputs, NamespacedName};

pub(crate) fn assemble(
    world: &World<'_>,
    memo: &mut Memo,
    gateways: &[&GatewayPlan],
    routes: &[Arc<CompiledRoute>],
) -> BTreeMap<GatewayKey, Snapshot> {
    let mut snapshots: BTreeMap<GatewayKey, Snapshot> = BTreeMap::new();
    let mut backends: BTreeMap<&GatewayKey, BTreeSet<&BackendKey>> = BTreeMap::new();
    for plan in gateways {
        let snapshot = snapshots.entry(plan.key.clone()).or_default();
        for listener in plan.all_listeners().filter_map(|one| one.listener.as_ref()) {
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
            let Some(snapshot) = snapshots.get_mut(gateway).filter(|one| !one.config.listeners.is_empty()) else {
                continue;
            };
            let rules = compiled.rules.get(gateway).into_iter().flatten();
            snapshot.config.routes.extend(rules.map(|rule| (rule.key.clone(), Arc::clone(rule))));
            let streams = compiled.streams.get(gateway).into_iter().flatten();
            snapshot.config.stream_routes.extend(streams.map(|rule| (rule.key.clone(), Arc::clone(rule))));
            backends.entry(gateway).or_default().extend(&compiled.backends);
        }
    }
    let introductions = Introductions::of(gateways);
    for (gateway, keys) in backends {
        let Some(snapshot) = snapshots.get_mut(gateway) else { continue };
        for key in keys {
            let compiled = memo.backends.get(world, key, |reader, old| backend::compile(reader, key, old));
            if let Some(backend) = &compiled.backend {
                let backend = introductions.backend(&mut memo.introduced, gateway, backend, &mut snapshot.live);
                snapshot.config.backends.insert(key.clone(), backend);
            }
            if let Some(endpoints) = &compiled.endpoints {
                snapshot.live.endpoints.insert(key.clone(), Arc::clone(endpoints));
            }
        }
    }
    snapshots
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
            attach_points,
            set_points,
            listeners,
            routes,
            backends,
            introduced,
        } = self;
        roots.retain(|name, _| inputs.config_maps.contains_key(name));
        set_points.retain(|name, _| sets.contains(name));
        introduced
            .retain(|gateway, key| snapshots.get(gateway).is_some_and(|one| one.config.backends.contains_key(key)));
        secrets.retain(|key, _| {
            let name = NamespacedName::new(Arc::clone(&key.namespace), Arc::clone(&key.name));
            inputs.secrets.contains_key(&name)
        });
        tls_policies.retain(|name| inputs.backend_tls_policies.contains_key(name));
        backend_objects.retain(|name| inputs.backends.contains_key(name));
        attach_points.retain(|name, _| planned.contains(name));
        listeners
            .retain(|key, _| snapshots.get(&key.gateway).is_some_and(|one| one.config.listeners.contains_key(key)));
        routes.retain(|reference| inputs.route(reference).is_some());
        backends.retain(|key| used.contains(key));
    }
}
