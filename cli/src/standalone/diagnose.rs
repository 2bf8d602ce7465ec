//! What the statuses mean for whoever wrote the files: a place, and the next thing to do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_ir::GatewayKey;
use portcullis_translate::{Inputs, Kind, NamespacedName, ObjectRef, Statuses};

use crate::load::{GATEWAY_CLASS, Place, Problem, Severity};
use crate::schema::nearest;

type Sources = BTreeMap<ObjectRef, (PathBuf, Place)>;

/// Every condition that says that something does not work, and what no condition speaks of: references to Gateways
/// that are not there.
pub(super) fn diagnose(inputs: &Inputs, statuses: &Statuses, sources: &Sources) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut report = |object: ObjectRef, field: String, severity, message: String, fix: String| {
        // What no file holds (the implied class) is in order by itself.
        if let Some((file, at)) = sources.get(&object) {
            let object = Some(object);
            found.push(Problem { file: file.clone(), at: *at, severity, document: 0, object, field, message, fix });
        }
    };
    let mut conditions = |object: &ObjectRef, field: &str, list: &[Condition]| {
        for condition in list.iter().filter(|condition| is_bad(condition)) {
            let severity = match condition.type_.as_str() {
                "OverlappingTLSConfig"
                | "InsecureFrontendValidationMode"
                | "portcullis.dev/AuthenticationDowngraded" => Severity::Warning,
                _ => Severity::Error,
            };
            let message =
                format!("{} ({}={}, {})", condition.message, condition.type_, condition.status, condition.reason);
            report(object.clone(), field.to_owned(), severity, message, next_step(&condition.reason).to_owned());
        }
    };
    for (name, status) in &statuses.gateway_classes {
        let object = ObjectRef::cluster(Kind::GatewayClass, std::sync::Arc::clone(name));
        conditions(&object, "", status.conditions.as_deref().unwrap_or_default());
    }
    for (key, status) in &statuses.gateways {
        let object = ObjectRef::namespaced(Kind::Gateway, &NamespacedName::from(key));
        let listeners = status.listeners.iter().flatten().map(|one| (&*one.name, &*one.conditions)).collect();
        with_listeners(&mut conditions, &object, status.conditions.as_deref().unwrap_or_default(), listeners);
    }
    for (object, status) in &statuses.routes {
        for parent in &status.parents {
            let section = parent.parent_ref.section_name.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
            conditions(object, &format!("parent {}{section}", parent.parent_ref.name), &parent.conditions);
        }
    }
    for (name, status) in &statuses.listener_sets {
        let object = ObjectRef::namespaced(Kind::ListenerSet, name);
        let listeners = status.listeners.iter().flatten().map(|one| (&*one.name, &*one.conditions)).collect();
        with_listeners(&mut conditions, &object, status.conditions.as_deref().unwrap_or_default(), listeners);
    }
    for (name, status) in &statuses.backend_tls_policies {
        let object = ObjectRef::namespaced(Kind::BackendTlsPolicy, name);
        for ancestor in &status.ancestors {
            conditions(&object, "", &ancestor.conditions);
        }
    }
    let limits = statuses.rate_limit_policies.iter().map(|(name, status)| (Kind::RateLimitPolicy, name, status));
    let auth = statuses.auth_policies.iter().map(|(name, status)| (Kind::AuthPolicy, name, status));
    for (kind, name, status) in limits.chain(auth) {
        for ancestor in &status.ancestors {
            conditions(&ObjectRef::namespaced(kind, name), "", &ancestor.conditions);
        }
    }
    for (name, status) in &statuses.backends {
        conditions(&ObjectRef::namespaced(Kind::Backend, name), "", &status.conditions);
    }
    for (name, status) in &statuses.x_backends {
        let object = ObjectRef::namespaced(Kind::XBackend, name);
        for ancestor in &status.ancestors {
            conditions(&object, "", &ancestor.conditions);
        }
    }
    for (name, status) in &statuses.gateway_parameters {
        conditions(&ObjectRef::namespaced(Kind::GatewayParameters, name), "", &status.conditions);
    }
    for (object, field, message, fix) in loose_ends(inputs, statuses) {
        report(object, field, Severity::Error, message, fix);
    }
    found
}

fn with_listeners(
    report: &mut impl FnMut(&ObjectRef, &str, &[Condition]),
    object: &ObjectRef,
    own: &[Condition],
    listeners: Vec<(&str, &[Condition])>,
) {
    let mut listener_is_bad = false;
    for (name, conditions) in listeners {
        listener_is_bad |= conditions.iter().any(is_bad);
        report(object, &format!("listener {name}"), conditions);
    }
    // "Some listener is not valid" says less than the listener did.
    let own = own.iter().filter(|one| !(listener_is_bad && one.reason.starts_with("Listeners")));
    report(object, "", &own.cloned().collect::<Vec<_>>());
}

