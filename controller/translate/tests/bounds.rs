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
    let statuses = output.statuses.routes.values().next().unwrap();
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

#[test]
fn a_route_of_streams_that_is_too_large_keeps_what_fits_or_refuses() {
    let group = "gateway.networking.k8s.io/v1";
    let hostnames: Vec<String> = (0..5000).map(|at| format!("h{at}.example.com")).collect();
    let many = Value::from(vec![json!({ "name": "s", "port": 80 }); 17]);
    let long = "x".repeat(5000);
    let tls = json!({ "apiVersion": group, "kind": "TLSRoute", "metadata": { "name": "t" }, "spec": {
        "parentRefs": [{ "name": "g" }], "hostnames": hostnames,
        "rules": [{ "backendRefs": many }, { "name": long, "backendRefs": [{ "name": "s", "port": 80 }] }],
    } });
    let gateway = json!({ "gatewayClassName": "c", "listeners": [
        { "name": "tls", "port": 443, "protocol": "TLS", "tls": { "mode": "Passthrough" } },
    ] });
    let output = translated(&gateway, &json!({ "parentRefs": [{ "name": "g" }] }), &[tls]);
    let snapshot = output.snapshots.values().next().unwrap();
    let streams: Vec<_> = snapshot.config.stream_routes.values().collect();
    assert_eq!(streams.iter().map(|one| one.backends.len()).collect::<Vec<_>>(), [0, 1]);
    assert!(streams.iter().all(|one| one.attachments[0].hostnames.len() == 4096 && one.rule_name.is_none()));
    assert_eq!(snapshot.config.routes.len(), 0, "an HTTPRoute is not attached to a TLS listener");
}

#[test]
fn hundreds_of_listeners_and_the_longest_names_are_served() {
    let name = "n".repeat(253);
    let mut gateway = gateway();
    gateway["allowedListeners"] = json!({ "namespaces": { "from": "All" } });
    let set = |set: usize| {
        let listener = |at: usize| json!({ "name": format!("{at}-{}", &name[..240]), "port": 8000 + at, "protocol": "HTTP", "hostname": format!("h{set}.example.com") });
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet", "metadata": { "name": format!("{}-{set}", &name[..250]) },
            "spec": { "parentRef": { "name": name }, "listeners": (0..64).map(listener).collect::<Vec<_>>() } })
    };
    let mut objects: Vec<Value> = (0..5).map(set).collect();
    let group = "gateway.networking.k8s.io/v1";
    objects.push(json!({ "apiVersion": group, "kind": "Gateway", "metadata": { "name": name }, "spec": gateway }));
    let parents: Vec<Value> =
        objects[..5].iter().map(|set| json!({ "kind": "ListenerSet", "name": set["metadata"]["name"] })).collect();
    let output = translated(
        &json!({ "gatewayClassName": "others", "listeners": [] }),
        &json!({ "parentRefs": parents }),
        &objects,
    );
    let snapshot = output.snapshots.values().next().unwrap();
    assert_eq!(snapshot.config.listeners.len(), 321);
    assert_eq!(snapshot.config.routes.values().next().unwrap().attachments.len(), 320);
    let status = output.statuses.gateways.values().next().unwrap();
    assert_eq!((status.attached_listener_sets, status.listeners.as_ref().unwrap().len()), (Some(5), 1));
    assert!(
        output
            .statuses
            .listener_sets
            .values()
            .all(|set| { set.listeners.as_ref().unwrap().iter().all(|listener| listener.attached_routes == 1) })
    );
}

#[test]
fn a_gateway_that_trusts_more_than_a_data_plane_takes_keeps_what_fits() {
    let issue = |_| rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()]).unwrap().cert.pem();
    let ca = |at: usize| {
        let pem: String = (0..65).map(issue).collect();
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("ca{at}") }, "data": { "ca.crt": pem } })
    };
    let references: Vec<Value> =
        (0..20).map(|at| json!({ "group": "", "kind": "ConfigMap", "name": format!("ca{at}") })).collect();
    let mut gateway = gateway();
    gateway["listeners"] = json!([{ "name": "https", "port": 443, "protocol": "HTTPS", "tls": {} }]);
    gateway["tls"] = json!({ "frontend": { "default": { "validation": { "caCertificateRefs": references } } } });
    let output = translated(&gateway, &json!({}), &(0..20).map(ca).collect::<Vec<_>>());
    let snapshot = output.snapshots.values().next().unwrap();
    let listener = snapshot.config.listeners.values().next().unwrap();
    let validation = listener.protocol.termination().unwrap().client_validation.as_ref().unwrap();
    assert_eq!(validation.roots.len(), 15 * 65);
    let conditions = &output.statuses.gateways.values().next().unwrap().listeners.as_ref().unwrap()[0].conditions;
    let resolved = conditions.iter().find(|one| one.type_ == "ResolvedRefs").unwrap();
    for complaint in ["more than 16 entries", "more than 1024 certificates"] {
        assert!(resolved.message.contains(complaint), "{}", resolved.message);
    }
}
