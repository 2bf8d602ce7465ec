//! Objects that tests apply, and how their statuses are read.

use kube::api::{ApiResource, GroupVersionKind};
use serde_json::Value;

pub(crate) const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: CLASS
  listeners:
  - {name: http, port: 80, protocol: HTTP}
";

pub(crate) const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.0.7], conditions: {ready: true}}]
";

pub(crate) fn class(name: &str, controller_name: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {{name: {name}}}, spec: {{controllerName: {controller_name}}}}}"
    )
}

pub(crate) fn route(name: &str, path: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: gw}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: {path}}}}}]
    backendRefs: [{{name: web, port: 80}}]
"
    )
}

pub(crate) fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "GatewayClass" => ("gateway.networking.k8s.io", "v1", "gatewayclasses"),
        "Gateway" => ("gateway.networking.k8s.io", "v1", "gateways"),
        "HTTPRoute" => ("gateway.networking.k8s.io", "v1", "httproutes"),
        "GRPCRoute" => ("gateway.networking.k8s.io", "v1", "grpcroutes"),
        "TLSRoute" => ("gateway.networking.k8s.io", "v1", "tlsroutes"),
        "TCPRoute" => ("gateway.networking.k8s.io", "v1", "tcproutes"),
        "UDPRoute" => ("gateway.networking.k8s.io", "v1", "udproutes"),
        "ReferenceGrant" => ("gateway.networking.k8s.io", "v1", "referencegrants"),
        "Backend" => ("portcullis.dev", "v1alpha1", "backends"),
        "RateLimitPolicy" => ("portcullis.dev", "v1alpha1", "ratelimitpolicies"),
        "AuthPolicy" => ("portcullis.dev", "v1alpha1", "authpolicies"),
        "Event" => ("events.k8s.io", "v1", "events"),
        "XBackend" => ("gateway.networking.x-k8s.io", "v1alpha1", "xbackends"),
        "GatewayParameters" => ("portcullis.dev", "v1alpha1", "gatewayparameters"),
        "Deployment" => ("apps", "v1", "deployments"),
        "PodDisruptionBudget" => ("policy", "v1", "poddisruptionbudgets"),
        "HorizontalPodAutoscaler" => ("autoscaling", "v2", "horizontalpodautoscalers"),
        "EndpointSlice" => ("discovery.k8s.io", "v1", "endpointslices"),
        "Lease" => ("coordination.k8s.io", "v1", "leases"),
        "ConfigMap" => ("", "v1", "configmaps"),
        "Secret" => ("", "v1", "secrets"),
        "Service" => ("", "v1", "services"),
        "ServiceAccount" => ("", "v1", "serviceaccounts"),
        other => panic!("no test uses {other} yet: add it here"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// The conditions of an object: its own, a listener's, or those of each parent or ancestor of ours for a route or policy.
pub(crate) fn conditions(object: &Value, listener: &str, controller_name: &str) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let status = &object["status"];
    if object["kind"].as_str().is_some_and(|kind| kind.ends_with("Route")) {
        let ours = list(&status["parents"]).into_iter().filter(|parent| parent["controllerName"] == controller_name);
        return ours.flat_map(|parent| list(&parent["conditions"])).collect();
    }
    if object["kind"].as_str().is_some_and(|kind| kind.ends_with("Policy")) {
        let ours = list(&status["ancestors"]).into_iter().filter(|one| one["controllerName"] == controller_name);
        return ours.flat_map(|one| list(&one["conditions"])).collect();
    }
    if listener.is_empty() {
        return list(&status["conditions"]);
    }
    let named = list(&status["listeners"]).into_iter().find(|one| one["name"] == listener);
    named.map(|one| list(&one["conditions"])).unwrap_or_default()
}

/// Whether a condition is `Type=Status` or `Type=Status:Reason`, and of the object's newest generation.
pub(crate) fn is(condition: &Value, object: &Value, expected: &str) -> bool {
    let (state, reason) = expected.split_once(':').map_or((expected, None), |(state, reason)| (state, Some(reason)));
    let (kind, status) = state.split_once('=').expect("Type=Status");
    condition["type"] == kind
        && condition["status"] == status
        && reason.is_none_or(|reason| condition["reason"] == reason)
        && condition["observedGeneration"] == object["metadata"]["generation"]
}
