//! What holds for every world: the memo and the order of events change nothing, a broken object changes nothing but
//! what refers to it, and whatever comes out can be carried to a data plane.

#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeMap;

use portcullis_ir::{Action, Snapshot};
use portcullis_translate::{
    Inputs, Kind, Memo, NamespacedName, ObjectRef, Output, Settings, translate, translate_endpoints,
};
use portcullis_wire::{Digests, decode, diff, encode};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::Config;

use world::{Edit, ID_KINDS, Id, apply, world_of};

fn settings(bind_addresses: bool) -> Settings {
    Settings { bind_addresses, ..Settings::default() }
}

fn fresh(inputs: &Inputs, settings: &Settings) -> Output {
    translate(inputs, settings, &mut Memo::default())
}

fn ids() -> impl Strategy<Value = Id> {
    (0..ID_KINDS, 0..4u8).prop_map(|(kind, number)| Id { kind, number })
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        8 => (ids(), any::<u64>()).prop_map(|(id, seed)| Edit::Put(id, seed)),
        2 => ids().prop_map(Edit::Remove),
        1 => ids().prop_map(Edit::Break),
    ]
}

fn worlds() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec((ids(), any::<u64>()).prop_map(|(id, seed)| Edit::Put(id, seed)), 20..60)
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    /// Whatever happened before, the output is that of the world as it is.
    #[test]
    fn a_memo_never_changes_the_output(edits in prop::collection::vec(edits(), 1..40), start in worlds(), bind in any::<bool>()) {
        let settings = settings(bind);
        let mut inputs = world_of(&start);
        let mut memo = Memo::default();
        for edit in &edits {
            apply(&mut inputs, edit);
            let kept = translate(&inputs, &settings, &mut memo);
            let anew = fresh(&inputs, &settings);
            prop_assert_eq!(&kept.snapshots, &anew.snapshots);
            prop_assert_eq!(&kept.statuses, &anew.statuses);
        }
    }

    /// Events come in any order; of one object the last counts.
    #[test]
    fn the_order_of_events_changes_neither_digest_nor_status(
        (events, shuffled) in worlds().prop_flat_map(|events| {
            let last: BTreeMap<ObjectRef, Edit> = events.into_iter().map(|one| (one.id().reference(), one)).collect();
            let events: Vec<Edit> = last.into_values().collect();
            (Just(events.clone()), Just(events).prop_shuffle())
        })
    ) {
        let settings = settings(true);
        let in_order = fresh(&world_of(&events), &settings);
        let mut inputs = world_of(&[]);
        let mut memo = Memo::default();
        let mut output = fresh(&inputs, &settings);
        for event in &shuffled {
            apply(&mut inputs, event);
            output = translate(&inputs, &settings, &mut memo);
        }
        let digests = |output: &Output| output.snapshots.iter().map(|(key, one)| (key.clone(), Digests::of(one))).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(digests(&output), digests(&in_order));
        prop_assert_eq!(output.statuses, in_order.statuses);
    }

    /// An object that does not parse is as if it were gone, for everything that does not refer to it.
    #[test]
    fn a_broken_object_changes_nothing_but_what_refers_to_it(start in worlds(), victim in ids(), seed in any::<u64>()) {
        // Losing a class or a Gateway is losing all that hangs on it; what is left is looked at below.
        let settings = settings(false);
        let mut inputs = world_of(&start);
        apply(&mut inputs, &Edit::Put(victim, seed));
        let before = fresh(&inputs, &settings);
        let related = Related::of(&inputs, &victim.reference());
        apply(&mut inputs, &Edit::Break(victim));
        let after = fresh(&inputs, &settings);
        for (name, status) in &before.statuses.http_routes {
            if !related.route(name) {
                prop_assert_eq!(Some(status), after.statuses.http_routes.get(name), "status of {}", name);
            }
        }
        for (gateway, snapshot) in &before.snapshots {
            if related.gateway(&NamespacedName::from(gateway)) {
                continue;
            }
            let Some(now) = after.snapshots.get(gateway) else { panic!("{gateway} is gone") };
            prop_assert_eq!(&snapshot.config.listeners, &now.config.listeners);
            prop_assert_eq!(&snapshot.live.certificates, &now.live.certificates);
            for (key, route) in &snapshot.config.routes {
                if !related.route(&NamespacedName::new(key.namespace.clone(), key.name.clone())) {
                    prop_assert_eq!(Some(route), now.config.routes.get(key), "route {}", key);
                }
            }
        }
    }

    /// A new object that does not parse changes nothing at all: nothing refers to it.
    #[test]
    fn a_new_broken_object_is_not_noticed(start in worlds(), kind in 0..ID_KINDS) {
        let settings = settings(true);
        let mut inputs = world_of(&start);
        let before = fresh(&inputs, &settings);
        apply(&mut inputs, &Edit::Break(Id { kind, number: 99 }));
        let after = fresh(&inputs, &settings);
        prop_assert_eq!(before.snapshots, after.snapshots);
        prop_assert_eq!(before.statuses, after.statuses);
    }

    /// The controller's parsers are the data plane's: what is accepted here cannot be refused there.
    #[test]
    fn whatever_comes_out_can_be_carried(start in worlds(), bind in any::<bool>()) {
        for snapshot in fresh(&world_of(&start), &settings(bind)).snapshots.values() {
            for resource in snapshot.resources() {
                match decode(encode(&resource)) {
                    Ok(decoded) => prop_assert_eq!(decoded, resource),
                    Err(error) => prop_assert!(false, "{}: {error}", resource.key()),
                }
            }
            for backend in snapshot.config.routes.values().flat_map(|route| world::backends_of(route)) {
                prop_assert!(snapshot.config.backends.contains_key(&backend), "{backend} is named and missing");
            }
        }
    }

    /// Pod churn takes the short lane, and comes to what a whole pass would.
    #[test]
    fn the_lane_of_endpoints_comes_to_what_a_pass_would(start in worlds(), slices in prop::collection::vec((0..4u8, any::<u64>(), any::<bool>()), 1..6)) {
        let settings = settings(false);
        let mut inputs = world_of(&start);
        let mut memo = Memo::default();
        let Output { mut snapshots, statuses } = translate(&inputs, &settings, &mut memo);
        for (number, seed, stays) in slices {
            let id = Id::slice(number);
            apply(&mut inputs, &if stays { Edit::Put(id, seed) } else { Edit::Remove(id) });
            translate_endpoints(&inputs, &mut memo, &mut snapshots);
            let anew = fresh(&inputs, &settings);
            prop_assert_eq!(&snapshots, &anew.snapshots);
            prop_assert_eq!(&statuses, &anew.statuses);
        }
    }

    /// Unchanged objects keep their `Arc`s, so that a delta is as large as the edit.
    #[test]
    fn an_edit_of_one_route_shares_everything_else(start in worlds(), number in 0..4u8, seed in any::<u64>()) {
        let settings = settings(false);
        let mut inputs = world_of(&start);
        let mut memo = Memo::default();
        let before = translate(&inputs, &settings, &mut memo);
        let id = Id::route(number);
        apply(&mut inputs, &Edit::Put(id, seed));
        let after = translate(&inputs, &settings, &mut memo);
        let own = id.reference();
        for (gateway, snapshot) in &after.snapshots {
            let old = &before.snapshots[gateway];
            for (key, route) in &snapshot.config.routes {
                if key.name != own.name {
                    prop_assert!(std::sync::Arc::ptr_eq(route, &old.config.routes[key]), "{key} was built again");
                }
            }
            for (key, listener) in &snapshot.config.listeners {
                prop_assert!(std::sync::Arc::ptr_eq(listener, &old.config.listeners[key]), "{key} was built again");
            }
            let touched = diff(old, snapshot).upserts.len();
            prop_assert!(touched <= snapshot.config.backends.len() * 2 + 8, "{touched} resources for one edit");
        }
    }
}

