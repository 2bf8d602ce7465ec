#![allow(clippy::unwrap_used)]
use portcullis_translate::{CONTROLLER_NAME, Object};
use serde_json::json;

use super::*;

fn condition(kind: &str, status: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1 })
}

fn parent(controller: &str, conditions: &[Value]) -> Value {
    json!({ "controllerName": controller, "parentRef": { "name": "g" }, "conditions": conditions })
}

fn written(there: &Value, ours: &[Value]) -> Option<Value> {
    let object = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": {},
        "metadata": { "namespace": "ns", "name": "r" }, "status": there });
    let Object::HttpRoute(object) = Object::parse(object).unwrap() else { panic!() };
    let ours = serde_json::from_value(json!({ "parents": ours })).unwrap();
    route(&*object, &ours, CONTROLLER_NAME).map(|status| serde_json::to_value(status).unwrap())
}

#[test]
fn entries_and_conditions_of_others_survive_and_stale_ones_of_ours_do_not() {
    let foreign = parent("example.com/other", &[condition("Accepted", "False")]);
    let there = json!({ "parents": [foreign, parent(CONTROLLER_NAME, &[condition("Accepted", "False"), condition("example.com/Mine", "True"), condition("PartiallyInvalid", "True")])] });
    let status = written(
        &there,
        &[parent(CONTROLLER_NAME, &[condition("Accepted", "True"), condition("ResolvedRefs", "True")])],
    )
    .unwrap();
    assert_eq!(status["parents"][0], foreign);
    let types: Vec<_> =
        status["parents"][1]["conditions"].as_array().unwrap().iter().map(|one| one["type"].clone()).collect();
    assert_eq!(types, ["Accepted", "example.com/Mine", "ResolvedRefs"]);
    assert_eq!(status["parents"][1]["conditions"][0]["status"], "True");
}

fn ancestor(controller: &str, gateway: &str, conditions: &[Value]) -> Value {
    json!({ "controllerName": controller, "conditions": conditions,
        "ancestorRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "ns", "name": gateway } })
}

fn written_policy(there: &Value, ours: &[Value]) -> Option<Value> {
    let object = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
        "spec": { "targetRefs": [], "validation": { "hostname": "a.example" } },
        "metadata": { "namespace": "ns", "name": "p" }, "status": there });
    let Object::BackendTlsPolicy(object) = Object::parse(object).unwrap() else { panic!() };
    let ours = serde_json::from_value(json!({ "ancestors": ours })).unwrap();
    policy(&object, &ours, CONTROLLER_NAME).map(|status| serde_json::to_value(status).unwrap())
}

#[test]
fn ancestors_of_others_survive_byte_for_byte_and_ours_follow_them() {
    let (yes, no) = (condition("Accepted", "True"), condition("Accepted", "False"));
    let foreign = ancestor("example.com/other", "unmanaged", std::slice::from_ref(&no));
    let stale = ancestor(CONTROLLER_NAME, "gone", std::slice::from_ref(&yes));
    let mine = condition("example.com/Mine", "True");
    let old = ancestor(CONTROLLER_NAME, "a", &[mine.clone(), no]);
    let ours = [ancestor(CONTROLLER_NAME, "a", std::slice::from_ref(&yes)), ancestor(CONTROLLER_NAME, "b", &[])];
    let status = written_policy(&json!({ "ancestors": [stale, foreign, old] }), &ours).unwrap();
    let merged = ancestor(CONTROLLER_NAME, "a", &[mine, yes]);
    assert_eq!(status, json!({ "ancestors": [foreign, merged, ours[1]] }));
    assert_eq!(written_policy(&status, &ours), None, "what is there is not written again");
    let taken_back = written_policy(&status, &[]).unwrap();
    assert_eq!(taken_back, json!({ "ancestors": [foreign] }));
    assert_eq!(written_policy(&taken_back, &[]), None);
    assert_eq!(written_policy(&json!(null), &[]), None);
}

#[test]
fn a_list_of_ancestors_that_is_full_takes_no_more_of_ours() {
    let others: Vec<Value> = (0..15).map(|at| ancestor("example.com/other", &format!("g{at}"), &[])).collect();
    let ours = ["a", "b"].map(|name| ancestor(CONTROLLER_NAME, name, &[condition("Accepted", "True")]));
    let status = written_policy(&json!({ "ancestors": others }), &ours).unwrap();
    let ancestors = status["ancestors"].as_array().unwrap();
    assert_eq!((ancestors.len(), &ancestors[..15], &ancestors[15]), (16, &others[..], &ours[0]));
    assert_eq!(written_policy(&status, &ours), None);
}

