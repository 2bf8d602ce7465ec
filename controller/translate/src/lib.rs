//! Gateway API objects in, programs and statuses out: one pure function over the whole world.
//!
//! ```text
//! Inputs ─► world ─► class ─► gateway (listeners, sets, certificates ─ tls, addresses) ─────┐
//!                 ├► backend_object ─► route (attach; rule ─ matches, filters, backend;     ├─► Output { snapshots, statuses }
//!                 │                           grpc; stream_route)                           │
//!                 ├► tls_policy ──────────────────────► service (EndpointSlices) ───────────┤
//!                 └► policy (limits, auth: merged per listener and rule) ───────────────────┘
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
mod backend_ref;
mod by_gateway;
mod cache;
mod certificates;
mod class;
mod client_validation;
mod condition;
mod conflicts;
mod cors;
mod duration;
mod external_auth;
mod features;
mod filter_view;
mod filters;
mod gateway;
mod grants;
mod grpc;
mod header_edits;
mod inputs;
mod installed;
mod introduce;
mod lenient;
mod listener;
mod listener_filters;
mod listener_plan;
mod listener_set;
mod listeners;
mod matches;
mod memo;
mod mend;
mod name;
mod namespaces;
mod object;
mod output;
mod parameters;
mod parents;
mod persistence;
mod policy;
mod policy_sources;
mod policy_status;
mod program;
mod programmed;
mod recent;
mod references;
mod retry;
mod route;
mod route_object;
mod route_table;
mod rule;
mod service;
mod settings;
mod snapshot;
mod status;
mod stream_route;
mod tls;
mod tls_policy;
mod tls_policy_status;
mod trust;
mod trust_bundle;
mod world;
mod x_backend;
mod x_backend_plan;
mod x_backend_status;

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_ir::{GatewayKey, Snapshot};

pub use condition::{ConditionType, Reason, State};
pub use features::all_features;
pub use inputs::{Inputs, Objects};
pub use installed::{Definition, GATEWAY_API, Installed};
pub use k8s_openapi::jiff::Timestamp;
pub use memo::Memo;
pub use name::{Kind, NamespacedName, ObjectRef};
pub use object::{InvalidObject, Object};
pub use output::{Downgrade, Output, Statuses};
pub use policy::credentials::{API_KEY, CREDENTIAL_LABEL};
pub use policy::{Explained, ExplainedPart, explain};
pub use policy_sources::{FETCH_TIMEOUT, IssuerLocation, IssuerSource, MAX_STALE, MIN_REFETCH, REFRESH};
pub use portcullis_crds::AuthPolicy;
pub use programmed::{Acks, GatewayAck, Standing, programmed};
pub use references::references;
pub use route_object::{ParentRef, ParentRefView, ParentView, RouteObject, RouteParentStatus, RouteStatus};
pub use settings::{CONTROLLER_NAME, Settings};
pub use trust_bundle::ClusterTrustBundle;
pub use x_backend::XBackend;

use addresses::Claims;
use class::ClassPlan;
use gateway::{GatewayPlan, Planned, Subject};
use status::Recorder;
use world::World;

/// Translates the world. `memo` only saves work: the output is the same with a new one.
pub fn translate(inputs: &Inputs, settings: &Settings, memo: &mut Memo) -> Output {
    let mut world = World::new(inputs, std::mem::take(&mut memo.recent));
    let mut recorder = Recorder::new(inputs, settings);

    let classes = plan_classes(inputs, settings, &mut recorder);
    for (name, object) in &inputs.gateway_parameters {
        recorder.parameters(name, object);
    }
    plan_tls_policies(&mut world, memo);
    for (name, object) in &inputs.backends {
        let plan = memo.backend_objects.get(&world, name, |reader, _| backend_object::compile(reader, name));
        recorder.backend(name, object, &plan);
        world.planned.backends.insert(name.clone(), plan);
    }
    for name in inputs.x_backends.keys() {
        let plan = memo.x_backends.get(&world, name, |reader, _| x_backend_plan::compile(reader, name));
        world.planned.x_backends.insert(name.clone(), plan);
    }
    let gateways = plan_gateways(&mut world, settings, memo, &classes);

    world.note_planned();

    let changes = route::compile_all(&world, memo, &recorder);
    let routes = memo.table.compiled.clone();
    for (object, plan) in &gateways {
        recorder.gateway(object, plan, &memo.table.attached);
        for set in &plan.sets {
            recorder.listener_set(&plan.key, set, &memo.table.attached);
        }
    }
    let plans: Vec<&GatewayPlan> = gateways.iter().map(|(_, plan)| plan).collect();
    let policies = policy::apply::apply(&world, memo, &plans, &routes);
    let snapshots = snapshot::assemble(&world, memo, &plans, &changes, &policies);
    tls_policy_status::record(&world, &snapshots, &mut recorder);
    recorder.statuses.routes = memo.table.statuses.clone();
    if !policies.plans.is_empty() {
        policy::status::record(&world, &policies, &routes, &mut recorder);
    }
    x_backend_status::record(&world, &snapshots, &routes, &mut recorder);
    memo.forget(inputs, &plans, &snapshots);
    memo.recent = world.into_recent();
    Output {
        snapshots,
        statuses: recorder.statuses,
        good_auth_policies: policies.good_auth_policies(inputs),
        issuers: policies.sources,
        downgrades: policies.downgrades,
    }
}

/// The lane of endpoints: what EndpointSlices say goes into the snapshots of the last pass, and no route is looked at.
/// Right only if nothing but EndpointSlices has changed since; then it comes to what [`translate`] would.
pub fn translate_endpoints(inputs: &Inputs, memo: &mut Memo, snapshots: &mut BTreeMap<GatewayKey, Snapshot>) {
    let mut world = World::new(inputs, std::mem::take(&mut memo.recent));
    plan_tls_policies(&mut world, memo);
    snapshot::mend_endpoints(&world, memo);
    for (gateway, snapshot) in snapshots {
        if let Some(endpoints) = memo.assembly.endpoints(gateway) {
            snapshot.live.endpoints.clone_from(endpoints);
        }
    }
    memo.recent = world.recent;
}

/// Before the backends that they govern, in either lane.
fn plan_tls_policies(world: &mut World<'_>, memo: &mut Memo) {
    for name in world.inputs.backend_tls_policies.keys() {
        let plan = memo.tls_policies.get(world, name, |reader, _| tls_policy::compile(reader, name));
        world.planned.tls_policies.insert(name.clone(), plan);
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
    let sets = listener_set::by_gateway(world.inputs);
    let mut claims = Claims::default();
    let mut plans = Vec::with_capacity(ours.len());
    for (_, name, gateway, (class_name, class)) in ours {
        let sets = sets.get(name).map(Vec::as_slice).unwrap_or_default();
        let subject = Subject { name, gateway, class_name, class, sets };
        let Planned { plan, points, set_points } = gateway::plan(world, settings, memo, &mut claims, subject);
        let points = cache::share(&mut memo.attach_points, name, points);
        world.planned.gateways.insert(name.clone(), points);
        for (set, points) in set_points {
            let points = cache::share(&mut memo.set_points, &set, points);
            world.planned.listener_sets.insert(set, points);
        }
        plans.push((gateway, plan));
    }
    plans
}
