//! Gateway API objects in, programs and statuses out: one pure function over the whole world.
//!
//! ```text
//! Inputs ─► world ─► class ─► gateway (listeners, certificates ─ tls, addresses) ───────────┐
//!                 └► backend_object ─► route (attach; rule ─ matches, filters, backend) ────┼─► Output { snapshots, statuses }
//!                                                        service (EndpointSlices) ──────────┘
//! ```
//!
//! Each object is compiled by itself to a value or a diagnosis. A broken one degrades what it says (a listener refuses
//! TLS, a rule answers 500) and gets a condition; nothing else changes. What a compile looked at is noted
//! ([`world::Reader`]), so that the next pass repeats only what can come out differently.
//!
//! No clock, no I/O, no async: `Cargo.toml` is the proof. The time is [`Inputs::now`].

mod addresses;
mod attach;
mod backend;
mod backend_object;
mod certificates;
mod class;
mod condition;
mod conflicts;
mod duration;
mod filter_view;
mod filters;
mod gateway;
mod grants;
mod inputs;
mod listener;
mod listener_plan;
mod listeners;
mod matches;
mod memo;
mod name;
mod namespaces;
mod object;
mod output;
mod parameters;
mod programmed;
mod references;
mod route;
mod rule;
mod service;
mod settings;
mod snapshot;
mod status;
mod tls;
mod world;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use portcullis_ir::{BackendKind, GatewayKey, Snapshot};

pub use class::SUPPORTED_FEATURES;
pub use condition::{ConditionType, Reason, State};
pub use inputs::Inputs;
pub use k8s_openapi::jiff::Timestamp;
pub use memo::Memo;
pub use name::{Kind, NamespacedName, ObjectRef};
pub use object::{InvalidObject, Object};
pub use output::{Output, Statuses};
pub use programmed::{Acks, GatewayAck, Standing, programmed};
pub use references::references;
pub use settings::{CONTROLLER_NAME, Settings};

use addresses::Claims;
use class::ClassPlan;
use gateway::GatewayPlan;
use route::CompiledRoute;
use status::Recorder;
use world::World;

/// Translates the world. `memo` only saves work: the output is the same with a new one.
pub fn translate(inputs: &Inputs, settings: &Settings, memo: &mut Memo) -> Output {
    let mut world = World::new(inputs);
    let mut recorder = Recorder::new(inputs, settings);

    let classes = plan_classes(inputs, settings, &mut recorder);
    for (name, object) in &inputs.gateway_parameters {
        recorder.parameters(name, object);
    }
    for (name, object) in &inputs.backends {
        let plan = memo.backend_objects.get(&world, name, |reader, _| backend_object::compile(reader, name));
        recorder.backend(name, object, &plan);
        world.backends.insert(name.clone(), plan);
    }
    let gateways = plan_gateways(&mut world, settings, memo, &classes);

    let mut attached: HashMap<portcullis_ir::ListenerKey, i32> = HashMap::new();
    let mut routes: Vec<Arc<CompiledRoute>> = Vec::with_capacity(inputs.http_routes.len());
    for (name, object) in &inputs.http_routes {
        let compiled = memo.routes.get(&world, name, |reader, old| route::compile(reader, name, old));
        recorder.route(name, object, &compiled);
        for listener in &compiled.attached {
            *attached.entry(listener.clone()).or_default() += 1;
        }
        routes.push(compiled);
    }
    for (object, plan) in &gateways {
        recorder.gateway(object, plan, &attached);
    }
    let plans: Vec<&GatewayPlan> = gateways.iter().map(|(_, plan)| plan).collect();
    let snapshots = snapshot::assemble(&world, memo, &plans, &routes);
    memo.forget(inputs, &plans, &snapshots);
    Output { snapshots, statuses: recorder.statuses }
}

/// The lane of endpoints: what EndpointSlices say goes into the snapshots of the last pass, and no route is looked at.
/// Right only if nothing but EndpointSlices has changed since; then it comes to what [`translate`] would.
pub fn translate_endpoints(inputs: &Inputs, memo: &mut Memo, snapshots: &mut BTreeMap<GatewayKey, Snapshot>) {
    let world = World::new(inputs);
    for snapshot in snapshots.values_mut() {
        for (key, endpoints) in &mut snapshot.live.endpoints {
            if key.kind == BackendKind::Service {
                let compiled = memo.backends.get(&world, key, |reader, old| backend::compile(reader, key, old));
                if let Some(now) = &compiled.endpoints {
                    endpoints.clone_from(now);
                }
            }
        }
    }
}

fn plan_classes(inputs: &Inputs, settings: &Settings, recorder: &mut Recorder<'_>) -> BTreeMap<Arc<str>, ClassPlan> {
    let mut classes = BTreeMap::new();
    for (name, object) in &inputs.gateway_classes {
        if let Some(plan) = class::plan(inputs, settings, object) {
            recorder.class(name, object, &plan);
            classes.insert(Arc::clone(name), plan);
        }
    }
    classes
}

/// Gateways of our classes, the oldest first: of two that want one address and port, the older has it.
fn plan_gateways<'i>(
    world: &mut World<'i>,
    settings: &Settings,
    memo: &mut Memo,
    classes: &BTreeMap<Arc<str>, ClassPlan>,
) -> Vec<(&'i gateway_api::gateways::Gateway, GatewayPlan)> {
    let mut ours: Vec<_> = (world.inputs.gateways.iter())
        .filter_map(|(name, object)| {
            let class = classes.get_key_value(object.spec.gateway_class_name.as_str())?;
            Some((object.metadata.creation_timestamp.as_ref().map(|time| time.0), name, &**object, class))
        })
        .collect();
    ours.sort_by_key(|(created, name, _, _)| (created.unwrap_or_default(), *name));
    let mut claims = Claims::default();
    let mut plans = Vec::with_capacity(ours.len());
    for (_, name, object, (class_name, class)) in ours {
        let (plan, points) = gateway::plan(world, settings, memo, &mut claims, name, object, (&**class_name, class));
        let points = memo::share(&mut memo.attach_points, name, points);
        world.gateways.insert(name.clone(), points);
        plans.push((object, plan));
    }
    plans
}
