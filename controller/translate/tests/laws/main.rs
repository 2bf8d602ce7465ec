//! What holds for every world: the memo and the order of events change nothing, a broken object changes nothing but
//! what refers to it, and whatever comes out can be carried to a data plane.

#![allow(clippy::unwrap_used)]

mod lanes;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use portcullis_ir::{Action, Backend, BackendKind, Failure, RouteKey, RouteKind, Snapshot, Transport};
use portcullis_translate::{
    Inputs, Kind, Memo, NamespacedName, ObjectRef, Objects, Output, Settings, translate, translate_endpoints,
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
    prop::collection::vec((ids(), any::<u64>()).prop_map(|(id, seed)| Edit::Put(id, seed)), 30..80)
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
        for (name, status) in &before.statuses.routes {
            if !related.route(name) {
                prop_assert_eq!(Some(status), after.statuses.routes.get(name), "status of {}", name);
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
                if !related.rule(key) {
                    prop_assert_eq!(Some(route), now.config.routes.get(key), "route {}", key);
                }
            }
            for (key, route) in &snapshot.config.stream_routes {
                if !related.rule(key) {
                    prop_assert_eq!(Some(route), now.config.stream_routes.get(key), "route {}", key);
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
            let streamed = snapshot.config.stream_routes.values().flat_map(|route| world::backends_of_stream(route));
            for backend in snapshot.config.routes.values().flat_map(|route| world::backends_of(route)).chain(streamed) {
                prop_assert!(snapshot.config.backends.contains_key(&backend), "{backend} is named and missing");
            }
        }
    }

    /// A port of a Service that a policy targets is never spoken to in plain text, whatever else is wrong.
    #[test]
    fn no_policy_is_passed_by(start in worlds()) {
        let inputs = world_of(&start);
        let targeted: BTreeSet<(&str, &str)> = (inputs.backend_tls_policies.iter())
            .flat_map(|(name, policy)| policy.spec.target_refs.iter().map(|target| (&*name.namespace, target)))
            .filter(|(_, target)| target.kind == "Service" && target.section_name.as_deref() != Some("other"))
            .map(|(namespace, target)| (namespace, &*target.name))
            .collect();
        for snapshot in fresh(&inputs, &settings(false)).snapshots.values() {
            for (key, backend) in &snapshot.config.backends {
                if key.kind == BackendKind::Service && key.transport == Transport::Tcp {
                    let guarded = backend.tls.is_some() || backend.broken.is_some();
                    prop_assert_eq!(guarded, targeted.contains(&(&*key.namespace, &*key.name)), "{}", key);
                }
            }
        }
    }

    /// Pod churn takes the short lane, and comes to what a whole pass would.
    #[test]
    fn the_lane_of_endpoints_comes_to_what_a_pass_would(start in worlds(), slices in prop::collection::vec((0..4u8, any::<u64>(), any::<bool>()), 1..6)) {
        let settings = settings(false);
        let mut inputs = world_of(&start);
        let mut memo = Memo::default();
        let Output { mut snapshots, statuses, .. } = translate(&inputs, &settings, &mut memo);
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
    fn an_edit_of_one_route_shares_everything_else(start in worlds(), kind in 0..5u8, number in 0..4u8, seed in any::<u64>()) {
        let settings = settings(false);
        let mut inputs = world_of(&start);
        let mut memo = Memo::default();
        let before = translate(&inputs, &settings, &mut memo);
        let id = Id::route(kind, number);
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
            for (key, route) in &snapshot.config.stream_routes {
                if key.name != own.name {
                    prop_assert!(std::sync::Arc::ptr_eq(route, &old.config.stream_routes[key]), "{key} was built again");
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
    routes: Vec<ObjectRef>,
    gateways: Vec<NamespacedName>,
}

impl Related {
    fn of(inputs: &Inputs, victim: &ObjectRef) -> Self {
        let names = |text: String, name: &str| text.contains(&format!("\"{name}\""));
        let mut gateways = Vec::new();
        for (name, gateway) in &inputs.gateways {
            let text = serde_json::to_string(&gateway.spec).unwrap();
            let is_victim = victim.kind == Kind::Gateway && *victim.name == *name.name;
            let through_set = inputs.listener_sets.iter().any(|(set, object)| {
                let text = serde_json::to_string(&object.spec).unwrap();
                let is_victim = victim.kind == Kind::ListenerSet && *victim.name == *set.name;
                names(text.clone(), &name.name) && (is_victim || names(text, &victim.name))
            });
            if is_victim || through_set || victim.kind == Kind::GatewayClass || names(text, &victim.name) {
                gateways.push(name.clone());
            }
        }
        // Grants and namespaces are meant by what is in them, not by name.
        let wide = matches!(victim.kind, Kind::ReferenceGrant | Kind::Namespace | Kind::GatewayClass);
        if wide || victim.kind == Kind::GatewayParameters {
            gateways = inputs.gateways.keys().cloned().collect();
        }
        // A CA ConfigMap is named by Backends, which routes name.
        let backends = inputs.backends.iter().map(|(name, one)| (name, serde_json::to_string(&one.spec)));
        let x_backends = inputs.x_backends.iter().map(|(name, one)| (name, serde_json::to_string(&one.spec)));
        let through: Vec<&NamespacedName> = (backends.chain(x_backends))
            .filter(|(_, text)| names(text.as_ref().unwrap().clone(), &victim.name))
            .map(|(name, _)| name)
            .collect();
        // Listeners that are gone conflict with nobody's any more.
        let of_sets = matches!(victim.kind, Kind::Gateway | Kind::ListenerSet);
        let routes = written(inputs).into_iter().filter(|(route, text)| {
            if of_sets && names(text.clone(), "ListenerSet") {
                return true;
            }
            route == victim
                || wide
                || names(text.clone(), &victim.name)
                || through.iter().any(|backend| names(text.clone(), &backend.name))
        });
        Self { routes: routes.map(|(route, _)| route).collect(), gateways }
    }

    fn route(&self, name: &ObjectRef) -> bool {
        self.routes.contains(name)
    }

    fn rule(&self, key: &RouteKey) -> bool {
        let name = NamespacedName::new(key.namespace.clone(), key.name.clone());
        self.route(&ObjectRef::namespaced(key.kind.into(), &name))
    }

    fn gateway(&self, name: &NamespacedName) -> bool {
        self.gateways.contains(name)
    }
}

/// Routes of all kinds, each with its spec as text.
fn written(inputs: &Inputs) -> Vec<(ObjectRef, String)> {
    fn of<T>(kind: Kind, routes: &Objects<T>, text: impl Fn(&T) -> String) -> Vec<(ObjectRef, String)> {
        routes.iter().map(|(name, route)| (ObjectRef::namespaced(kind, name), text(route))).collect()
    }
    let mut all = of(Kind::HttpRoute, &inputs.http_routes, |route| serde_json::to_string(&route.spec).unwrap());
    all.extend(of(Kind::GrpcRoute, &inputs.grpc_routes, |route| serde_json::to_string(&route.spec).unwrap()));
    all.extend(of(Kind::TlsRoute, &inputs.tls_routes, |route| serde_json::to_string(&route.spec).unwrap()));
    all.extend(of(Kind::TcpRoute, &inputs.tcp_routes, |route| serde_json::to_string(&route.spec).unwrap()));
    all.extend(of(Kind::UdpRoute, &inputs.udp_routes, |route| serde_json::to_string(&route.spec).unwrap()));
    all
}

#[test]
fn random_worlds_mean_something() {
    let (mut serving, mut encrypting, mut denying, mut calling) = (0, 0, 0, 0);
    let (mut adding, mut judging, mut introducing) = (0, 0, 0);
    let (mut verifying, mut broken, mut told) = (0, 0, 0);
    let (mut reaching_out, mut outside) = (0, 0);
    let mut streaming: BTreeMap<RouteKind, u32> = BTreeMap::new();
    for seed in 0..200u64 {
        let ids = (0..ID_KINDS).flat_map(|kind| (0..4u8).map(move |number| Id { kind, number }));
        let put = |id: Id| Edit::Put(id, seed * 1000 + u64::from(id.kind) * 4 + u64::from(id.number));
        let output = fresh(&world_of(&ids.map(put).collect::<Vec<_>>()), &settings(false));
        let any = |holds: &dyn Fn(&Snapshot) -> bool| u32::from(output.snapshots.values().any(holds));
        serving += any(&|one| one.live.endpoints.values().any(|endpoints| !endpoints.endpoints.is_empty()));
        encrypting += any(&|one| !one.live.certificates.is_empty());
        adding += any(&|one| {
            one.config.routes.values().any(|route| route.attachments.iter().any(|one| one.listener.set.is_some()))
        });
        judging += any(&|one| {
            let termination = one.config.listeners.values().filter_map(|listener| listener.protocol.termination());
            termination.filter(|tls| !tls.certificates.is_empty()).any(|tls| tls.client_validation.is_some())
        });
        introducing += any(&|one| {
            one.config.backends.values().filter_map(|one| one.tls.as_ref()).any(|tls| tls.client_certificate.is_some())
        });
        let backends = |one: &Snapshot, holds: fn(&Backend) -> bool| one.config.backends.values().any(|one| holds(one));
        let of_service = |one: &Backend| one.key.kind == BackendKind::Service && one.tls.is_some();
        verifying += any(&|one| backends(one, of_service));
        broken += any(&|one| backends(one, |one| one.broken == Some(Failure::InvalidBackendTls)));
        reaching_out += any(&|one| one.config.backends.keys().any(|key| key.kind == BackendKind::XBackend));
        outside += u32::from(output.statuses.x_backends.values().any(|status| !status.ancestors.is_empty()));
        told += u32::from(output.statuses.backend_tls_policies.values().any(|status| !status.ancestors.is_empty()));
        denying += any(&|one| one.config.routes.values().any(|route| matches!(route.action, Action::Fail(_))));
        calling += any(&|one| one.config.routes.keys().any(|key| key.kind == RouteKind::GrpcRoute));
        for kind in [RouteKind::TlsRoute, RouteKind::TcpRoute, RouteKind::UdpRoute] {
            let sends = |one: &Snapshot| {
                let mut of_kind = one.config.stream_routes.values().filter(|route| route.key.kind == kind);
                of_kind.any(|route| !world::backends_of_stream(route).is_empty())
            };
            *streaming.entry(kind).or_default() += any(&sends);
        }
    }
    assert!(serving > 60 && encrypting > 60 && denying > 60, "{serving} serve, {encrypting} encrypt, {denying} deny");
    assert!(calling > 60 && streaming.values().all(|count| *count > 10), "{calling} call, {streaming:?} stream");
    assert!(
        adding > 10 && judging > 5 && introducing > 1,
        "{adding} serve ListenerSets, {judging} judge clients, {introducing} present a certificate"
    );
    assert!(reaching_out > 10 && outside > 10, "{reaching_out} use XBackends, {outside} tell them");
    assert!(verifying > 4 && broken > 10 && told > 30, "{verifying} verify, {broken} are broken, {told} are told");
}
