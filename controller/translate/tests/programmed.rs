//! `Programmed` and the times of conditions, as a story: told, acknowledged, told again.

#![allow(clippy::unwrap_used)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_ir::{GatewayKey, ListenerKey, ListenerSetKey};
use portcullis_translate::{
    Acks, GatewayAck, Inputs, Memo, Object, Settings, Standing, Statuses, Timestamp, programmed, translate,
};
use serde_json::json;

fn at(hour: u8) -> Timestamp {
    format!("2026-01-01T{hour:02}:00:00Z").parse().unwrap()
}

fn inputs(hour: u8) -> Inputs {
    let class = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "c" },
        "spec": { "controllerName": "portcullis.dev/gateway-controller" } });
    let listener = |name: &str, port: u16, protocol: &str| json!({ "name": name, "port": port, "protocol": protocol });
    let gateway = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": "g", "generation": hour },
        "spec": { "gatewayClassName": "c", "allowedListeners": { "namespaces": { "from": "Same" } }, "listeners": [listener("a", 80, "HTTP"), listener("b", 81, "HTTP"), listener("c", 82, "SMTP")] } });
    let set = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet", "metadata": { "name": "s", "generation": hour },
        "spec": { "parentRef": { "name": "g" }, "listeners": [listener("a", 8080, "HTTP"), listener("c", 8081, "SMTP")] } });
    let mut inputs = Inputs { now: at(hour), ..Inputs::default() };
    for object in [class, gateway, set] {
        inputs.insert(Object::parse(object).unwrap());
    }
    inputs
}

fn key() -> GatewayKey {
    GatewayKey::new("default", "g")
}

fn statuses(hour: u8, previous: &Statuses) -> Statuses {
    let mut statuses = translate(&inputs(hour), &Settings::default(), &mut Memo::default()).statuses;
    statuses.settle(previous);
    statuses
}

fn acks(hour: u8, listeners: &[(&str, Result<(), String>)]) -> Acks {
    let listeners = listeners.iter().map(|(name, said)| (ListenerKey::new(key(), *name), said.clone())).collect();
    Acks { now: at(hour), gateways: [(key(), GatewayAck { listeners, standing: Standing::AsListeners })].into() }
}

/// `Programmed` of a listener, or of the Gateway itself: status, reason, hour of its last change.
fn said(statuses: &Statuses, listener: Option<&str>) -> (String, String, Timestamp) {
    let status = &statuses.gateways[&key()];
    let conditions: &[Condition] = match listener {
        None => status.conditions.as_deref().unwrap(),
        Some(name) => &status.listeners.iter().flatten().find(|one| one.name == name).unwrap().conditions,
    };
    let condition = conditions.iter().find(|one| one.type_ == "Programmed").unwrap();
    (condition.status.clone(), condition.reason.clone(), condition.last_transition_time.0)
}

fn expect(status: &str, reason: &str, hour: u8) -> (String, String, Timestamp) {
    (status.to_owned(), reason.to_owned(), at(hour))
}

#[test]
fn without_an_acknowledgement_nothing_is_programmed() {
    let mut statuses = statuses(1, &Statuses::default());
    programmed(&mut statuses, &Acks { now: at(2), ..Acks::default() });
    assert_eq!(said(&statuses, None), expect("Unknown", "Pending", 1));
    assert_eq!(said(&statuses, Some("c")), expect("False", "Invalid", 1));
}

#[test]
fn a_listener_is_programmed_once_it_is_bound_and_the_gateway_with_the_first() {
    let mut statuses = statuses(1, &Statuses::default());
    programmed(&mut statuses, &acks(2, &[("a", Ok(()))]));
    assert_eq!(said(&statuses, Some("a")), expect("True", "Programmed", 2));
    assert_eq!(said(&statuses, Some("b")), expect("Unknown", "Pending", 1));
    assert_eq!(said(&statuses, Some("c")), expect("False", "Invalid", 1), "what is invalid stays invalid");
    assert_eq!(said(&statuses, None), expect("True", "Programmed", 2));
}

#[test]
fn a_port_that_cannot_be_bound_is_named() {
    let mut first = statuses(1, &Statuses::default());
    let taken = || Err("port 81 is taken by another process".to_owned());
    programmed(&mut first, &acks(2, &[("a", Ok(())), ("b", taken())]));
    assert_eq!(said(&first, Some("b")), expect("False", "PortUnavailable", 2));
    assert_eq!(said(&first, None), expect("True", "Programmed", 2));
    let mut none = statuses(1, &Statuses::default());
    programmed(&mut none, &acks(2, &[("a", taken()), ("b", taken())]));
    assert_eq!(said(&none, None), expect("False", "AddressNotUsable", 2));
}

#[test]
fn times_move_only_when_a_status_changes_also_across_passes() {
    let mut first = statuses(1, &Statuses::default());
    programmed(&mut first, &acks(2, &[("a", Ok(())), ("b", Ok(()))]));
    let mut second = statuses(3, &first);
    assert_eq!(said(&second, Some("a")).0, "Unknown", "a new generation is not programmed before it is acknowledged");
    programmed(&mut second, &acks(4, &[("a", Ok(())), ("b", Err("gone".to_owned()))]));
    assert_eq!(said(&second, Some("a")), expect("True", "Programmed", 2));
    assert_eq!(said(&second, Some("b")), expect("False", "PortUnavailable", 4));
    assert_eq!(said(&second, None), expect("True", "Programmed", 2));
    let conditions = second.gateways[&key()].conditions.as_deref().unwrap();
    assert!(conditions.iter().all(|one| one.observed_generation == Some(3)), "every condition is of this generation");
}

