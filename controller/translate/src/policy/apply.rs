//! What counts at each listener and each rule, put where the data plane finds it, and how each policy fares.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_crds::{AuthPolicy, RateLimitPolicy};
use portcullis_ir::{Auth, GatewayKey, IssuerKey, Limits, Listener, ListenerKey, ListenerProtocol, Route, RouteKey};

use super::auth::{AuthKey, assemble, requires};
use super::credentials::{self, Labelled};
use super::index::Targets;
use super::level::{self, Level};
use super::merge::{Lost, Merged, Outcome, merge};
use super::needs::Needs;
use super::{Plans, Policy, store};
use crate::cache::share;
use crate::gateway::GatewayPlan;
use crate::memo::Memo;
use crate::output::Downgrade;
use crate::route_table::Routes;
use crate::world::World;
use crate::{Inputs, IssuerSource, NamespacedName, ObjectRef};

/// Most rules of limits at one place (`ir::Limits`).
const MAX_RULES: usize = 128;

/// What counts at one place, and what it was made of.
#[derive(Debug)]
pub(crate) struct Effective {
    pub(crate) limit_levels: Vec<Level<RateLimitPolicy>>,
    pub(crate) auth_levels: Vec<Level<AuthPolicy>>,
    pub(crate) merged_limits: Merged<RateLimitPolicy>,
    pub(crate) merged_auth: Merged<AuthPolicy>,
    pub(crate) limits: Option<Arc<Limits>>,
    pub(crate) auth: Option<Arc<Auth>>,
    /// The levels of authentication that drop what is demanded above them, and where that was.
    pub(crate) downgrades: Vec<(usize, usize)>,
}

/// Where something counts: a listener, or a rule that is attached to it.
pub(crate) type At = (ListenerKey, Option<RouteKey>);

/// A rule in the program of a Gateway.
pub(crate) type GovernedKey = (GatewayKey, RouteKey);

/// The policies of this pass, applied.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) plans: Plans,
    pub(crate) limit_targets: Option<Targets<RateLimitPolicy>>,
    pub(crate) auth_targets: Option<Targets<AuthPolicy>>,
    pub(crate) listeners: HashMap<ListenerKey, Arc<Listener>>,
    pub(crate) routes: HashMap<GovernedKey, Arc<Route>>,
    /// Rules that policies change otherwise than in the last pass, or do not change any more.
    pub(crate) altered: BTreeSet<GovernedKey>,
    pub(crate) needs: BTreeMap<GatewayKey, Needs>,
    pub(crate) limit_reach: Reaches,
    pub(crate) auth_reach: Reaches,
    pub(crate) sources: BTreeMap<IssuerKey, IssuerSource>,
    pub(crate) downgrades: BTreeSet<Downgrade>,
}

impl Applied {
    /// A rule with what counts there.
    pub(crate) fn rule<'r>(&'r self, gateway: &GatewayKey, rule: &'r Arc<Route>) -> &'r Arc<Route> {
        if self.routes.is_empty() {
            return rule;
        }
        self.routes.get(&(gateway.clone(), rule.key.clone())).unwrap_or(rule)
    }
}

/// How policies of one kind fare, by policy and Gateway.
pub(crate) type Reaches = BTreeMap<NamespacedName, BTreeMap<GatewayKey, Reach>>;

#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Listeners and rules that it reaches, and those where any part of it counts.
    pub(crate) places: usize,
    pub(crate) in_force: usize,
    /// To whom it gave way, and with which parts.
    pub(crate) overridden: BTreeMap<NamespacedName, BTreeSet<String>>,
    pub(crate) replaced: BTreeSet<NamespacedName>,
    /// What is odd without being an error.
    pub(crate) notes: BTreeSet<String>,
    /// It counts by its rules for an outage: there is no store.
    pub(crate) no_store: Option<String>,
    pub(crate) downgrades: BTreeMap<ObjectRef, NamespacedName>,
}

