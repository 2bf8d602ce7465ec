//! Values that a later version of Gateway API may add. They are marked before an object is read, so that they degrade
//! what they stand in and not all of the object.
//!
//! "Note that values may be added to this enum, implementations must ensure that unknown values will not cause a crash"
//! (`HTTPRouteFilter.type`).

use gateway_api::experimental::grpcroutes::{GrpcRouteRulesBackendRefsFiltersType, GrpcRouteRulesFiltersType};
use gateway_api::experimental::httproutes::{HttpRouteRulesBackendRefsFiltersType, HttpRouteRulesFiltersType};
use portcullis_crds::MergeStrategy;
use portcullis_crds::policy::PolicyTargetRef;
use portcullis_crds::with_routability;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Kind;

/// The group of an `extensionRef` that stands for a filter of an unknown type, which is then its kind. No API server
/// lets a group with blanks pass.
pub(crate) const UNKNOWN_FILTER: &str = "a type of filter";
/// The option of a BackendTLSPolicy, and the annotation of our own policies, that did not parse, with the reason as its
/// value. No API server lets a key with blanks pass.
pub(crate) const UNREADABLE: &str = "does not parse";

/// What stands between the protocol of a listener that has filters and those, as JSON. No protocol has a blank in its name.
const WITH_FILTERS: &str = " with filters ";
/// What stands between the name of a session's cookie and its path. No name of a cookie has one.
pub(crate) const PATH: char = ';';

/// Marks what would keep an object from being read.
pub(crate) fn mark(kind: Kind, value: &mut Value) {
    match kind {
        Kind::HttpRoute => {
            mark_filters::<HttpRouteRulesFiltersType, HttpRouteRulesBackendRefsFiltersType>(value);
        }
        Kind::GrpcRoute => {
            mark_filters::<GrpcRouteRulesFiltersType, GrpcRouteRulesBackendRefsFiltersType>(value);
        }
        Kind::Gateway | Kind::ListenerSet => {
            mark_listeners(value);
        }
        _ => {}
    }
    if matches!(kind, Kind::HttpRoute | Kind::GrpcRoute) {
        rename_sessions(value);
    }
}

/// What the types of a Gateway have no field for goes where it is found again. Left out it would open what it closes:
/// `filters` of a listener (GEP-5224), and `routability` of an address (GEP-5093).
fn mark_listeners(object: &mut Value) {
    if let Some(status) = object.get_mut("status") {
        list(status, "addresses").for_each(|address| mark_address(address, true));
    }
    let Some(spec) = object.get_mut("spec") else { return };
    for listener in list(spec, "listeners") {
        let asked = listener["filters"].as_object().is_some_and(|lists| lists.values().any(asks));
        if asked && let Some(protocol) = listener["protocol"].as_str().map(str::to_owned) {
            listener["protocol"] = format!("{protocol}{WITH_FILTERS}{}", listener["filters"]).into();
        }
    }
    list(spec, "addresses").for_each(|address| mark_address(address, false));
}

/// Whether a list of filters asks for anything, or for what is no list.
pub(crate) fn asks(filters: &Value) -> bool {
    filters.as_array().is_none_or(|filters| !filters.is_empty())
}

/// The protocol of a listener, and its filters if it has any.
pub(crate) fn protocol(marked: &str) -> (&str, Option<&str>) {
    match marked.split_once(WITH_FILTERS) {
        Some((protocol, filters)) => (protocol, Some(filters)),
        None => (marked, None),
    }
}

/// `reported`: nothing is something else than an empty text.
fn mark_address(address: &mut Value, reported: bool) {
    if let Some(routability) = address["routability"].as_str().filter(|one| reported || !one.is_empty()) {
        address["type"] = with_routability(address["type"].as_str(), routability).into();
    }
}

/// The fields of a rule's `sessionPersistence` that 1.7 has renamed, by their former names. A path goes along with the
/// name: nothing else of 1.6 has room for it.
fn rename_sessions(route: &mut Value) {
    let Some(spec) = route.get_mut("spec") else { return };
    for rule in list(spec, "rules") {
        let Some(session) = rule.get_mut("sessionPersistence").and_then(Value::as_object_mut) else { continue };
        let header = session.remove("header").map(|header| header["name"].clone());
        let mut name = header.and_then(|name| name.as_str().map(str::to_owned));
        if let Some(cookie) = session.remove("cookie") {
            let path = cookie["path"].as_str().unwrap_or("/");
            name = Some(format!("{}{PATH}{path}", cookie["name"].as_str().unwrap_or_default()));
            session.insert("cookieConfig".to_owned(), json!({ "lifetimeType": cookie["lifetimeType"] }));
        }
        if let Some(name) = name {
            session.insert("sessionName".to_owned(), name.into());
        }
    }
}

/// Whether forgetting an object of this kind that does not parse would open what it closes, or leave its author without
/// a word.
pub(crate) fn leaves_remains(kind: Kind) -> bool {
    matches!(kind, Kind::BackendTlsPolicy | Kind::RateLimitPolicy | Kind::AuthPolicy)
}

/// What is left of an object that does not parse: a BackendTLSPolicy still has targets, and nothing may reach them in
/// plain text; an AuthPolicy still has targets, and nobody may reach them unasked.
pub(crate) fn remains(kind: Kind, value: &Value, why: &str) -> Option<Value> {
    match kind {
        Kind::BackendTlsPolicy => Some(remains_of_tls_policy(value, why)),
        Kind::RateLimitPolicy | Kind::AuthPolicy => remains_of_policy(kind, value, why),
        _ => None,
    }
}

