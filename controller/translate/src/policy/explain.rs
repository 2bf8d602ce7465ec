//! What counts for a rule of a route, part by part: where it comes from, and why others do not count.

use std::sync::Arc;

use portcullis_ir::{Auth, Limits, ListenerKey, PolicyTarget, RouteKey};
use serde::Serialize;

use super::apply::Effective;
use super::index::Place;
use super::level::Level;
use super::merge::{Lost, Merged, Outcome};
use super::{Policy, age};
use crate::memo::Memo;
use crate::{Inputs, Kind, NamespacedName, ObjectRef, Settings, translate};

/// What counts for one rule on one listener.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    pub listener: ListenerKey,
    /// The rule's position in its route.
    pub rule: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<Box<str>>,
    /// Every part of every policy that reaches the rule, those that count first.
    pub parts: Vec<ExplainedPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Arc<Limits>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Arc<Auth>>,
    /// What less is demanded than would be without a policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One part of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedPart {
    #[serde(serialize_with = "shown")]
    pub kind: Kind,
    /// `all of it`, or the part's own name.
    pub part: String,
    pub policy: NamespacedName,
    /// What the policy is attached to.
    pub target: PolicyTarget,
    /// None: it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

fn shown<S: serde::Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(kind)
}

/// Explains the rules of a route, or the one of them that is named or numbered so. Empty if none is attached to a
/// listener of ours.
pub fn explain(inputs: &Inputs, settings: &Settings, route: &ObjectRef, rule: Option<&str>) -> Vec<Explained> {
    let mut memo = Memo::default();
    let output = translate(inputs, settings, &mut memo);
    let mut explained = Vec::new();
    for rules in output.snapshots.values().flat_map(|snapshot| snapshot.config.routes.values()) {
        let RouteKey { kind, namespace, name, rule: at, .. } = &rules.key;
        let same = ObjectRef::namespaced((*kind).into(), &NamespacedName::new(namespace.clone(), name.clone()));
        let named = |wanted: &str| rules.rule_name.as_deref() == Some(wanted) || at.to_string() == wanted;
        if same != *route || !rule.is_none_or(named) {
            continue;
        }
        for attachment in &rules.attachments {
            let listener = attachment.listener.clone();
            let own = memo.policies.at(&(listener.clone(), Some(rules.key.clone())));
            let effective = own.or_else(|| memo.policies.at(&(listener.clone(), None)));
            let mut one = Explained {
                listener,
                rule: *at,
                rule_name: rules.rule_name.clone(),
                parts: Vec::new(),
                limits: None,
                auth: None,
                warnings: Vec::new(),
            };
            if let Some(effective) = effective {
                one.fill(inputs, effective);
            }
            explained.push(one);
        }
    }
    explained
}

impl Explained {
    fn fill(&mut self, inputs: &Inputs, effective: &Effective) {
        self.limits.clone_from(&effective.limits);
        self.auth.clone_from(&effective.auth);
        parts(inputs, &effective.limit_levels, &effective.merged_limits, &mut self.parts);
        parts(inputs, &effective.auth_levels, &effective.merged_auth, &mut self.parts);
        // Those that count first; else as they come, the most general first.
        self.parts.sort_by_key(|part| (part.kind, part.lost.is_some()));
        for (at, above) in &effective.downgrades {
            let name = |level: &usize| &effective.auth_levels[*level].plan.name;
            self.warnings.push(format!(
                "AuthPolicy {} lets requests pass that AuthPolicy {} would ask to authenticate",
                name(at),
                name(above)
            ));
        }
    }
}

fn parts<P: Policy>(inputs: &Inputs, levels: &[Level<P>], merged: &Merged<P>, into: &mut Vec<ExplainedPart>) {
    let part = |level: usize, part: String, lost: Option<String>| ExplainedPart {
        kind: P::KIND,
        part,
        policy: levels[level].plan.name.clone(),
        target: levels[level].target.clone(),
        lost,
    };
    match &merged.outcome {
        Outcome::Nothing => {}
        Outcome::Broken(level) => {
            let why = levels[*level].plan.problem().map(ToString::to_string).unwrap_or_default();
            into.push(part(*level, format!("denies with 503: {why}"), None));
        }
        Outcome::Parts(parts) => {
            into.extend(parts.iter().map(|(key, counts)| part(counts.level, key.to_string(), None)));
        }
    }
    for fate in &merged.fates {
        let by = &levels[fate.to];
        let how = match fate.how {
            Lost::Replaced => "is a default, and more specific is",
            Lost::Overridden => "is overridden by",
        };
        let lost = format!("{how} {} on {}", by.plan.name, by.target);
        into.push(part(fate.level, fate.part.clone().unwrap_or_else(|| "all of it".to_owned()), Some(lost)));
    }
    for (at, level) in levels.iter().enumerate() {
        if let (Err(why), false) = (&level.plan.parts, P::BROKEN_DENIES) {
            into.push(part(at, "all of it".to_owned(), Some(format!("is not valid: {why}"))));
        }
        if let Some(why) = &level.plan.outdated {
            into.push(part(
                at,
                "the present version".to_owned(),
                Some(format!("is not valid, its last good version counts: {why}")),
            ));
        }
        into.extend(conflicts(inputs, level));
    }
}

/// Policies with the same target that came second.
fn conflicts<P: Policy>(inputs: &Inputs, level: &Level<P>) -> Vec<ExplainedPart> {
    let winner = &level.plan.name;
    let Some(object) = P::objects(inputs).get(winner) else { return Vec::new() };
    let mut others: Vec<_> = P::objects(inputs)
        .iter()
        .filter(|(name, other)| {
            let at = |policy: &P, name: &NamespacedName| {
                let places = policy.target_refs().iter().filter_map(|target| Place::of(&name.namespace, target));
                places.filter(|place| names(place, &level.target)).count() > 0
            };
            *name != winner && at(other, name) && at(object, winner)
        })
        .map(|(name, other)| (age(&**other), name))
        .collect();
    others.sort();
    let lost = format!("conflicts with {winner}, which is older or comes first");
    let part = |(_, name): ((_, NamespacedName), &NamespacedName)| ExplainedPart {
        kind: P::KIND,
        part: "all of it".to_owned(),
        policy: name.clone(),
        target: level.target.clone(),
        lost: Some(lost.clone()),
    };
    others.into_iter().map(part).collect()
}

/// Whether a place is the one that a target is.
fn names(place: &Place, target: &PolicyTarget) -> bool {
    let object = super::status::object_of(target);
    let section = match target {
        PolicyTarget::Listener(key) => Some(&key.name),
        PolicyTarget::Rule { rule, .. } => Some(rule),
        PolicyTarget::Gateway(_) | PolicyTarget::ListenerSet(_) | PolicyTarget::Route { .. } => None,
    };
    ObjectRef::namespaced(place.kind, &place.name) == object && place.section.as_ref() == section
}
