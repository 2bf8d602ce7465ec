//! The kinds that are read, and where their schemas come from: the CRDs of the Gateway API (`cli/schemas`, see its
//! README), our own CRDs, and `core.yaml` for what Kubernetes itself brings.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use kube::core::crd::CustomResourceExt;
use portcullis_translate::Kind;

use super::{Schema, nearest};
use crate::yaml::compose;

/// What an `apiVersion` and a `kind` come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    Known(Kind),
    /// Ours to read, but not as this; `kind` is what was meant, if that is known.
    Refused {
        kind: Option<Kind>,
        message: String,
        fix: String,
    },
    /// Nobody who runs a gateway from files would miss it: a Deployment, say.
    Foreign,
}

const GATEWAY_API: &str = "gateway.networking.k8s.io";
const GATEWAY_API_EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";

struct Row {
    kind: Kind,
    group: &'static str,
    versions: &'static [&'static str],
    namespaced: bool,
}

const fn row(kind: Kind, group: &'static str, versions: &'static [&'static str], namespaced: bool) -> Row {
    Row { kind, group, versions, namespaced }
}

const ROWS: [Row; 21] = [
    row(Kind::GatewayClass, GATEWAY_API, &["v1", "v1beta1"], false),
    row(Kind::Gateway, GATEWAY_API, &["v1", "v1beta1"], true),
    row(Kind::HttpRoute, GATEWAY_API, &["v1", "v1beta1"], true),
    row(Kind::GrpcRoute, GATEWAY_API, &["v1"], true),
    row(Kind::TlsRoute, GATEWAY_API, &["v1"], true),
    row(Kind::TcpRoute, GATEWAY_API, &["v1"], true),
    row(Kind::UdpRoute, GATEWAY_API, &["v1"], true),
    row(Kind::ListenerSet, GATEWAY_API, &["v1"], true),
    row(Kind::BackendTlsPolicy, GATEWAY_API, &["v1"], true),
    row(Kind::ReferenceGrant, GATEWAY_API, &["v1", "v1beta1"], true),
    row(Kind::Namespace, "", &["v1"], false),
    row(Kind::Service, "", &["v1"], true),
    row(Kind::EndpointSlice, "discovery.k8s.io", &["v1"], true),
    row(Kind::Secret, "", &["v1"], true),
    row(Kind::ConfigMap, "", &["v1"], true),
    row(Kind::GatewayParameters, portcullis_crds::GROUP, &["v1alpha1"], true),
    row(Kind::Backend, portcullis_crds::GROUP, &["v1alpha1"], true),
    row(Kind::RateLimitPolicy, portcullis_crds::GROUP, &["v1alpha1"], true),
    row(Kind::AuthPolicy, portcullis_crds::GROUP, &["v1alpha1"], true),
    row(Kind::XBackend, GATEWAY_API_EXPERIMENTAL, &["v1alpha1"], true),
    row(Kind::ClusterTrustBundle, "certificates.k8s.io", &["v1", "v1beta1", "v1alpha1"], false),
];

/// Kinds of the Gateway API that exist, but that are not served yet.
const NOT_YET: [&str; 5] = ["BackendLBPolicy", "XBackendTrafficPolicy", "XListenerSet", "XMesh", "XTelemetryPolicy"];

/// Finds the kind that a document declares itself to be.
pub fn lookup(api_version: &str, kind: &str) -> Lookup {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if let Some(row) = ROWS.iter().find(|row| row.kind.as_str() == kind) {
        if row.group == group && row.versions.contains(&version) {
            return Lookup::Known(row.kind);
        }
        let right: Vec<String> = row.versions.iter().map(|version| joined(row.group, version)).collect();
        // Another group's Gateway or Service (istio, knative) is not ours to judge.
        let slip = nearest(api_version, right.iter().map(String::as_str)).is_some();
        if row.group == group || slip || ROWS.iter().any(|row| row.group == group) || api_version.is_empty() {
            return Lookup::Refused {
                kind: Some(row.kind),
                message: format!("kind {kind} is not served as apiVersion `{api_version}`"),
                fix: format!("write `apiVersion: {}`", right[0]),
            };
        }
        return Lookup::Foreign;
    }
    let gateway_api = group == GATEWAY_API || group.ends_with(".x-k8s.io");
    if gateway_api && NOT_YET.contains(&kind) {
        return Lookup::Refused {
            kind: None,
            message: format!("kind {kind} is not supported yet"),
            fix: "remove it: nothing would honour it".into(),
        };
    }
    let ours = ROWS.iter().filter(|row| row.group == group && (!group.is_empty() || version == "v1"));
    let message = format!("unknown kind `{kind}`");
    match nearest(kind, ours.map(|row| row.kind.as_str())) {
        Some(meant) => Lookup::Refused {
            kind: ROWS.iter().find(|row| row.kind.as_str() == meant).map(|row| row.kind),
            message,
            fix: format!("did you mean `{meant}`?"),
        },
        None if gateway_api || group == portcullis_crds::GROUP => {
            let names: Vec<&str> = ROWS.iter().filter(|row| row.group == group).map(|row| row.kind.as_str()).collect();
            Lookup::Refused { kind: None, message, fix: format!("use one of {}", names.join(", ")) }
        }
        None => Lookup::Foreign,
    }
}

fn joined(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Every kind that is read.
pub fn kinds() -> impl Iterator<Item = Kind> {
    ROWS.iter().map(|row| row.kind)
}

/// The newest version that is read; objects are held as this one.
pub fn api_version(kind: Kind) -> String {
    joined(row_of(kind).group, row_of(kind).versions[0])
}

pub fn is_namespaced(kind: Kind) -> bool {
    row_of(kind).namespaced
}

/// The schema of a kind, metadata included.
pub fn schema_of(kind: Kind) -> Option<&'static Schema> {
    SCHEMAS.get(&kind)
}

fn row_of(kind: Kind) -> &'static Row {
    // Every kind has a row, which a test holds; the first one is never reached.
    ROWS.iter().find(|row| row.kind == kind).unwrap_or(&ROWS[0])
}