/// Applies the policies of the world. Without any, nothing is done.
pub(crate) fn apply(world: &World<'_>, memo: &mut Memo, gateways: &[&GatewayPlan], routes: &Routes) -> Applied {
    let plans = Plans::compile(world, memo);
    if plans.is_empty() {
        return Applied { altered: memo.policies.clear(), ..Applied::default() };
    }
    let limit_targets = Targets::new(world.inputs, |name| plans.limits.get(name).cloned());
    let auth_targets = Targets::new(world.inputs, |name| plans.auth.get(name).cloned());
    let mut applied = Applied { plans, ..Applied::default() };
    let mut seen = BTreeSet::new();
    let listeners = gateways.iter().flat_map(|plan| plan.all_listeners()).filter_map(|plan| plan.listener.as_ref());
    for listener in listeners {
        let limit_levels = level::of_listener(&limit_targets, &listener.key);
        let auth_levels = match is_http(listener) {
            true => level::of_listener(&auth_targets, &listener.key),
            false => Vec::new(),
        };
        if !limit_levels.is_empty() || !auth_levels.is_empty() {
            let at = (listener.key.clone(), None);
            let effective = memo.policies.effective(&at, limit_levels, auth_levels);
            applied.note(&at, &effective);
            let mut governed = Listener::clone(listener);
            (governed.limits, governed.auth) = (effective.limits.clone(), effective.auth.clone());
            let governed = share(&mut memo.policies.listeners, &listener.key, governed);
            applied.listeners.insert(listener.key.clone(), governed);
            seen.insert(at);
        }
    }
    // Of all others the listeners' are what counts.
    let targeted: BTreeSet<ObjectRef> = limit_targets.routes().chain(auth_targets.routes()).collect();
    let targeted = targeted.iter().filter_map(|reference| routes.get(reference));
    for rule in targeted.flat_map(|route| route.rules.iter()).flat_map(|(_, rules)| rules) {
        let of_limits = level::of_rule(&limit_targets, &rule.key, rule.rule_name.as_deref());
        let of_auth = level::of_rule(&auth_targets, &rule.key, rule.rule_name.as_deref());
        if of_limits.is_empty() && of_auth.is_empty() {
            continue;
        }
        let mut governed = Route::clone(rule);
        for attachment in &mut governed.attachments {
            let key = &attachment.listener;
            let mut limit_levels = level::of_listener(&limit_targets, key);
            limit_levels.extend(of_limits.iter().cloned());
            let mut auth_levels = level::of_listener(&auth_targets, key);
            auth_levels.extend(of_auth.iter().cloned());
            if limit_levels.is_empty() && auth_levels.is_empty() {
                continue;
            }
            let at = (key.clone(), Some(rule.key.clone()));
            let effective = memo.policies.effective(&at, limit_levels, auth_levels);
            applied.note(&at, &effective);
            let above = applied.listeners.get(key);
            let differs = |own: &Option<Arc<Limits>>| above.is_none_or(|above| above.limits != *own);
            attachment.limits = Some(&effective.limits).filter(|own| differs(own)).cloned().flatten();
            let differs = |own: &Option<Arc<Auth>>| above.is_none_or(|above| above.auth != *own);
            attachment.auth = Some(&effective.auth).filter(|own| differs(own)).cloned().flatten();
            seen.insert(at);
        }
        let Some(gateway) = governed.attachments.first().map(|one| one.listener.gateway.clone()) else { continue };
        let key = (gateway, rule.key.clone());
        let governed = memo.policies.rule(&key, governed);
        applied.routes.insert(key, governed);
    }
    applied.altered = memo.policies.retain(&seen, &applied);
    applied.supply(world, memo, gateways);
    (applied.limit_targets, applied.auth_targets) = (Some(limit_targets), Some(auth_targets));
    applied
}

