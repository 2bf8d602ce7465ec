//! What policies have to be told, one entry for each Gateway that they reach, and what is said at their targets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_crds::PolicyStatus;
use portcullis_crds::policy::{PolicyAncestorRef, PolicyAncestorStatus, PolicyTargetRef};
use portcullis_ir::{GatewayKey, PolicyTarget};

use super::apply::{Applied, Reach, Reaches};
use super::index::{Place, Targets};
use super::{Invalid, Policy, PolicyPlan};
use crate::condition::{ConditionType, Reason, State, Verdict};
use crate::listener::GATEWAY_GROUP;
use crate::parents::list;
use crate::policy_status::settle_ancestor;
use crate::route_table::Routes;
use crate::status::{MAX_ANCESTORS, Recorder};
use crate::world::World;
use crate::{Kind, NamespacedName, ObjectRef};

/// How `Programmed` begins while the data planes are waited for; [`crate::programmed`] puts their word in its place.
pub(crate) const WAITING: &str = "waiting for the data plane";

/// A target, and where it leads.
enum Found {
    /// Gateways of ours that it is of or attached to; none: it is nobody's of ours.
    On(BTreeSet<GatewayKey>),
    /// It is not there: why, and the Gateway that misses the section, if it is one of ours.
    Missing(String, Option<GatewayKey>),
}

/// Records the status of every policy, and what is said at targets.
pub(crate) fn record(world: &World<'_>, applied: &Applied, routes: &Routes, recorder: &mut Recorder<'_>) {
    if let Some(targets) = &applied.limit_targets {
        let plan = |name: &NamespacedName| applied.plans.limits.get(name);
        let judge = Judge { world, targets, routes, reaches: &applied.limit_reach };
        for (name, policy) in &world.inputs.rate_limit_policies {
            let Some(plan) = plan(name) else { continue };
            let status = judge.policy(recorder, name, policy, plan, policy.status.as_ref());
            status
                .into_iter()
                .for_each(|status| drop(recorder.statuses.rate_limit_policies.insert(name.clone(), status)));
        }
        judge.affected(recorder, ConditionType::RateLimitPolicyAffected);
    }
    if let Some(targets) = &applied.auth_targets {
        let plan = |name: &NamespacedName| applied.plans.auth.get(name);
        let judge = Judge { world, targets, routes, reaches: &applied.auth_reach };
        for (name, policy) in &world.inputs.auth_policies {
            let Some(plan) = plan(name) else { continue };
            let status = judge.policy(recorder, name, policy, plan, policy.status.as_ref());
            status.into_iter().for_each(|status| drop(recorder.statuses.auth_policies.insert(name.clone(), status)));
        }
        judge.affected(recorder, ConditionType::AuthPolicyAffected);
        downgrades(applied, recorder);
    }
}

struct Judge<'j, 'w, P: Policy> {
    world: &'j World<'w>,
    targets: &'j Targets<P>,
    routes: &'j Routes,
    reaches: &'j Reaches,
}

/// What was found of one policy for one ancestor.
#[derive(Default)]
struct Tally {
    governed: usize,
    overruled: Vec<String>,
    missing: Vec<String>,
}

