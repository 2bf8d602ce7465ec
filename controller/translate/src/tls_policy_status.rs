//! What a BackendTLSPolicy has to be told: one entry for each Gateway whose routes use a Service that it targets.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use gateway_api::backendtlspolicies::{BackendTlsPolicy, BackendTlsPolicyTargetRefs};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use portcullis_ir::{BackendKind, GatewayKey, Snapshot};

use crate::NamespacedName;
use crate::condition::{ConditionType, Reason, Verdict};
use crate::object::name_of;
use crate::parents::list;
use crate::status::Recorder;
use crate::tls_policy::{PolicyPlan, describe, governing, is_service, section_of};
use crate::world::World;

/// How a policy stands with one of its targets.
enum Target {
    Governed,
    /// By another policy with the same target.
    Overruled(String),
    /// There is nothing that could be governed.
    Missing(String),
}

/// Records the status of every policy, now that it is known which Gateway uses which Service.
pub(crate) fn record(world: &World<'_>, snapshots: &BTreeMap<GatewayKey, Snapshot>, recorder: &mut Recorder<'_>) {
    let policies = &world.inputs.backend_tls_policies;
    let targets = policies.iter().flat_map(|(name, policy)| {
        let services = policy.spec.target_refs.iter().filter(|target| is_service(target));
        services.map(|target| (&*name.namespace, &*target.name))
    });
    let targets: HashSet<(&str, &str)> = targets.collect();
    let mut users: HashMap<(&str, &str), BTreeSet<&GatewayKey>> = HashMap::new();
    if !targets.is_empty() {
        for (gateway, snapshot) in snapshots {
            let services = snapshot.config.backends.keys().filter(|key| key.kind == BackendKind::Service);
            for service in services.map(|key| (&*key.namespace, &*key.name)).filter(|name| targets.contains(name)) {
                users.entry(service).or_default().insert(gateway);
            }
        }
    }
    for (name, policy) in policies {
        let services = policy.spec.target_refs.iter().filter(|target| is_service(target));
        let gateways: BTreeSet<&GatewayKey> =
            services.filter_map(|target| users.get(&(&*name.namespace, &*target.name))).flatten().copied().collect();
        let verdicts = match world.planned.tls_policies.get(name) {
            Some(plan) if !gateways.is_empty() => vec![accepted(world, name, policy, plan), resolved_refs(plan)],
            _ => Vec::new(),
        };
        recorder.tls_policy(name, policy, &gateways, &verdicts);
    }
}

fn accepted(world: &World<'_>, name: &NamespacedName, policy: &BackendTlsPolicy, plan: &PolicyPlan) -> Verdict {
    let kind = ConditionType::Accepted;
    let (mut overruled, mut missing) = (Vec::new(), Vec::new());
    for target in &policy.spec.target_refs {
        match stand(world, name, target) {
            Target::Governed => {}
            Target::Overruled(why) => overruled.push(why),
            Target::Missing(why) => missing.push(why),
        }
    }
    let nothing_left = overruled.len() + missing.len() == policy.spec.target_refs.len();
    match &plan.tls {
        Err(error) if overruled.is_empty() || !nothing_left => {
            let message = format!("{error}. Nothing is sent to its targets: requests answer 500");
            Verdict::no(kind, error.reason(), message)
        }
        _ if !overruled.is_empty() => Verdict::no(kind, Reason::Conflicted, list(overruled.into_iter().chain(missing))),
        _ if !missing.is_empty() => Verdict::no(kind, Reason::TargetNotFound, list(missing.into_iter())),
        _ => Verdict::yes(kind, Reason::Accepted, "TLS is spoken to its targets"),
    }
}

fn resolved_refs(plan: &PolicyPlan) -> Verdict {
    let kind = ConditionType::ResolvedRefs;
    match plan.unresolved.first() {
        None => Verdict::yes(kind, Reason::ResolvedRefs, "all references are resolved"),
        Some(first) => Verdict::no(kind, first.reason(), list(plan.unresolved.iter().map(ToString::to_string))),
    }
}

fn stand(world: &World<'_>, policy: &NamespacedName, target: &BackendTlsPolicyTargetRefs) -> Target {
    if !is_service(target) {
        let BackendTlsPolicyTargetRefs { group, kind, name, section_name: _ } = target;
        return Target::Missing(format!("{kind} {name} of group {group:?} cannot be a target; use a Service"));
    }
    let service_name = NamespacedName::new(Arc::clone(&policy.namespace), target.name.as_str());
    let Some(service) = world.inputs.services.get(&service_name) else {
        return Target::Missing(format!("Service {service_name} does not exist; create it or correct the name"));
    };
    if let Some(section) = section_of(target)
        && let Err(why) = check_port(service, section)
    {
        return Target::Missing(format!("{}: {why}", describe(policy, target)));
    }
    match governing(world.tls_policies(&service_name), &target.name, section_of(target))
        .map(|winner| name_of(&**winner))
    {
        Some(winner) if winner != *policy => {
            let what = describe(policy, target);
            Target::Overruled(format!("{what} is governed by {winner}, which is older or comes first; remove one"))
        }
        _ => Target::Governed,
    }
}

fn check_port(service: &Service, section: &str) -> Result<(), String> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let mut named = ports.iter().filter(|port| port.name.as_deref() == Some(section)).peekable();
    if named.peek().is_none() {
        let known: Vec<&str> = ports.iter().filter_map(|port| port.name.as_deref()).collect();
        let known = if known.is_empty() { "none with a name".to_owned() } else { known.join(", ") };
        return Err(format!("the Service has no such port ({known}); correct sectionName"));
    }
    let is_tcp = |port: &ServicePort| port.protocol.as_deref().unwrap_or("TCP") == "TCP";
    match named.any(is_tcp) {
        true => Ok(()),
        false => Err("no TLS is spoken on a port that is not TCP; correct sectionName".to_owned()),
    }
}