impl Effective {
    pub(super) fn new(
        gateway: &GatewayKey,
        limit_levels: Vec<Level<RateLimitPolicy>>,
        auth_levels: Vec<Level<AuthPolicy>>,
    ) -> Self {
        let merged_limits = merge(&limit_levels);
        let merged_auth = merge(&auth_levels);
        let limits = limits_of(gateway, &limit_levels, &merged_limits).map(Arc::new);
        let auth = assemble(&auth_levels, &merged_auth).map(Arc::new);
        let downgrades = downgrades(&auth_levels);
        Self { limit_levels, auth_levels, merged_limits, merged_auth, limits, auth, downgrades }
    }
}

fn limits_of(
    gateway: &GatewayKey,
    levels: &[Level<RateLimitPolicy>],
    merged: &Merged<RateLimitPolicy>,
) -> Option<Limits> {
    let Outcome::Parts(parts) = &merged.outcome else { return None };
    let rules = parts.iter().map(|(name, part)| part.value.at(name, levels[part.level].origin(), gateway));
    let rules: Vec<_> = rules.take(MAX_RULES).collect();
    (!rules.is_empty()).then_some(Limits { rules })
}

/// Each level that drops what is demanded above it, and the level that demands it.
fn downgrades(levels: &[Level<AuthPolicy>]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut demanded_by = None;
    for at in 0..levels.len() {
        let upto = &levels[..=at];
        let merged = merge(upto);
        match (requires(assemble(upto, &merged).as_ref()), demanded_by) {
            (true, _) => demanded_by = Some(demanding(&merged).unwrap_or(at)),
            (false, Some(above)) => {
                found.push((at, above));
                demanded_by = None;
            }
            (false, None) => {}
        }
    }
    found
}

/// The most specific level whose methods, or whose service, count.
fn demanding(merged: &Merged<AuthPolicy>) -> Option<usize> {
    match &merged.outcome {
        Outcome::Nothing => None,
        Outcome::Broken(level) => Some(*level),
        Outcome::Parts(parts) => {
            let demands = |key: &AuthKey| matches!(key, AuthKey::Method(_) | AuthKey::External);
            parts.iter().filter(|(key, _)| demands(key)).map(|(_, part)| part.level).max()
        }
    }
}

impl Applied {
    /// Those that can be honoured as they are.
    pub(crate) fn good_auth_policies(&self, inputs: &Inputs) -> BTreeMap<NamespacedName, Arc<AuthPolicy>> {
        let good = self.plans.auth.iter().filter(|(_, plan)| plan.problem().is_none());
        good.filter_map(|(name, _)| inputs.auth_policies.get_key_value(name))
            .map(|(name, policy)| (name.clone(), Arc::clone(policy)))
            .collect()
    }

    /// Takes in how the policies of a place fare there, and what they need.
    fn note(&mut self, at: &At, effective: &Effective) {
        let gateway = &at.0.gateway;
        note(&mut self.limit_reach, gateway, &effective.limit_levels, &effective.merged_limits);
        note(&mut self.auth_reach, gateway, &effective.auth_levels, &effective.merged_auth);
        for (at, above) in &effective.downgrades {
            let (level, inherited) = (&effective.auth_levels[*at], &effective.auth_levels[*above].plan.name);
            let target = super::status::object_of(&level.target);
            let reach = self.auth_reach.entry(level.plan.name.clone()).or_default().entry(gateway.clone()).or_default();
            reach.downgrades.insert(target.clone(), inherited.clone());
            self.downgrades.insert(Downgrade {
                policy: level.plan.name.clone(),
                target,
                gateway: gateway.clone(),
                inherited: inherited.clone(),
            });
        }
        self.needs.entry(gateway.clone()).or_default().add(effective);
        for level in &effective.auth_levels {
            let reach = self.auth_reach.entry(level.plan.name.clone()).or_default().entry(gateway.clone()).or_default();
            reach.notes.extend(level.plan.extra.notes.iter().cloned());
        }
    }