impl<P: Policy> Judge<'_, '_, P> {
    /// None for a policy that reaches nothing of ours and never did.
    fn policy(
        &self,
        recorder: &mut Recorder<'_>,
        name: &NamespacedName,
        policy: &Arc<P>,
        plan: &PolicyPlan<P>,
        old: Option<&PolicyStatus>,
    ) -> Option<PolicyStatus> {
        let mut by_ancestor: BTreeMap<PolicyAncestorRef, (Option<GatewayKey>, Tally)> = BTreeMap::new();
        for target in policy.target_refs() {
            match self.find(name, target) {
                Found::Missing(why, gateway) => {
                    let ancestor = gateway.as_ref().map_or_else(|| itself(name, target), ancestor);
                    by_ancestor.entry(ancestor).or_insert_with(|| (gateway, Tally::default())).1.missing.push(why);
                }
                Found::On(gateways) => {
                    let place = Place::of(&name.namespace, target);
                    let winner = place.as_ref().and_then(|place| self.targets.governing(place)).map(|plan| &plan.name);
                    let overruled = place.zip(winner).filter(|(_, winner)| *winner != name);
                    for gateway in gateways {
                        let entry = by_ancestor.entry(ancestor(&gateway)).or_default();
                        entry.0 = Some(gateway);
                        match &overruled {
                            None => entry.1.governed += 1,
                            Some((place, winner)) => entry.1.overruled.push(format!(
                                "{place} is governed by {winner}, which is older or comes first; remove one"
                            )),
                        }
                    }
                }
            }
        }
        let old: Vec<&PolicyAncestorStatus> = (old.into_iter().flat_map(|status| &status.ancestors))
            .filter(|ancestor| ancestor.controller_name == recorder.controller_name())
            .collect();
        if by_ancestor.is_empty() && old.is_empty() {
            return None;
        }
        let ancestors = by_ancestor.into_iter().take(MAX_ANCESTORS).map(|(ancestor_ref, (gateway, found))| {
            let reach = gateway.and_then(|gateway| self.reaches.get(name)?.get(&gateway));
            let verdicts = verdicts::<P>(plan.problem(), plan.parts.is_ok(), &found, reach);
            let conditions = recorder.conditions(&**policy, &verdicts);
            let controller_name = recorder.controller_name().to_owned();
            PolicyAncestorStatus { ancestor_ref, controller_name, conditions }
        });
        let mut status = PolicyStatus { ancestors: ancestors.collect() };
        for ancestor in &mut status.ancestors {
            if let Some(old) = old.iter().find(|old| old.ancestor_ref == ancestor.ancestor_ref) {
                settle_ancestor(P::KIND, name, ancestor, old, &mut recorder.statuses.programmed_before);
            }
        }
        Some(status)
    }

    fn find(&self, policy: &NamespacedName, target: &PolicyTargetRef) -> Found {
        let Some(place) = Place::of(&policy.namespace, target) else {
            let PolicyTargetRef { group, kind, name, section_name: _ } = target;
            let why =
                format!("{kind} {name} of group {group:?} cannot be a target; use a Gateway, ListenerSet or route");
            return Found::Missing(why, None);
        };
        let inputs = self.world.inputs;
        let Place { kind, name, section } = &place;
        let gone = || Found::Missing(format!("{kind} {name} does not exist; create it or correct the name"), None);
        let (sections, gateways): (Vec<&str>, BTreeSet<GatewayKey>) = match kind {
            Kind::Gateway => {
                let Some(gateway) = inputs.gateways.get(name) else { return gone() };
                let ours = self.world.planned.gateways.contains_key(name).then(|| GatewayKey::from(name));
                (gateway.spec.listeners.iter().map(|listener| &*listener.name).collect(), ours.into_iter().collect())
            }
            Kind::ListenerSet => {
                let Some(set) = inputs.listener_sets.get(name) else { return gone() };
                let points = self.world.planned.listener_sets.get(name);
                let gateway =
                    points.and_then(|points| points.points.first()).map(|point| point.listener.gateway.clone());
                (set.spec.listeners.iter().map(|listener| &*listener.name).collect(), gateway.into_iter().collect())
            }
            Kind::HttpRoute => {
                let Some(route) = inputs.http_routes.get(name) else { return gone() };
                let rules = route.spec.rules.iter().flatten().filter_map(|rule| rule.name.as_deref());
                (rules.collect(), self.gateways_of(*kind, name))
            }
            _ => {
                let Some(route) = inputs.grpc_routes.get(name) else { return gone() };
                let rules = route.spec.rules.iter().flatten().filter_map(|rule| rule.name.as_deref());
                (rules.collect(), self.gateways_of(*kind, name))
            }
        };
        match section {
            Some(section) if !sections.contains(&&**section) => {
                let known = if sections.is_empty() { "none with a name".to_owned() } else { sections.join(", ") };
                let what = if kind.route_kind().is_some() { "rule" } else { "listener" };
                let why = format!("{kind} {name} has no {what} {section} ({known}); correct sectionName");
                Found::Missing(why, gateways.into_iter().next())
            }
            _ => Found::On(gateways),
        }
    }