/// The targets that can be read, and the reason as an annotation. A strategy that cannot be read is taken for the
/// strictest: what was meant to be an override must not become a default.
fn remains_of_policy(kind: Kind, value: &Value, why: &str) -> Option<Value> {
    let spec = &value["spec"];
    let targets: Vec<&Value> = (spec["targetRefs"].as_array().into_iter().flatten())
        .filter(|target| PolicyTargetRef::deserialize(*target).is_ok())
        .collect();
    if targets.is_empty() {
        return None;
    }
    let strategy = match &spec["strategy"] {
        Value::Null => json!("AtomicDefaults"),
        given if MergeStrategy::deserialize(given).is_ok() => given.clone(),
        _ => json!("AtomicOverrides"),
    };
    let mut remains = json!({ "spec": { "targetRefs": targets, "strategy": strategy } });
    if kind == Kind::RateLimitPolicy {
        remains["spec"]["rules"] = json!([]);
    }
    for field in ["apiVersion", "kind", "metadata", "status"] {
        if !value[field].is_null() {
            remains[field] = value[field].clone();
        }
    }
    let metadata = remains["metadata"].as_object_mut()?;
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    annotations.as_object_mut()?.insert(UNREADABLE.to_owned(), json!(why));
    Some(remains)
}

fn remains_of_tls_policy(value: &Value, why: &str) -> Value {
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
    remains
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
    fn what_a_listener_or_an_address_asks_for_and_its_type_has_no_field_for_is_not_forgotten() {
        let filters = json!({ "requests": [{ "type": "ExternalAuth" }] });
        let listener = |filters: &Value| json!({ "name": "a", "port": 80, "protocol": "HTTP", "filters": filters });
        let spec = json!({ "gatewayClassName": "c", "listeners": [listener(&filters), listener(&json!({ "requests": [] }))],
            "addresses": [{ "routability": "Cluster" }, { "type": "IPAddress", "routability": "" }] });
        let Ok(Object::Gateway(gateway)) = Object::parse(route("Gateway", &spec)) else { panic!() };
        let protocols = gateway.spec.listeners.iter().map(|one| protocol(&one.protocol));
        let kept = filters.to_string();
        assert_eq!(protocols.collect::<Vec<_>>(), [("HTTP", Some(&*kept)), ("HTTP", None)]);
        let addresses = gateway.spec.addresses.as_ref().unwrap();
        assert_eq!(addresses[0].r#type.as_deref(), Some("IPAddress of routability Cluster"));
        assert_eq!(addresses[1].r#type.as_deref(), Some("IPAddress"));
        let spec = json!({ "parentRef": { "name": "g" }, "listeners": [listener(&filters)] });
        let Ok(Object::ListenerSet(set)) = Object::parse(route("ListenerSet", &spec)) else { panic!() };
        assert_eq!(protocol(&set.spec.listeners[0].protocol), ("HTTP", Some(&*kept)));
    }

    #[test]
    fn sessions_are_read_in_the_words_of_either_release() {
        for (session, name, permanent) in [
            (json!({ "sessionName": "a" }), Some("a"), None),
            (json!({ "cookie": { "name": "a", "path": "/b", "lifetimeType": "Permanent" } }), Some("a;/b"), Some(true)),
            (json!({ "cookie": {} }), Some(";/"), Some(false)),
            (json!({ "type": "Header", "header": { "name": "X-A" } }), Some("X-A"), None),
            (json!({}), None, None),
        ] {
            let rules = json!({ "rules": [{ "sessionPersistence": session }] });
            let Ok(Object::HttpRoute(http)) = Object::parse(route("HTTPRoute", &rules)) else { panic!("{session}") };
            let read = http.spec.rules.as_ref().unwrap()[0].session_persistence.clone().unwrap();
            assert_eq!(read.session_name.as_deref(), name, "{session}");
            let config = read.cookie_config.map(|one| one.lifetime_type.is_some());
            assert_eq!(config, permanent, "{session}");
        }
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

    #[test]
    fn a_policy_that_does_not_parse_keeps_its_targets_and_the_strictest_strategy_that_it_may_have_meant() {
        let policy = |spec: &Value| {
            let mut object = route("AuthPolicy", spec);
            object["apiVersion"] = json!("portcullis.dev/v1alpha1");
            Object::parse(object)
        };
        let targets = json!([{ "kind": "Gateway", "name": "g" }, { "kind": 5 }]);
        for (strategy, read) in [
            (json!(null), MergeStrategy::AtomicDefaults),
            (json!("PatchOverrides"), MergeStrategy::PatchOverrides),
            (json!("PatchOverrdes"), MergeStrategy::AtomicOverrides),
        ] {
            let broken = json!({ "targetRefs": targets, "strategy": strategy, "authentication": "yes" });
            let Ok(Object::AuthPolicy(policy)) = policy(&broken) else { panic!("{strategy}") };
            assert_eq!(policy.spec.target_refs.len(), 1);
            assert_eq!(policy.spec.strategy, read);
            assert!(policy.metadata.annotations.as_ref().unwrap().contains_key(UNREADABLE));
        }
        assert!(policy(&json!({ "targetRefs": "x" })).is_err());
    }
}