/// A schema that does not parse is left out, and a test says so; its objects would be typed by serde alone.
static SCHEMAS: LazyLock<BTreeMap<Kind, Schema>> =
    LazyLock::new(|| kinds().filter_map(|kind| Some((kind, source(kind).and_then(complete)?))).collect());

fn source(kind: Kind) -> Option<serde_json::Value> {
    let vendored = |text: &str| serde_json::from_str(text).ok();
    match kind {
        Kind::GatewayClass => vendored(include_str!("../../schemas/gatewayclasses.json")),
        Kind::Gateway => vendored(include_str!("../../schemas/gateways.json")),
        Kind::HttpRoute => vendored(include_str!("../../schemas/httproutes.json")),
        Kind::GrpcRoute => vendored(include_str!("../../schemas/grpcroutes.json")),
        Kind::TlsRoute => vendored(include_str!("../../schemas/tlsroutes.json")),
        Kind::TcpRoute => vendored(include_str!("../../schemas/tcproutes.json")),
        Kind::UdpRoute => vendored(include_str!("../../schemas/udproutes.json")),
        Kind::ListenerSet => vendored(include_str!("../../schemas/listenersets.json")),
        Kind::BackendTlsPolicy => vendored(include_str!("../../schemas/backendtlspolicies.json")),
        Kind::ReferenceGrant => vendored(include_str!("../../schemas/referencegrants.json")),
        Kind::XBackend => vendored(include_str!("../../schemas/xbackends.json")),
        Kind::GatewayParameters => ours(&portcullis_crds::GatewayParameters::crd()),
        Kind::Backend => ours(&portcullis_crds::Backend::crd()),
        Kind::RateLimitPolicy => ours(&portcullis_crds::RateLimitPolicy::crd()),
        Kind::AuthPolicy => ours(&portcullis_crds::AuthPolicy::crd()),
        Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::ClusterTrustBundle => core(kind.as_str()),
    }
}