    fn gateways_of(&self, kind: Kind, name: &NamespacedName) -> BTreeSet<GatewayKey> {
        let route = self.routes.get(&ObjectRef::namespaced(kind, name));
        route.into_iter().flat_map(|route| route.rules.keys()).cloned().collect()
    }

    /// "A policy … SHOULD add a condition to each object that it affects" (GEP-713): to its targets.
    fn affected(&self, recorder: &mut Recorder<'_>, kind: ConditionType) {
        let mut by_object: BTreeMap<ObjectRef, (BTreeSet<GatewayKey>, BTreeSet<String>)> = BTreeMap::new();
        for (name, policy) in P::objects(self.world.inputs) {
            for target in policy.target_refs() {
                let Some(place) = Place::of(&name.namespace, target) else { continue };
                let governs = self.targets.governing(&place).is_some_and(|plan| plan.name == *name);
                if let (true, Found::On(gateways)) = (governs, self.find(name, target))
                    && !gateways.is_empty()
                {
                    let words = match &place.section {
                        None => format!("{name}"),
                        Some(section) => format!("{name} ({section})"),
                    };
                    let object = by_object.entry(ObjectRef::namespaced(place.kind, &place.name)).or_default();
                    object.0.extend(gateways);
                    object.1.insert(words);
                }
            }
        }
        for (object, (gateways, policies)) in by_object {
            let message = format!("{} {} is attached", P::KIND, list(policies.into_iter()));
            let verdict = Verdict::yes(kind, Reason::Accepted, message);
            recorder.at_target(&object, &gateways, &verdict);
        }
    }
}

fn downgrades(applied: &Applied, recorder: &mut Recorder<'_>) {
    let mut by_target: BTreeMap<&ObjectRef, (BTreeSet<GatewayKey>, BTreeSet<String>)> = BTreeMap::new();
    for downgrade in &applied.downgrades {
        let entry = by_target.entry(&downgrade.target).or_default();
        entry.0.insert(downgrade.gateway.clone());
        entry.1.insert(dropped(&downgrade.policy, &downgrade.inherited));
    }
    for (target, (gateways, words)) in by_target {
        let kind = ConditionType::AuthenticationDowngraded;
        let verdict = Verdict::yes(kind, Reason::RequirementDropped, list(words.into_iter()));
        recorder.at_target(target, &gateways, &verdict);
    }
}

fn dropped(policy: &NamespacedName, inherited: &NamespacedName) -> String {
    format!("AuthPolicy {policy} lets requests pass that AuthPolicy {inherited} would ask to authenticate")
}

fn verdicts<P: Policy>(problem: Option<&Invalid>, usable: bool, found: &Tally, reach: Option<&Reach>) -> Vec<Verdict> {
    let kind = ConditionType::Accepted;
    let Tally { governed, overruled, missing } = found;
    let consequence = match (P::BROKEN_DENIES, usable) {
        (true, true) => "its last good version goes on counting",
        (true, false) => "requests to its targets are denied (503)",
        (false, _) => "none of its rules is applied",
    };
    let notes = reach.map(|reach| list(reach.notes.iter().cloned())).filter(|notes| !notes.is_empty());
    let accepted = match problem {
        Some(problem) if *governed > 0 || overruled.is_empty() => {
            Verdict::no(kind, Reason::Invalid, format!("{problem}; {consequence}"))
        }
        _ if !overruled.is_empty() => {
            Verdict::no(kind, Reason::Conflicted, list(overruled.iter().chain(missing).cloned()))
        }
        _ if !missing.is_empty() => Verdict::no(kind, Reason::TargetNotFound, list(missing.iter().cloned())),
        _ => {
            let message = notes
                .map_or_else(|| "the policy is valid".to_owned(), |notes| format!("the policy is valid, but {notes}"));
            Verdict::yes(kind, Reason::Accepted, message)
        }
    };
    let mut verdicts = vec![];
    let programmed = programmed(&accepted, usable, *governed, reach);
    verdicts.extend([accepted, programmed]);
    if let Some(reach) = reach.filter(|reach| !reach.downgrades.is_empty()) {
        let words = reach.downgrades.iter().map(|(target, inherited)| {
            format!("at {target} it lets requests pass that AuthPolicy {inherited} would ask to authenticate")
        });
        let kind = ConditionType::AuthenticationDowngraded;
        verdicts.push(Verdict::yes(kind, Reason::RequirementDropped, list(words)));
    }
    verdicts
}