/// What refers to an object, by the names in its text: names are unique across kinds.
struct Related {
    routes: Vec<NamespacedName>,
    gateways: Vec<NamespacedName>,
}

impl Related {
    fn of(inputs: &Inputs, victim: &ObjectRef) -> Self {
        let names = |text: String, name: &str| text.contains(&format!("\"{name}\""));
        let mut gateways = Vec::new();
        for (name, gateway) in &inputs.gateways {
            let text = serde_json::to_string(&gateway.spec).unwrap();
            let is_victim = victim.kind == Kind::Gateway && *victim.name == *name.name;
            if is_victim || victim.kind == Kind::GatewayClass || names(text, &victim.name) {
                gateways.push(name.clone());
            }
        }
        // Grants and namespaces are meant by what is in them, not by name.
        let wide = matches!(victim.kind, Kind::ReferenceGrant | Kind::Namespace | Kind::GatewayClass);
        if wide || victim.kind == Kind::GatewayParameters {
            gateways = inputs.gateways.keys().cloned().collect();
        }
        // A CA ConfigMap is named by Backends, which routes name.
        let through: Vec<&NamespacedName> = (inputs.backends.iter())
            .filter(|(_, backend)| names(serde_json::to_string(&backend.spec).unwrap(), &victim.name))
            .map(|(name, _)| name)
            .collect();
        let routes = inputs.http_routes.iter().filter(|(name, route)| {
            let text = serde_json::to_string(&route.spec).unwrap();
            let own = victim.kind == Kind::HttpRoute && *victim.name == *name.name;
            own || wide
                || names(text.clone(), &victim.name)
                || through.iter().any(|backend| names(text.clone(), &backend.name))
        });
        Self { routes: routes.map(|(name, _)| name.clone()).collect(), gateways }
    }

    fn route(&self, name: &NamespacedName) -> bool {
        self.routes.contains(name)
    }

    fn gateway(&self, name: &NamespacedName) -> bool {
        self.gateways.contains(name)
    }
}

#[test]
fn random_worlds_mean_something() {
    let (mut serving, mut encrypting, mut denying) = (0, 0, 0);
    for seed in 0..200u64 {
        let ids = (0..ID_KINDS).flat_map(|kind| (0..4u8).map(move |number| Id { kind, number }));
        let put = |id: Id| Edit::Put(id, seed * 1000 + u64::from(id.kind) * 4 + u64::from(id.number));
        let output = fresh(&world_of(&ids.map(put).collect::<Vec<_>>()), &settings(false));
        let any = |holds: &dyn Fn(&Snapshot) -> bool| u32::from(output.snapshots.values().any(holds));
        serving += any(&|one| one.live.endpoints.values().any(|endpoints| !endpoints.endpoints.is_empty()));
        encrypting += any(&|one| !one.live.certificates.is_empty());
        denying += any(&|one| one.config.routes.values().any(|route| matches!(route.action, Action::Fail(_))));
    }
    assert!(serving > 60 && encrypting > 60 && denying > 60, "{serving} serve, {encrypting} encrypt, {denying} deny");
}
