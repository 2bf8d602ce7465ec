//! One Gateway `infra/gw` with listeners `web` and `other`, and a route `infra/shop` with rules `pay` and `look`.

use std::sync::Arc;

use portcullis_ir::{Auth, GatewayKey, Limits, Listener, ListenerKey, Snapshot};
use portcullis_translate::{Inputs, Memo, Object, ObjectRef, Output, Settings, translate};
use serde_json::Value;

const BASE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: portcullis}
spec: {controllerName: portcullis.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: infra, generation: 1}
spec:
  gatewayClassName: portcullis
  listeners: [{name: web, port: 80, protocol: HTTP}, {name: other, port: 81, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: infra, generation: 1}
spec:
  parentRefs: [{name: gw}]
  rules: [{name: pay, matches: [{path: {value: /pay}}]}, {name: look}]
";

/// The world of [`BASE`] and of the documents of `yaml`.
pub(crate) fn world(yaml: &str) -> Inputs {
    let mut inputs = Inputs::default();
    put(&mut inputs, BASE);
    put(&mut inputs, yaml);
    inputs
}

pub(crate) fn put(inputs: &mut Inputs, yaml: &str) {
    for document in yaml.split("---\n").filter(|document| !document.trim().is_empty()) {
        let value: Value = serde_norway::from_str(document).unwrap();
        inputs.insert(Object::parse(value).unwrap());
    }
}

pub(crate) fn fresh(inputs: &Inputs) -> Output {
    translate(inputs, &Settings::default(), &mut Memo::default())
}

/// A policy of ours. `head` are its metadata beside name and namespace, and a comma where there are any.
pub(crate) fn policy(kind: &str, name: &str, target: &str, spec: &str) -> String {
    aged(kind, name, "2026-01-01T00:00:00Z", target, spec)
}

pub(crate) fn aged(kind: &str, name: &str, created: &str, target: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: portcullis.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: infra, uid: uid-{name}, generation: 1, creationTimestamp: '{created}'}}\nspec: {{targetRefs: [{target}], {spec}}}\n"
    )
}

pub(crate) const GATEWAY: &str = "{kind: Gateway, name: gw}";
pub(crate) const WEB: &str = "{kind: Gateway, name: gw, sectionName: web}";
pub(crate) const ROUTE: &str = "{kind: HTTPRoute, name: shop}";
pub(crate) const PAY: &str = "{kind: HTTPRoute, name: shop, sectionName: pay}";

pub(crate) fn snapshot(output: &Output) -> &Snapshot {
    &output.snapshots[&GatewayKey::new("infra", "gw")]
}

fn listener<'o>(output: &'o Output, name: &str) -> &'o Arc<Listener> {
    &snapshot(output).config.listeners[&ListenerKey::new(GatewayKey::new("infra", "gw"), name)]
}

/// What counts at a rule of the route on a listener, as a data plane finds it.
pub(crate) fn limits(output: &Output, name: &str, rule: usize) -> Option<Arc<Limits>> {
    let route = snapshot(output).config.routes.values().nth(rule).unwrap();
    let attachment = route.attachments.iter().find(|one| &*one.listener.name == name).unwrap();
    attachment.limits.clone().or_else(|| listener(output, name).limits.clone())
}

pub(crate) fn auth(output: &Output, name: &str, rule: usize) -> Option<Arc<Auth>> {
    let route = snapshot(output).config.routes.values().nth(rule).unwrap();
    let attachment = route.attachments.iter().find(|one| &*one.listener.name == name).unwrap();
    attachment.auth.clone().or_else(|| listener(output, name).auth.clone())
}

/// `rule=policy` of all limits that count.
pub(crate) fn limits_of(output: &Output, name: &str, rule: usize) -> Vec<String> {
    let limits = limits(output, name, rule);
    limits.iter().flat_map(|limits| &limits.rules).map(|rule| format!("{}={}", rule.name, rule.origin.name)).collect()
}

/// The names of the methods that count, in their order.
pub(crate) fn methods_of(output: &Output, name: &str, rule: usize) -> Vec<String> {
    match auth(output, name, rule).as_deref() {
        Some(Auth::Enforce(policy)) => policy.methods.iter().map(|method| method.name.to_string()).collect(),
        Some(Auth::Broken(_)) => vec!["broken".to_owned()],
        None => Vec::new(),
    }
}

/// `Type=Status:Reason` of all conditions that are said of an object, and their messages.
pub(crate) fn said(output: &Output, object: &str) -> Vec<(String, String)> {
    let statuses = serde_json::to_value(&output.statuses).unwrap();
    let mut found = Vec::new();
    let (kind, name) = object.split_once(' ').unwrap();
    let section = match kind {
        "RateLimitPolicy" => "rateLimitPolicies",
        "AuthPolicy" => "authPolicies",
        "Gateway" => "gateways",
        _ => "routes",
    };
    let key = if section == "routes" { object } else { name };
    collect(&statuses[section][key], &mut found);
    found
}

fn collect(value: &Value, into: &mut Vec<(String, String)>) {
    if let Value::Object(fields) = value {
        if let (Some(kind), Some(status)) = (fields.get("type"), fields.get("status")) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let reason = text(&fields["reason"]);
            into.push((format!("{}={}:{reason}", text(kind), text(status)), text(&fields["message"])));
        } else {
            fields.iter().filter(|(key, _)| *key != "listeners").for_each(|(_, value)| collect(value, into));
        }
    }
    if let Value::Array(list) = value {
        list.iter().for_each(|value| collect(value, into));
    }
}

/// Whether a condition is said of an object, with words in its message.
pub(crate) fn says(output: &Output, object: &str, condition: &str, words: &str) {
    let said = said(output, object);
    let found = said.iter().any(|(one, message)| one == condition && message.contains(words));
    assert!(found, "{object}: no {condition} with {words:?} in {said:#?}");
}

/// The objects of our kinds by reference, for laws over all of them.
pub(crate) fn references(inputs: &Inputs) -> Vec<ObjectRef> {
    use portcullis_translate::Kind;
    [Kind::RateLimitPolicy, Kind::AuthPolicy].into_iter().flat_map(|kind| inputs.references(kind)).collect()
}
