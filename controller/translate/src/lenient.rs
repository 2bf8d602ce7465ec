//! Values that a later version of Gateway API may add. They are marked before an object is read, so that they degrade
//! what they stand in and not all of the object.
//!
//! "Note that values may be added to this enum, implementations must ensure that unknown values will not cause a crash"
//! (`HTTPRouteFilter.type`).

use gateway_api::experimental::grpcroutes::{GrpcRouteRulesBackendRefsFiltersType, GrpcRouteRulesFiltersType};
use gateway_api::experimental::httproutes::{HttpRouteRulesBackendRefsFiltersType, HttpRouteRulesFiltersType};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Kind;

/// The group of an `extensionRef` that stands for a filter of an unknown type, which is then its kind. No API server
/// lets a group with blanks pass.
pub(crate) const UNKNOWN_FILTER: &str = "a type of filter";
/// The option of a BackendTLSPolicy that did not parse, with the reason as its value. No API server lets an option with
/// blanks pass.
pub(crate) const UNREADABLE: &str = "does not parse";

/// Marks what would keep an object from being read.
pub(crate) fn mark(kind: Kind, value: &mut Value) {
    match kind {
        Kind::HttpRoute => {
            mark_filters::<HttpRouteRulesFiltersType, HttpRouteRulesBackendRefsFiltersType>(value);
        }
        Kind::GrpcRoute => {
            mark_filters::<GrpcRouteRulesFiltersType, GrpcRouteRulesBackendRefsFiltersType>(value);
        }
        _ => {}
    }
}

/// What is left of an object that does not parse, where forgetting it would open what it closes: a BackendTLSPolicy
/// still has targets, and nothing may reach them in plain text.
pub(crate) fn remains(kind: Kind, value: &Value, why: &str) -> Option<Value> {
    if kind != Kind::BackendTlsPolicy {
        return None;
    }
    let mut remains = json!({
        "spec": {
            "targetRefs": value["spec"]["targetRefs"],
            "validation": { "hostname": "" },
            "options": { UNREADABLE: why },
        },
    });
    for field in ["apiVersion", "kind", "metadata", "status"] {
        if !value[field].is_null() {
            remains[field] = value[field].clone();
        }
    }
    Some(remains)
}

fn mark_filters<R: DeserializeOwned, B: DeserializeOwned>(route: &mut Value) {
    let Some(spec) = route.get_mut("spec") else { return };
    for rule in list(spec, "rules") {
        list(rule, "filters").for_each(mark_filter::<R>);
        for reference in list(rule, "backendRefs") {
            list(reference, "filters").for_each(mark_filter::<B>);
        }
    }
}

fn mark_filter<T: DeserializeOwned>(filter: &mut Value) {
    let written = filter.get("type").filter(|written| T::deserialize(*written).is_err());
    if let Some(unknown) = written.and_then(Value::as_str).map(str::to_owned) {
        *filter = json!({
            "type": "ExtensionRef",
            "extensionRef": { "group": UNKNOWN_FILTER, "kind": unknown, "name": "" },
        });
    }
}

/// The entries of a field that is a list; anything else is left to the parser.
fn list<'v>(value: &'v mut Value, field: &str) -> impl Iterator<Item = &'v mut Value> + use<'v> {
    value.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{InvalidObject, Object};

    use super::*;

    fn route(kind: &str, spec: &Value) -> Value {
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": { "name": "r" }, "spec": spec })
    }

    #[test]
    fn a_filter_of_an_unknown_type_keeps_neither_kind_of_route_from_being_read() {
        let known = json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": {} });
        let unknown = json!({ "type": "Teleport", "teleport": { "to": "mars" } });
        let rules = json!({ "rules": [{ "filters": [known, unknown] },
            { "backendRefs": [{ "name": "a", "filters": [unknown] }] }] });
        let marked = (Some(UNKNOWN_FILTER.to_owned()), Some("Teleport".to_owned()));
        let Ok(Object::HttpRoute(http)) = Object::parse(route("HTTPRoute", &rules)) else { panic!() };
        let rules_of = http.spec.rules.as_ref().unwrap();
        let own = rules_of[0].filters.as_ref().unwrap();
        assert!(own[0].extension_ref.is_none());
        let mark = own[1].extension_ref.clone().map(|one| (one.group, one.kind)).unzip();
        assert_eq!(mark, marked);
        let of_backend = &rules_of[1].backend_refs.as_ref().unwrap()[0].filters.as_ref().unwrap()[0];
        assert_eq!(of_backend.extension_ref.clone().map(|one| (one.group, one.kind)).unzip(), marked);
        let Ok(Object::GrpcRoute(grpc)) = Object::parse(route("GRPCRoute", &rules)) else { panic!() };
        let own = grpc.spec.rules.as_ref().unwrap()[0].filters.as_ref().unwrap();
        assert_eq!(own[1].extension_ref.clone().map(|one| (one.group, one.kind)).unzip(), marked);
        // What HTTP has and gRPC has not is as unknown there.
        let cors = json!({ "rules": [{ "filters": [{ "type": "CORS", "cors": {} }] }] });
        assert!(Object::parse(route("GRPCRoute", &cors)).is_ok());
    }

    #[test]
    fn other_mistakes_are_left_to_the_parser() {
        for spec in [
            json!("x"),
            json!({ "rules": "x" }),
            json!({ "rules": ["x"] }),
            json!({ "rules": [{ "filters": ["x"] }] }),
            json!({ "rules": [{ "filters": [{ "type": 5 }] }] }),
            json!({ "rules": [{ "backendRefs": [{ "filters": [{}] }] }] }),
        ] {
            let error = Object::parse(route("HTTPRoute", &spec)).unwrap_err();
            assert!(matches!(error, InvalidObject::Malformed { .. }), "{spec}");
        }
    }

    #[test]
    fn a_tls_policy_that_does_not_parse_keeps_its_targets() {
        let targets = json!([{ "group": "", "kind": "Service", "name": "s" }]);
        let broken = json!({ "targetRefs": targets, "validation": { "hostname": 5 } });
        let Ok(Object::BackendTlsPolicy(policy)) = Object::parse(route("BackendTLSPolicy", &broken)) else { panic!() };
        assert_eq!(policy.spec.target_refs[0].name, "s");
        assert!(policy.spec.options.as_ref().unwrap()[UNREADABLE].contains("string"));
        let without = json!({ "targetRefs": 5, "validation": { "hostname": "a.b" } });
        assert!(Object::parse(route("BackendTLSPolicy", &without)).is_err());
    }
}
