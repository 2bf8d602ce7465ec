//! Routes and policies that come, change and go together: what is kept from pass to pass comes to what a pass from nothing
//! would, and a pass builds again only what an edit concerns.

use std::sync::Arc;

use portcullis_ir::Snapshot;
use portcullis_translate::{Inputs, Kind, Memo, NamespacedName, ObjectRef, Output, Settings, translate};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::Config;

use crate::world::{aged, fresh, put, world};

const GATEWAYS: [&str; 2] = ["gw", "gw2"];
const ROUTES: u64 = 5;
const RULES: [&str; 3] = ["pay", "look", "send"];

/// What comes before a pass.
#[derive(Clone, Debug)]
enum Edit {
    Route(u64),
    Policy(u64),
    Gateway(u64),
    RemoveRoute(u64),
    RemovePolicy(u64),
}

/// Numbers out of a number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        let rolled = self.0 % sides;
        self.0 /= sides;
        rolled
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.roll(list.len() as u64)).unwrap()]
    }
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => any::<u64>().prop_map(Edit::Route),
        4 => any::<u64>().prop_map(Edit::Policy),
        1 => any::<u64>().prop_map(Edit::Gateway),
        1 => (0..ROUTES).prop_map(Edit::RemoveRoute),
        1 => any::<u64>().prop_map(Edit::RemovePolicy),
    ]
}

fn gateway(name: &str, seed: u64) -> String {
    let second = if seed.is_multiple_of(2) { ", {name: other, port: 81, protocol: HTTP}" } else { "" };
    let listeners = format!("[{{name: web, port: 80, protocol: HTTP}}{second}]");
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: infra}}\n\
         spec: {{gatewayClassName: portcullis, listeners: {listeners}}}\n"
    )
}

/// The last of [`ROUTES`] is a GRPCRoute.
fn route(seed: u64) -> String {
    let mut dice = Dice(seed);
    let number = dice.roll(ROUTES);
    let kind = kind_of(number);
    let parents = dice.of(&["[{name: gw}]", "[{name: gw2}]", "[{name: gw}, {name: gw2, sectionName: web}]", "[]"]);
    let rules: Vec<String> = (0..=dice.roll(3))
        .map(|_| {
            let name = dice.of(&["name: pay, ", "name: look, ", "name: send, ", ""]);
            let backend = dice.roll(3);
            format!("{{{name}backendRefs: [{{name: s{backend}, port: 80}}]}}")
        })
        .collect();
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: r{number}, namespace: infra}}\n\
         spec: {{parentRefs: {parents}, rules: [{}]}}\n",
        rules.join(", ")
    )
}

fn kind_of(number: u64) -> Kind {
    if number + 1 == ROUTES { Kind::GrpcRoute } else { Kind::HttpRoute }
}

fn policy(seed: u64) -> String {
    let mut dice = Dice(seed);
    let (number, route) = (dice.roll(6), dice.roll(ROUTES));
    let target = match dice.roll(6) {
        0 => format!("{{kind: Gateway, name: {}}}", dice.of(&GATEWAYS)),
        1 => format!("{{kind: Gateway, name: {}, sectionName: web}}", dice.of(&GATEWAYS)),
        2 | 3 => format!("{{kind: {}, name: r{route}}}", kind_of(route)),
        _ => format!("{{kind: {}, name: r{route}, sectionName: {}}}", kind_of(route), dice.of(&RULES)),
    };
    let (kind, spec) = match dice.roll(2) {
        0 => ("RateLimitPolicy", format!("rules: [{{name: a, limits: [{{requests: {}, window: 1s}}]}}]", dice.roll(4))),
        _ => ("AuthPolicy", format!("authentication: {{methods: [{{name: m{}, anonymous: {{}}}}]}}", dice.roll(3))),
    };
    let created = format!("2026-01-0{}T00:00:00Z", 1 + dice.roll(3));
    aged(kind, &format!("p{number}"), &created, &target, &spec)
}

fn apply(inputs: &mut Inputs, edit: &Edit) {
    let name = |name: String| NamespacedName::new("infra", name.as_str());
    match edit {
        Edit::Route(seed) => put(inputs, &route(*seed)),
        Edit::Policy(seed) => put(inputs, &policy(*seed)),
        Edit::Gateway(seed) => put(inputs, &gateway(Dice(*seed).of(&GATEWAYS), seed / 2)),
        Edit::RemoveRoute(number) => {
            inputs.remove(&ObjectRef::namespaced(kind_of(*number), &name(format!("r{number}"))));
        }
        Edit::RemovePolicy(seed) => {
            let kind = if seed.is_multiple_of(2) { Kind::RateLimitPolicy } else { Kind::AuthPolicy };
            inputs.remove(&ObjectRef::namespaced(kind, &name(format!("p{}", seed / 2 % 6))));
        }
    }
}

fn start() -> Inputs {
    let mut inputs = world("");
    GATEWAYS.iter().for_each(|name| put(&mut inputs, &gateway(name, 0)));
    for number in 0..3 {
        put(
            &mut inputs,
            &format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: infra}}\nspec: {{ports: [{{port: 80}}]}}\n"
            ),
        );
    }
    inputs
}

/// Rules of routes that have something of their own.
fn governed(output: &Output) -> usize {
    let rules = output.snapshots.values().flat_map(|snapshot| snapshot.config.routes.values());
    rules.filter(|rule| rule.attachments.iter().any(|one| one.limits.is_some() || one.auth.is_some())).count()
}

fn same_places(before: &Snapshot, after: &Snapshot) -> bool {
    let routes = &after.config.routes;
    let (was, is) = (before.config.routes.len(), routes.len());
    was == is
        && routes.iter().all(|(key, rule)| before.config.routes.get(key).is_some_and(|old| Arc::ptr_eq(old, rule)))
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_is_kept_comes_to_what_a_pass_from_nothing_would(
        steps in prop::collection::vec(prop::collection::vec(edits(), 1..4), 1..24),
    ) {
        let (mut inputs, mut memo) = (start(), Memo::default());
        for edits in &steps {
            edits.iter().for_each(|edit| apply(&mut inputs, edit));
            let kept = translate(&inputs, &Settings::default(), &mut memo);
            let anew = fresh(&inputs);
            prop_assert_eq!(&kept.snapshots, &anew.snapshots, "after {:?}", edits);
            prop_assert_eq!(&kept.statuses, &anew.statuses, "after {:?}", edits);
            prop_assert_eq!(&kept.downgrades, &anew.downgrades, "after {:?}", edits);
            let again = translate(&inputs, &Settings::default(), &mut memo);
            for (gateway, snapshot) in &kept.snapshots {
                prop_assert!(same_places(snapshot, &again.snapshots[gateway]), "{} was built again", gateway);
            }
        }
    }
}

#[test]
fn random_policies_mean_something() {
    let mut inputs = start();
    let mut seen = 0;
    for seed in 0..400u64 {
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        apply(&mut inputs, &if seed.is_multiple_of(3) { Edit::Policy(seed / 3) } else { Edit::Route(seed / 3) });
        seen += governed(&fresh(&inputs));
    }
    assert!(seen > 400, "{seen} rules with something of their own in 400 worlds");
}