fn ours(
    crd: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
) -> Option<serde_json::Value> {
    let schema = crd.spec.versions.first()?.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    serde_json::to_value(schema).ok()
}

fn core(name: &str) -> Option<serde_json::Value> {
    compose(include_str!("../../schemas/core.yaml")).root?.get(name).map(crate::yaml::Node::to_json)
}

/// A CRD says nothing about `apiVersion`, `kind` and `metadata`, because the API server knows; here we do.
fn complete(mut schema: serde_json::Value) -> Option<Schema> {
    let properties = schema.get_mut("properties")?.as_object_mut()?;
    properties.insert("apiVersion".into(), serde_json::json!({ "type": "string" }));
    properties.insert("kind".into(), serde_json::json!({ "type": "string" }));
    properties.insert("metadata".into(), core("metadata")?);
    // Not ours to read: it is written by controllers, and a file from `kubectl get -o yaml` brings it along.
    properties.remove("status");
    serde_json::from_value(schema).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_kind_has_a_schema_whose_patterns_and_rules_compile() {
        fn visit(schema: &Schema, seen: &mut (usize, usize)) {
            if let Some(pattern) = &schema.pattern {
                assert!(pattern.matches("").is_some(), "{}", pattern.as_str());
                seen.0 += 1;
            }
            for rule in &schema.rules {
                let outcome = rule.holds(&cel::Value::Null);
                assert!(!outcome.as_ref().is_err_and(|error| error.contains("compile")), "{rule:?}");
                seen.1 += 1;
            }
            let parts = schema.properties.values().chain(schema.items.as_deref());
            parts.chain(schema.additional_properties.as_deref()).for_each(|part| visit(part, seen));
        }
        let mut seen = (0, 0);
        for kind in kinds() {
            assert_eq!(row_of(kind).kind, kind);
            visit(schema_of(kind).unwrap_or_else(|| panic!("{kind}")), &mut seen);
        }
        assert!(seen.0 > 50 && seen.1 > 100, "{seen:?}");
    }

    #[test]
    fn wrong_versions_and_misspelt_kinds_are_told_from_foreign_ones() {
        assert_eq!(lookup("gateway.networking.k8s.io/v1", "HTTPRoute"), Lookup::Known(Kind::HttpRoute));
        assert_eq!(lookup("v1", "Service"), Lookup::Known(Kind::Service));
        for (version, kind, fix) in [
            ("gateway.networking.k8s.io/v1alpha2", "HTTPRoute", "write `apiVersion: gateway.networking.k8s.io/v1`"),
            ("gateway.networking.k8s.io/v1", "HttpRoute", "did you mean `HTTPRoute`?"),
            ("gateway.network.k8s.io/v1", "Gateway", "write `apiVersion: gateway.networking.k8s.io/v1`"),
            ("v1", "Gateway", "write `apiVersion: gateway.networking.k8s.io/v1`"),
            ("v1", "EndpointSlice", "write `apiVersion: discovery.k8s.io/v1`"),
            ("v1", "Secrets", "did you mean `Secret`?"),
            ("portcullis.dev/v1alpha1", "Nope", "use one of GatewayParameters, Backend, RateLimitPolicy, AuthPolicy"),
            ("gateway.networking.x-k8s.io/v1alpha1", "XMesh", "remove it: nothing would honour it"),
            ("gateway.networking.k8s.io/v1", "XBackend", "write `apiVersion: gateway.networking.x-k8s.io/v1alpha1`"),
        ] {
            match lookup(version, kind) {
                Lookup::Refused { fix: found, .. } => assert_eq!(found, fix, "{version} {kind}"),
                other => panic!("{version} {kind}: {other:?}"),
            }
        }
        for (version, kind) in [
            ("apps/v1", "Deployment"),
            ("networking.istio.io/v1", "Gateway"),
            ("serving.knative.dev/v1", "Service"),
            ("v1", "Pod"),
        ] {
            assert_eq!(lookup(version, kind), Lookup::Foreign, "{version} {kind}");
        }
    }
}
