//! Objects that never met an API server: whatever their size, what comes out of them fits a data plane.

#![allow(clippy::unwrap_used)]

use portcullis_translate::{Inputs, Memo, Object, Output, Settings, translate};
use portcullis_wire::{decode, encode};
use serde_json::{Value, json};

fn translated(gateway: &Value, route: &Value, others: &[Value]) -> Output {
    let group = "gateway.networking.k8s.io/v1";
    let class = json!({ "apiVersion": group, "kind": "GatewayClass", "metadata": { "name": "c" },
        "spec": { "controllerName": "portcullis.dev/gateway-controller" } });
    let gateway = json!({ "apiVersion": group, "kind": "Gateway", "metadata": { "name": "g" }, "spec": gateway });
    let route = json!({ "apiVersion": group, "kind": "HTTPRoute", "metadata": { "name": "r" }, "spec": route });
    let mut inputs = Inputs::default();
    for object in [class, gateway, route].iter().chain(others) {
        inputs.insert(Object::parse(object.clone()).unwrap());
    }
    let settings = Settings { bind_addresses: true, ..Settings::default() };
    let output = translate(&inputs, &settings, &mut Memo::default());
    for snapshot in output.snapshots.values() {
        for resource in snapshot.resources() {
            if let Err(error) = decode(encode(&resource)) {
                panic!("{}: {error}", resource.key());
            }
        }
    }
    output
}

fn gateway() -> Value {
    json!({ "gatewayClassName": "c", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] })
}

fn routes(output: &Output) -> usize {
    output.snapshots.values().map(|snapshot| snapshot.config.routes.len()).sum()
}

#[test]
fn a_route_with_too_many_hostnames_keeps_the_first() {
    let hostnames: Vec<String> = (0..300).map(|at| format!("h{at}.example.com")).collect();
    let output = translated(&gateway(), &json!({ "parentRefs": [{ "name": "g" }], "hostnames": hostnames }), &[]);
    assert_eq!(routes(&output), 1);
}

#[test]
fn long_names_values_and_lists_deny_their_rule_alone() {
    let long = "x".repeat(5000);
    let many = |one: Value| Value::from(vec![one; 100]);
    let broken = [
        json!({ "matches": [{}, { "queryParams": [{ "name": long, "value": "v" }] }] }),
        json!({ "matches": [{}, { "headers": [{ "name": "h", "value": long }] }] }),
        json!({ "matches": [{}, { "path": { "value": format!("/{long}") } }] }),
        json!({ "matches": many(json!({})) }),
        json!({ "filters": many(json!({ "type": "RequestMirror", "requestMirror": { "backendRef": { "name": "s", "port": 80 } } })) }),
        json!({ "backendRefs": many(json!({ "name": "s", "port": 80 })) }),
    ];
    let rules: Vec<Value> = broken.iter().cloned().chain([json!({ "name": long }), json!({ "name": "" })]).collect();
    let output = translated(&gateway(), &json!({ "parentRefs": [{ "name": "g" }], "rules": rules }), &[]);
    let statuses = output.statuses.http_routes.values().next().unwrap();
    let partial = statuses.parents[0].conditions.iter().find(|one| one.type_ == "PartiallyInvalid").unwrap();
    let named = (0..broken.len()).filter(|at| partial.message.contains(&format!("rules[{at}]")));
    assert_eq!(named.count(), broken.len(), "{}", partial.message);
    assert_eq!(routes(&output), broken.len() + 2, "rules whose names are odd are served, the others deny");
}

#[test]
fn a_gateway_with_too_many_addresses_or_odd_listener_names_is_refused_in_part() {
    let addresses: Vec<Value> = (0..100).map(|at| json!({ "value": format!("10.0.0.{at}") })).collect();
    let mut many = gateway();
    many["addresses"] = addresses.into();
    let route = json!({ "parentRefs": [{ "name": "g" }] });
    assert_eq!(routes(&translated(&many, &route, &[])), 0);
    let listeners = json!([{ "name": "a/b", "port": 80, "protocol": "HTTP" }, { "name": "x".repeat(300), "port": 81, "protocol": "HTTP" },
        { "name": "fine", "port": 82, "protocol": "HTTP" }]);
    let output = translated(&json!({ "gatewayClassName": "c", "listeners": listeners }), &route, &[]);
    let snapshot = output.snapshots.values().next().unwrap();
    assert_eq!(snapshot.config.listeners.keys().map(|key| &*key.name).collect::<Vec<_>>(), ["fine"]);
}

#[test]
fn a_backend_with_more_of_everything_is_refused() {
    let endpoint = json!({ "hostname": "a.example.com", "port": 443 });
    let route = json!({ "parentRefs": [{ "name": "g" }], "rules": [{ "backendRefs": [{ "group": "portcullis.dev", "kind": "Backend", "name": "b" }] }] });
    let name = json!({ "type": "Hostname", "hostname": "a.example.com" });
    for spec in [
        json!({ "endpoints": vec![endpoint.clone(); 17] }),
        json!({ "endpoints": [endpoint], "tls": { "hostname": "a.example.com", "wellKnownCACertificates": "System", "subjectAltNames": vec![name; 6] } }),
        json!({ "endpoints": [endpoint], "tls": { "hostname": "a.example.com", "caCertificateRefs": vec![json!({ "name": "ca" }); 9] } }),
        json!({ "endpoints": [endpoint], "connectTimeout": "2m" }),
    ] {
        let backend = json!({ "apiVersion": "portcullis.dev/v1alpha1", "kind": "Backend", "metadata": { "name": "b" }, "spec": spec });
        let output = translated(&gateway(), &route, &[backend]);
        let conditions = &output.statuses.backends.values().next().unwrap().conditions;
        assert!(conditions.iter().any(|one| one.type_ == "Accepted" && one.status == "False"), "{conditions:?}");
    }
}