/// What is attached to nothing. A cluster stays silent here, because another controller may answer; we are alone.
fn loose_ends(inputs: &Inputs, statuses: &Statuses) -> Vec<(ObjectRef, String, String, String)> {
    let mut found = Vec::new();
    for (name, gateway) in &inputs.gateways {
        if !statuses.gateways.contains_key(&GatewayKey::from(name)) {
            let class = &gateway.spec.gateway_class_name;
            found.push((
                ObjectRef::namespaced(Kind::Gateway, name),
                "spec.gatewayClassName".to_owned(),
                format!("`{class}` is no class that is served here, so this Gateway is not"),
                format!("write `gatewayClassName: {GATEWAY_CLASS}`"),
            ));
        }
    }
    for (name, set) in &inputs.listener_sets {
        let parent = &set.spec.parent_ref;
        let target = NamespacedName::new(parent.namespace.as_deref().unwrap_or(&name.namespace), parent.name.as_str());
        let is_told = statuses.listener_sets.contains_key(name) || inputs.gateways.contains_key(&target);
        if !is_told && !inputs.invalid.contains_key(&ObjectRef::namespaced(Kind::Gateway, &target)) {
            found.push((
                ObjectRef::namespaced(Kind::ListenerSet, name),
                "spec.parentRef".to_owned(),
                format!("there is no Gateway {target}, so nothing is served"),
                "add that Gateway, or name another one".to_owned(),
            ));
        }
    }
    let routes = Kind::ALL.into_iter().filter(|kind| kind.route_kind().is_some());
    for object in routes.flat_map(|kind| inputs.references(kind)) {
        let Some(route) = inputs.route(&object) else { continue };
        let parents = route.parent_refs();
        if parents.is_empty() {
            let fix = "name a Gateway: `parentRefs: [{name: …}]`".to_owned();
            found.push((object, "spec.parentRefs".to_owned(), "the route is attached to nothing".to_owned(), fix));
            continue;
        }
        for (index, parent) in parents.iter().enumerate() {
            let namespace = parent.namespace.or(object.namespace.as_deref()).unwrap_or_default();
            let target = NamespacedName::new(namespace, parent.name);
            let what = parent.kind.unwrap_or("Gateway");
            let is_there = match what {
                "Gateway" => inputs.gateways.contains_key(&target),
                "ListenerSet" => inputs.listener_sets.contains_key(&target),
                _ => false,
            };
            let kind = if what == "ListenerSet" { Kind::ListenerSet } else { Kind::Gateway };
            if is_there || inputs.invalid.contains_key(&ObjectRef::namespaced(kind, &target)) {
                continue;
            }
            let names = inputs.gateways.keys().filter(|known| *known.namespace == *namespace).map(|known| &*known.name);
            let elsewhere = inputs.gateways.keys().find(|known| *known.name == *parent.name);
            let fix = match (nearest(parent.name, names), elsewhere) {
                (Some(meant), _) => format!("did you mean `{meant}`?"),
                (None, Some(elsewhere)) => format!("did you mean `namespace: {}`?", elsewhere.namespace),
                (None, None) => "add that Gateway, or name another one".to_owned(),
            };
            found.push((
                object.clone(),
                format!("spec.parentRefs[{index}]"),
                format!("there is no {what} {target}"),
                fix,
            ));
        }
    }
    found
}

/// Whether a condition says that something is wrong. `Programmed` is the data plane's to say: an unbound port is told
/// when it is known.
pub(super) fn is_bad(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        "Conflicted"
        | "OverlappingTLSConfig"
        | "PartiallyInvalid"
        | "InsecureFrontendValidationMode"
        | "portcullis.dev/AuthenticationDowngraded" => condition.status == "True",
        "Programmed" => false,
        _ => condition.status == "False",
    }
}

/// What usually helps, by the reason of a condition.
pub(super) fn next_step(reason: &str) -> &'static str {
    match reason {
        "BackendNotFound" => "create it, or correct the name, namespace or port",
        "RefNotPermitted" => "add a ReferenceGrant in the namespace that is referred to",
        "InvalidKind" | "InvalidBackend" => "refer to a Service or a Backend with a port that it has",
        "UnsupportedProtocol" => "use a protocol that the message names",
        "UnsupportedValue" | "IncompatibleFilters" => "change or remove what is named",
        "NoMatchingParent" => "correct `sectionName` and `port` of the parentRef",
        "NotAllowedByListeners" => "allow it in the listener's `allowedRoutes`",
        "NoMatchingListenerHostname" => "give the route a hostname that the listener takes",
        "InvalidCertificateRef" => "refer to a Secret of type kubernetes.io/tls whose key fits its certificate",
        "InvalidListenerFilter" | "InvalidListenerFilterRef" => "correct the listener's filters, or what they refer to",
        "InvalidRouteKinds" => "allow kinds of route that go with the listener's protocol",
        "HostnameConflict" | "ProtocolConflict" => "give the listeners different ports or hostnames",
        "UnsupportedAddress" | "AddressNotUsable" => "use addresses of type IPAddress that this machine has",
        "InvalidParameters" => "correct the parametersRef, or what it refers to",
        "NotAllowed" => "let it in by `allowedListeners` of the Gateway",
        "ParentNotAccepted" | "ParentNotProgrammed" => "see the conditions of its Gateway",
        "InvalidClientCertificateRef" => "refer to a Secret of type kubernetes.io/tls",
        "ConfigurationChanged" => "write `mode: AllowValidOnly`, unless backends judge clients",
        "NoValidCACertificate" | "InvalidCACertificateRef" | "InvalidCACertificateKind" => {
            "refer to a ConfigMap whose key `ca.crt` holds PEM certificates"
        }
        "TargetNotFound" => "correct the name, kind or sectionName of the target",
        "Conflicted" => "keep one policy of the kind for each target and section",
        "Invalid" => "correct the field that the message names",
        "RequirementDropped" => "keep the inherited methods, or make the inherited policy an override",
        "PortUnavailable" => "stop what uses the port, or choose another one",
        _ => "see docs/troubleshooting.md",
    }
}
