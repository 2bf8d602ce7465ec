//! The objects of the benches, as their users would write them.

use std::net::SocketAddr;

use anyhow::bail;
use kube::api::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::{GATEWAY, NAMESPACE};

const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

pub(crate) fn resource(kind: &str) -> anyhow::Result<ApiResource> {
    let (group, version, plural) = match kind {
        "Namespace" => ("", "v1", "namespaces"),
        "Service" => ("", "v1", "services"),
        "Pod" => ("", "v1", "pods"),
        "ServiceAccount" => ("", "v1", "serviceaccounts"),
        "ConfigMap" => ("", "v1", "configmaps"),
        "EndpointSlice" => ("discovery.k8s.io", "v1", "endpointslices"),
        "GatewayClass" => ("gateway.networking.k8s.io", "v1", "gatewayclasses"),
        "Gateway" => ("gateway.networking.k8s.io", "v1", "gateways"),
        "HTTPRoute" => ("gateway.networking.k8s.io", "v1", "httproutes"),
        "GatewayParameters" => ("portcullis.dev", "v1alpha1", "gatewayparameters"),
        other => bail!("no bench uses {other}"),
    };
    Ok(ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural))
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

pub(crate) fn class(name: &str, controller: &str) -> Value {
    json!({ "apiVersion": GATEWAY_API, "kind": "GatewayClass", "metadata": { "name": name },
        "spec": { "controllerName": controller } })
}

/// For routes of every namespace. Without a load balancer: the Service's own address is the Gateway's.
pub(crate) fn gateway(class: &str, port: u16, parameters: bool) -> Value {
    let mut gateway = json!({ "apiVersion": GATEWAY_API, "kind": "Gateway",
        "metadata": { "name": GATEWAY, "namespace": NAMESPACE },
        "spec": { "gatewayClassName": class,
            "listeners": [{ "name": "in", "port": port, "protocol": "HTTP", "allowedRoutes": { "namespaces": { "from": "All" } } }] } });
    if parameters {
        let reference = json!({ "group": "portcullis.dev", "kind": "GatewayParameters", "name": GATEWAY });
        gateway["spec"]["infrastructure"] = json!({ "parametersRef": reference });
    }
    gateway
}

pub(crate) fn parameters() -> Value {
    json!({ "apiVersion": "portcullis.dev/v1alpha1", "kind": "GatewayParameters",
        "metadata": { "name": GATEWAY, "namespace": NAMESPACE }, "spec": { "service": { "type": "ClusterIP" } } })
}

/// A Service on port 80.
pub(crate) fn service(namespace: &str, name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 80 }] } })
}

/// Where the pods of a Service would be.
pub(crate) fn slice(namespace: &str, name: &str, endpoint: SocketAddr) -> Value {
    json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": name, "namespace": namespace, "labels": { "kubernetes.io/service-name": name } },
        "ports": [{ "name": "http", "port": endpoint.port() }],
        "endpoints": [{ "addresses": [endpoint.ip()], "conditions": { "ready": true } }] })
}

/// For one host: `/ready` to a Service, everything else to one that does not exist, so that half a route shows as 500 (gateway-api-bench).
pub(crate) fn route(namespace: &str, name: &str, service: &str) -> Value {
    json!({ "apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": { "name": name, "namespace": namespace },
        "spec": { "parentRefs": [{ "name": GATEWAY, "namespace": NAMESPACE }], "hostnames": [host(name)],
            "rules": [
                { "matches": [{ "path": { "type": "PathPrefix", "value": "/ready" } }],
                  "backendRefs": [{ "name": service, "port": 80 }] },
                { "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
                  "backendRefs": [{ "name": "missing", "port": 80 }] }] } })
}

pub(crate) fn host(route: &str) -> String {
    format!("{route}.example")
}

/// A request for a route's working half.
pub(crate) fn request(route: &str) -> String {
    format!("GET /ready HTTP/1.1\r\nHost: {}\r\n\r\n", host(route))
}
