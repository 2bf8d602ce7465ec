//! gateway-api-bench's world, and around it one of what else routes rest on. `turn` makes an edited object differ from what it was before.

use serde_json::{Value, json};

const NAMESPACES: usize = 50;

pub(crate) fn space(number: usize) -> String {
    format!("ns-{}", number % NAMESPACES)
}

pub(crate) fn app(number: usize) -> String {
    format!("app-{number}")
}

pub(crate) fn class() -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "c", "generation": 1 },
        "spec": { "controllerName": portcullis_translate::CONTROLLER_NAME } })
}

/// Every turn has a second listener with another name, which all routes are asked about anew.
pub(crate) fn gateway(turn: usize) -> Value {
    let all = json!({ "namespaces": { "from": "All" } });
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "name": "gw", "namespace": "bench", "generation": turn + 1 },
        "spec": { "gatewayClassName": "c", "listeners": [
            { "name": "in", "port": 80, "protocol": "HTTP", "allowedRoutes": all },
            { "name": "other", "port": 81, "protocol": "HTTP", "hostname": format!("turn-{turn}.other.example"), "allowedRoutes": all }] } })
}

pub(crate) fn namespace(number: usize, turn: usize) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": space(number), "labels": { "turn": turn.to_string() } } })
}

pub(crate) fn service(number: usize) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": app(number), "namespace": space(number) },
        "spec": { "ports": [{ "name": "http", "port": 80 }] } })
}

pub(crate) fn slice(number: usize, turn: usize) -> Value {
    json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": app(number), "namespace": space(number), "labels": { "kubernetes.io/service-name": app(number) } },
        "ports": [{ "name": "http", "port": 8080 }], "endpoints": [{ "addresses": [format!("10.0.{}.1", turn % 250)] }] })
}

pub(crate) fn route(number: usize, turn: usize) -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": app(number), "namespace": space(number), "generation": turn + 1 },
        "spec": { "parentRefs": [{ "name": "gw", "namespace": "bench" }], "hostnames": [format!("{}.example", app(number))],
            "rules": [
                { "matches": [{ "path": { "type": "PathPrefix", "value": format!("/turn-{turn}") } }],
                  "backendRefs": [{ "name": app(number), "port": 80 }] },
                { "backendRefs": [{ "name": "missing", "port": 80 }] }] } })
}

/// From a namespace that has no route, as most grants are of no interest to most routes.
pub(crate) fn grant(turn: usize) -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ReferenceGrant",
        "metadata": { "name": "some", "namespace": "elsewhere", "generation": turn + 1 },
        "spec": { "from": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": format!("turn-{turn}") }],
            "to": [{ "group": "", "kind": "Service" }] } })
}

pub(crate) fn secret(turn: usize) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "some", "namespace": "elsewhere" },
        "stringData": { "turn": turn.to_string() } })
}

pub(crate) fn config_map(turn: usize) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "some", "namespace": "elsewhere" },
        "data": { "turn": turn.to_string() } })
}

pub(crate) fn gateway_policy(turn: usize) -> Value {
    rate_limit("bench", "gw", &json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw" }), turn)
}

pub(crate) fn route_policy(number: usize, turn: usize) -> Value {
    let target = json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": app(number) });
    rate_limit(&space(number), &app(number), &target, turn)
}

fn rate_limit(namespace: &str, name: &str, target: &Value, turn: usize) -> Value {
    json!({ "apiVersion": "portcullis.dev/v1alpha1", "kind": "RateLimitPolicy",
        "metadata": { "name": name, "namespace": namespace, "generation": turn + 1 },
        "spec": { "targetRefs": [target], "rules": [{ "name": "all", "key": [{ "type": "ClientIP" }],
            "limits": [{ "requests": 1000 + turn, "window": "1s" }] }] } })
}