    /// What the live lane has to hold.
    fn supply(&mut self, world: &World<'_>, memo: &mut Memo, gateways: &[&GatewayPlan]) {
        let inputs = world.inputs;
        let selects = |needs: &Needs| !needs.wanted.sets.is_empty();
        let labelled = if self.needs.values().any(selects) { Labelled::of(inputs) } else { Labelled::none() };
        for (gateway, needs) in &mut self.needs {
            let (credentials, odd) =
                credentials::compile(inputs, &labelled, &mut memo.policies.credentials, gateway, &needs.wanted);
            needs.credentials = credentials;
            for (set, words) in odd {
                let policy = NamespacedName::new(Arc::clone(&set.namespace), Arc::clone(&set.policy));
                let reach = self.auth_reach.entry(policy).or_default().entry(gateway.clone()).or_default();
                reach.notes.insert(format!("method {}: {words}", set.method));
            }
            if needs.fleet {
                let written =
                    gateways.iter().find(|plan| plan.key == *gateway).and_then(|plan| plan.counter_store.as_ref());
                let (store, why) = store::compile(inputs, gateway, written);
                needs.store = Some(share(&mut memo.policies.stores, gateway, store));
                if let Some(why) = why {
                    lament(&mut self.limit_reach, &self.plans, gateway, &why);
                }
            }
            for key in &needs.issuers {
                let has_keys = inputs.issuers.get(key).is_some_and(|issuer| issuer.keys.is_some());
                let naming = self.plans.auth.values().filter_map(|plan| Some((plan, plan.extra.sources.get(key)?)));
                for (plan, source) in naming {
                    let reach = self.auth_reach.get_mut(&plan.name).and_then(|reach| reach.get_mut(gateway));
                    if let (false, Some(reach)) = (has_keys, reach) {
                        let address = source.location.address();
                        reach.notes.insert(format!(
                            "no keys are known of {address}; until they are fetched its tokens are answered 503"
                        ));
                    }
                    match self.sources.get_mut(key) {
                        Some(known) => known.join(source),
                        None => drop(self.sources.insert(key.clone(), source.clone())),
                    }
                }
            }
        }
        memo.policies.stores.retain(|key, _| self.needs.get(key).is_some_and(|needs| needs.fleet));
        memo.policies.credentials.retain(|key| self.needs.contains_key(key));
    }
}

fn note<P: Policy>(reaches: &mut Reaches, gateway: &GatewayKey, levels: &[Level<P>], merged: &Merged<P>) {
    for (at, level) in levels.iter().enumerate() {
        let counts = match &merged.outcome {
            Outcome::Nothing => false,
            Outcome::Broken(broken) => *broken == at,
            Outcome::Parts(parts) => parts.values().any(|part| part.level == at),
        };
        let reach = reaches.entry(level.plan.name.clone()).or_default().entry(gateway.clone()).or_default();
        reach.places += 1;
        reach.in_force += usize::from(counts);
        for fate in merged.fates.iter().filter(|fate| fate.level == at) {
            let to = levels[fate.to].plan.name.clone();
            match fate.how {
                Lost::Replaced => drop(reach.replaced.insert(to)),
                Lost::Overridden => {
                    let part = fate.part.clone().unwrap_or_else(|| "all of it".to_owned());
                    reach.overridden.entry(to).or_default().insert(part);
                }
            }
        }
    }
}

/// Every policy that counts in a store learns that there is none.
fn lament(reaches: &mut Reaches, plans: &Plans, gateway: &GatewayKey, why: &str) {
    for (name, reach) in reaches {
        let parts = plans.limits.get(name).and_then(|plan| plan.parts.as_ref().ok());
        let fleet = parts.is_some_and(|parts| parts.values().any(super::limits::RulePart::is_fleet));
        if let Some(reach) = reach.get_mut(gateway).filter(|_| fleet) {
            reach.no_store = Some(why.to_owned());
        }
    }
}

fn is_http(listener: &Listener) -> bool {
    matches!(listener.protocol, ListenerProtocol::Http | ListenerProtocol::Https(_))
}