fn programmed(accepted: &Verdict, usable: bool, governed: usize, reach: Option<&Reach>) -> Verdict {
    let kind = ConditionType::Programmed;
    if !usable || governed == 0 {
        let message = if usable { "no target is left that it could govern" } else { "the policy is not valid" };
        return Verdict::no(kind, accepted.reason, message);
    }
    let nothing = Reach::default();
    let reach = reach.unwrap_or(&nothing);
    let names = |names: &mut dyn Iterator<Item = &NamespacedName>| {
        names.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    if reach.in_force == 0 && !reach.overridden.is_empty() {
        let by = names(&mut reach.overridden.keys());
        return Verdict::no(kind, Reason::Overridden, format!("nothing of it counts: it is overridden by {by}"));
    }
    if reach.in_force == 0 && !reach.replaced.is_empty() {
        let by = names(&mut reach.replaced.iter());
        return Verdict::no(kind, Reason::Overridden, format!("nothing of it counts: more specific are {by}"));
    }
    if reach.places == 0 {
        let message = "no listener and no rule that is served is reached yet";
        return Verdict::no(kind, Reason::Reconciling, message);
    }
    let lost: Vec<String> = (reach.overridden.iter())
        .map(|(by, parts)| format!("{} overridden by {by}", list(parts.iter().cloned())))
        .collect();
    if let Some(why) = &reach.no_store {
        let message = format!("rules of scope Fleet count by their onStoreFailure: {why}");
        return Verdict::no(kind, Reason::PartiallyProgrammed, message);
    }
    let message = if lost.is_empty() { WAITING.to_owned() } else { format!("{WAITING}; {}", list(lost.into_iter())) };
    Verdict { kind, state: State::Unknown, reason: Reason::Reconciling, message: message.into() }
}

fn ancestor(gateway: &GatewayKey) -> PolicyAncestorRef {
    PolicyAncestorRef {
        group: Some(GATEWAY_GROUP.to_owned()),
        kind: Some(Kind::Gateway.as_str().to_owned()),
        namespace: Some(gateway.namespace.to_string()),
        name: gateway.name.to_string(),
        section_name: None,
    }
}

/// A target that is not there stands for itself.
fn itself(policy: &NamespacedName, target: &PolicyTargetRef) -> PolicyAncestorRef {
    let PolicyTargetRef { group, kind, name, section_name } = target;
    PolicyAncestorRef {
        group: Some(group.clone()),
        kind: Some(kind.clone()),
        namespace: Some(policy.namespace.to_string()),
        name: name.clone(),
        section_name: Some(section_name.clone()).filter(|name| !name.is_empty()),
    }
}

/// The object that a place is of.
pub(crate) fn object_of(target: &PolicyTarget) -> ObjectRef {
    let named = |kind: Kind, namespace: &Arc<str>, name: &Arc<str>| {
        ObjectRef::namespaced(kind, &NamespacedName::new(Arc::clone(namespace), Arc::clone(name)))
    };
    match target {
        PolicyTarget::Gateway(key) => named(Kind::Gateway, &key.namespace, &key.name),
        PolicyTarget::ListenerSet(key) => named(Kind::ListenerSet, &key.namespace, &key.name),
        PolicyTarget::Listener(key) => match &key.set {
            None => named(Kind::Gateway, &key.gateway.namespace, &key.gateway.name),
            Some(set) => named(Kind::ListenerSet, &set.namespace, &set.name),
        },
        PolicyTarget::Route { kind, namespace, name } | PolicyTarget::Rule { kind, namespace, name, .. } => {
            named((*kind).into(), namespace, name)
        }
    }
}