fn standing(hour: u8, listeners: &[(&str, Result<(), String>)], standing: Standing) -> Acks {
    let mut acks = acks(hour, listeners);
    acks.gateways.get_mut(&key()).unwrap().standing = standing;
    acks
}

#[test]
fn while_a_newer_program_is_on_its_way_what_was_said_of_this_generation_stays() {
    let in_force = |version| Standing::InForce(format!("version {version}, 2/2 replicas"));
    let mut first = statuses(1, &Statuses::default());
    programmed(&mut first, &standing(2, &[("a", Ok(())), ("b", Ok(()))], in_force(1)));
    assert_eq!(said(&first, None), expect("True", "Programmed", 2));
    let mut again = statuses(1, &first);
    programmed(&mut again, &standing(3, &[], Standing::Waiting("version 2, 0/2 replicas".to_owned())));
    assert_eq!(again.gateways, first.gateways);
    let mut edited = statuses(4, &first);
    programmed(&mut edited, &standing(5, &[], Standing::Waiting("version 2, 0/2 replicas".to_owned())));
    assert_eq!(said(&edited, None), expect("Unknown", "Pending", 4), "nothing is known of a new generation");
}

#[test]
fn a_gateway_that_cannot_be_reached_is_not_programmed_whatever_its_listeners_say() {
    let mut first = statuses(1, &Statuses::default());
    let not = Standing::Not(portcullis_translate::Reason::AddressNotAssigned, "no address yet".to_owned());
    programmed(&mut first, &standing(2, &[("a", Ok(())), ("b", Ok(()))], not));
    assert_eq!(said(&first, None), expect("False", "AddressNotAssigned", 2));
    assert_eq!(said(&first, Some("a")), expect("True", "Programmed", 2));
}

fn of_set(name: &str) -> ListenerKey {
    ListenerKey::of_set(key(), ListenerSetKey::new("default", "s"), name)
}

/// The same of the ListenerSet.
fn said_of_set(statuses: &Statuses, listener: Option<&str>) -> (String, String, Timestamp) {
    let status = statuses.listener_sets.values().next().unwrap();
    let conditions: &[Condition] = match listener {
        None => status.conditions.as_deref().unwrap(),
        Some(name) => &status.listeners.iter().flatten().find(|one| one.name == name).unwrap().conditions,
    };
    let condition = conditions.iter().find(|one| one.type_ == "Programmed").unwrap();
    (condition.status.clone(), condition.reason.clone(), condition.last_transition_time.0)
}

#[test]
fn a_listener_set_is_programmed_by_its_own_listeners_whatever_others_of_their_name_do() {
    let mut first = statuses(1, &Statuses::default());
    programmed(&mut first, &acks(2, &[("a", Ok(())), ("b", Ok(()))]));
    assert_eq!(said_of_set(&first, Some("a")), expect("Unknown", "Pending", 1), "the Gateway's own `a` is another one");
    assert_eq!(said_of_set(&first, None), expect("Unknown", "Pending", 1));
    let mut told = acks(2, &[("a", Err("port 80 is taken".to_owned()))]);
    told.gateways.get_mut(&key()).unwrap().listeners.insert(of_set("a"), Ok(()));
    programmed(&mut first, &told);
    assert_eq!(said_of_set(&first, Some("a")), expect("True", "Programmed", 2));
    assert_eq!(said_of_set(&first, Some("c")), expect("False", "Invalid", 1));
    assert_eq!(said_of_set(&first, None), expect("True", "Programmed", 2));
    let mut second = statuses(3, &first);
    programmed(&mut second, &{
        let mut told = acks(4, &[]);
        told.gateways.get_mut(&key()).unwrap().listeners.insert(of_set("a"), Err("port 8080 is taken".to_owned()));
        told
    });
    assert_eq!(said_of_set(&second, Some("a")), expect("False", "PortUnavailable", 4));
    assert_eq!(said_of_set(&second, None), expect("False", "PortUnavailable", 4));
}

#[test]
fn a_listener_set_stands_as_its_gateway_does() {
    let mut first = statuses(1, &Statuses::default());
    let mut told = standing(2, &[], Standing::InForce("version 1, 2/2 replicas".to_owned()));
    told.gateways.get_mut(&key()).unwrap().listeners.insert(of_set("a"), Ok(()));
    programmed(&mut first, &told);
    assert_eq!(said_of_set(&first, None), expect("True", "Programmed", 2));
    let mut again = statuses(1, &first).of_gateways();
    programmed(&mut again, &standing(3, &[], Standing::Waiting("version 2, 0/2 replicas".to_owned())));
    assert_eq!(again.listener_sets, first.listener_sets, "a program on its way moves nothing");
    let not = Standing::Not(portcullis_translate::Reason::AddressNotAssigned, "no address yet".to_owned());
    let mut unreachable = statuses(1, &first).of_gateways();
    programmed(&mut unreachable, &standing(4, &[], not));
    assert_eq!(said_of_set(&unreachable, None), expect("False", "ParentNotProgrammed", 4));
}
