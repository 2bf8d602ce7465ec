//! What an XBackend has to be told: one entry for each Gateway whose routes name it, usable or not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use portcullis_ir::{GatewayKey, Snapshot};

use crate::NamespacedName;
use crate::route_table::Routes;
use crate::status::Recorder;
use crate::world::World;

pub(crate) fn record(
    world: &World<'_>,
    snapshots: &BTreeMap<GatewayKey, Snapshot>,
    routes: &Routes,
    recorder: &mut Recorder<'_>,
) {
    if world.inputs.x_backends.is_empty() {
        return;
    }
    let mut users: HashMap<&NamespacedName, BTreeSet<&GatewayKey>> = HashMap::new();
    for route in routes.values().filter(|route| !route.x_backends.is_empty()) {
        let gateways = route.gateways().filter(|one| snapshots.contains_key(one));
        let gateways: Vec<&GatewayKey> = gateways.collect();
        for name in &route.x_backends {
            users.entry(name).or_default().extend(&gateways);
        }
    }
    let nobody = BTreeSet::new();
    for (name, object) in &world.inputs.x_backends {
        let gateways = users.get(name).unwrap_or(&nobody);
        let verdicts = world.planned.x_backends.get(name).map(|plan| plan.verdicts()).unwrap_or_default();
        recorder.x_backend(name, object, gateways, &verdicts);
    }
}