#[test]
fn the_routability_of_an_address_is_written_as_a_field_and_only_once() {
    let there = |status: &Value| {
        let object = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "status": status,
            "metadata": { "namespace": "ns", "name": "g" }, "spec": { "gatewayClassName": "c", "listeners": [] } });
        let Object::Gateway(object) = Object::parse(object).unwrap() else { panic!() };
        object
    };
    let marked = json!([
        { "type": "IPAddress of routability Cluster", "value": "10.0.0.1" },
        { "type": "IPAddress of routability ", "value": "192.0.2.1" },
        { "type": "Hostname", "value": "a.example" },
    ]);
    let ours = serde_json::from_value(json!({ "addresses": marked, "conditions": [] })).unwrap();
    let first = as_written(&gateway(&there(&json!(null)), &ours).unwrap());
    let addresses = json!([
        { "type": "IPAddress", "value": "10.0.0.1", "routability": "Cluster" },
        { "type": "IPAddress", "value": "192.0.2.1", "routability": "" },
        { "type": "Hostname", "value": "a.example" },
    ]);
    assert_eq!(first["addresses"], addresses);
    assert_eq!(gateway(&there(&first), &ours), None);
}

#[test]
fn an_x_backend_is_told_in_the_words_of_its_release() {
    let (yes, no) = (condition("Accepted", "True"), condition("Accepted", "False"));
    for (port, list, reference) in
        [(json!({ "number": 1 }), "ancestors", "ancestorRef"), (json!({ "port": 1 }), "parents", "parentRef")]
    {
        let entry = |controller: &str, condition: &Value| json!({ "controllerName": controller, reference: { "name": "g" }, "conditions": [condition] });
        let written = |there: &Value, ours: &[Value]| {
            let object = json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackend",
                "metadata": { "namespace": "ns", "name": "b" }, "spec": { "type": "ExternalHostname", "port": port },
                "status": there });
            let Object::XBackend(object) = Object::parse(object).unwrap() else { panic!() };
            x_backend(&object, &serde_json::from_value(json!({ "ancestors": ours })).unwrap(), CONTROLLER_NAME)
        };
        let ours = [json!({ "controllerName": CONTROLLER_NAME, "ancestorRef": { "name": "g" }, "conditions": [yes] })];
        let foreign = entry("example.com/other", &no);
        let status = written(&json!({ list: [foreign, entry(CONTROLLER_NAME, &no)] }), &ours).unwrap();
        assert_eq!(status, json!({ list: [foreign, entry(CONTROLLER_NAME, &yes)] }));
        assert_eq!(written(&status, &ours), None, "what is there is not written again");
        assert_eq!(written(&status, &[]), Some(json!({ list: [foreign] })));
        assert_eq!(written(&json!(null), &[]), None);
    }
}

#[test]
fn of_a_listener_set_only_what_is_ours_is_written_and_only_once() {
    let ours = json!({ "conditions": [condition("Accepted", "True"), condition("Programmed", "True")],
        "listeners": [{ "name": "a", "attachedRoutes": 1, "supportedKinds": [], "conditions": [condition("Accepted", "True")] }] });
    let there = json!({ "conditions": [condition("example.com/Mine", "True"), condition("Accepted", "Unknown")],
        "listeners": [
            { "name": "gone", "attachedRoutes": 1, "conditions": [condition("Accepted", "True")] },
            { "name": "a", "attachedRoutes": 0, "conditions": [condition("example.com/Mine", "True"), condition("Conflicted", "True")] },
        ] });
    let written = |there: &Value, ours: &Value| {
        let object = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
            "spec": { "parentRef": { "name": "g" }, "listeners": [] }, "metadata": { "namespace": "ns", "name": "s" }, "status": there });
        let Object::ListenerSet(object) = Object::parse(object).unwrap() else { panic!() };
        listener_set(&object, &serde_json::from_value(ours.clone()).unwrap())
            .map(|status| serde_json::to_value(status).unwrap())
    };
    let first = written(&there, &ours).unwrap();
    let types = |conditions: &Value| -> Vec<String> {
        conditions.as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(types(&first["conditions"]), ["example.com/Mine", "Accepted", "Programmed"]);
    assert_eq!(first["listeners"].as_array().unwrap().len(), 1);
    assert_eq!(types(&first["listeners"][0]["conditions"]), ["example.com/Mine", "Accepted"]);
    assert_eq!(written(&first, &ours), None);
    let refused = written(
        &first,
        &json!({ "conditions": [condition("Accepted", "False"), condition("Programmed", "False")], "listeners": [] }),
    )
    .unwrap();
    assert_eq!(refused["listeners"], json!([]));
    assert_eq!(
        written(&refused, &json!({ "conditions": [condition("Accepted", "False"), condition("Programmed", "False")] })),
        None
    );
}

#[test]
fn what_is_there_already_is_not_written_whatever_stands_beside_it() {
    let ours = parent(CONTROLLER_NAME, &[condition("Accepted", "True"), condition("ResolvedRefs", "True")]);
    let there = parent(
        CONTROLLER_NAME,
        &[condition("ResolvedRefs", "True"), condition("example.com/Mine", "True"), condition("Accepted", "True")],
    );
    let others = parent("example.com/other", &[]);
    assert_eq!(written(&json!({ "parents": [there, others] }), std::slice::from_ref(&ours)), None);
    assert!(written(&json!({ "parents": [there] }), &[]).is_some(), "an entry of ours that is no longer meant goes");
    assert!(written(&json!(null), &[ours]).is_some());
}
