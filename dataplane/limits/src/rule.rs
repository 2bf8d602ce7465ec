//! One rule, compiled: to which requests it applies, under which key, at what cost, and what bounds them.

use std::hash::Hasher;
use std::sync::Arc;

use http::HeaderValue;
use portcullis_expressions::{Facts, InvalidExpression, Program as Expression};
use portcullis_ir::{Cost, Limit, LimitResponse, LimitRule, LimitScope, Match, OnMissingKey};
use portcullis_router::{Bind, Request};

use crate::answer;
use crate::counter::{Counters, LIMITS, Registry};
use crate::key::{Part, Secret, Value};
use crate::quota::{InvalidKey, Named};
use crate::shape::Shape;

#[derive(Debug)]
pub struct Rule {
    pub name: Box<str>,
    pub counters: Arc<Counters>,
    pub scope: LimitScope,
    pub shadow: bool,
    pub response: LimitResponse,
    /// It looks at who the client is.
    pub(crate) late: bool,
    matches: Vec<Match>,
    when: Vec<Expression>,
    key: Vec<Part>,
    on_missing_key: OnMissingKey,
    cost: CompiledCost,
    tier_from: Option<Part>,
    /// By value in ascending order.
    tiers: Vec<(Box<str>, Plan)>,
    plan: Plan,
    secret: Arc<Secret>,
}

/// Limits that hold together.
#[derive(Debug, PartialEq)]
pub struct Plan {
    pub shapes: Vec<Shape>,
    /// Its part of `RateLimit-Policy`.
    pub(crate) policy: HeaderValue,
    /// What each limit is called in headers.
    pub(crate) names: Vec<Box<str>>,
}

#[derive(Debug)]
enum CompiledCost {
    Units(u64),
    Expression(Expression),
}

/// A rule that applies to a request.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'p> {
    pub rule: &'p Rule,
    pub plan: &'p Plan,
    /// Of the key, with the secret seed.
    pub hash: u64,
    pub cost: u64,
    /// An expression of `when` failed, so that the client's address alone is the key.
    by_address: bool,
}

/// Whether a rule applies.
#[derive(Clone, Copy, Debug)]
pub enum Application<'p> {
    Not,
    /// Something is missing that must not be.
    Denied,
    Applied(Applied<'p>),
}

impl Rule {
    pub(crate) fn compile(rule: &LimitRule, registry: &mut Registry) -> Result<Self, InvalidExpression> {
        let key = rule.key.iter().map(Part::compile).collect::<Result<Vec<_>, _>>()?;
        let when = rule.when.iter().map(|source| Expression::compile(&source.0)).collect::<Result<Vec<_>, _>>()?;
        let cost = match &rule.cost {
            Cost::Units(units) => CompiledCost::Units(u64::from(*units)),
            Cost::Expression(source) => CompiledCost::Expression(Expression::compile(&source.0)?),
        };
        let tier_from = rule.tiers.as_ref().map(|tiers| Part::compile(&tiers.from)).transpose()?;
        let late = key.iter().chain(&tier_from).any(Part::uses_identity)
            || when.iter().any(Expression::uses_identity)
            || matches!(&cost, CompiledCost::Expression(program) if program.uses_identity());
        let tiers = rule.tiers.as_ref();
        let default = tiers.map(|tiers| &tiers.default).filter(|default| !default.is_empty());
        Ok(Self {
            name: rule.name.clone(),
            counters: registry.counters(rule),
            scope: rule.scope.clone(),
            shadow: rule.shadow,
            response: rule.response.clone(),
            late,
            matches: rule.matches.clone(),
            when,
            key,
            on_missing_key: rule.on_missing_key,
            cost,
            tier_from,
            tiers: tiers.map_or_else(Vec::new, |tiers| {
                let plan = |limits: &[Limit]| Plan::compile(&rule.name, limits);
                tiers.entries.iter().map(|tier| (tier.value.clone(), plan(&tier.limits))).collect()
            }),
            plan: Plan::compile(&rule.name, default.unwrap_or(&rule.limits)),
            secret: Arc::clone(&registry.secret),
        })
    }

    /// Whether it applies to a request, under which key and at what cost. Nothing is counted.
    pub fn apply<'p>(&'p self, facts: &Facts<'_>) -> Application<'p> {
        if !self.matches.is_empty() && !self.meets(facts) {
            return Application::Not;
        }
        let mut by_address = false;
        for expression in &self.when {
            match (expression.bool(facts), self.on_missing_key) {
                (Ok(true), _) => {}
                (Ok(false), _) | (Err(_), OnMissingKey::Skip) => return Application::Not,
                (Err(_), OnMissingKey::Deny) => return Application::Denied,
                (Err(_), OnMissingKey::SharedBucket) => by_address = true,
            }
        }
        let (value, plan) = self.tier(facts);
        let mut hasher = self.secret.hasher();
        if let Some(value) = value {
            hasher.write(value.as_bytes());
        }
        let mut missing = false;
        self.values(facts, by_address, |value| {
            missing |= matches!(value, Value::InsteadOf(_));
            value.hash(&mut hasher);
        });
        if missing && !by_address {
            match self.on_missing_key {
                OnMissingKey::Skip => return Application::Not,
                OnMissingKey::Deny => return Application::Denied,
                OnMissingKey::SharedBucket => {}
            }
        }
        let Some(cost) = self.cost(facts) else {
            return if self.on_missing_key == OnMissingKey::Deny { Application::Denied } else { Application::Not };
        };
        Application::Applied(Applied { rule: self, plan, hash: hasher.finish(), cost, by_address })
    }

    /// By what routes are found by.
    fn meets(&self, facts: &Facts<'_>) -> bool {
        let request = Request {
            bind: Bind { address: None, port: 0 },
            sni: None,
            host: facts.host,
            path: facts.path,
            method: facts.method,
            headers: facts.headers,
            query: facts.query,
        };
        self.matches.iter().any(|matched| portcullis_router::meets(matched, &request))
    }

    /// There is one limit, whoever asks.
    pub(crate) fn has_one_limit(&self) -> bool {
        self.plans().all(|(_, plan)| plan.shapes.len() == 1)
    }

    fn tier(&self, facts: &Facts<'_>) -> (Option<&str>, &Plan) {
        let found = self.tier_from.as_ref().and_then(|part| match part.value(facts)? {
            Value::Bytes(bytes) => self.tiers.binary_search_by(|(value, _)| value.as_bytes().cmp(bytes.as_ref())).ok(),
            network => {
                let mut text = String::new();
                network.write(&mut text);
                self.tiers.binary_search_by(|(value, _)| (**value).cmp(&text)).ok()
            }
        });
        match found {
            Some(index) => (Some(&self.tiers[index].0), &self.tiers[index].1),
            None => (None, &self.plan),
        }
    }

    /// The parts of the key as they are in a request.
    fn values(&self, facts: &Facts<'_>, by_address: bool, mut each: impl FnMut(Value<'_>)) {
        let instead = Value::InsteadOf(facts.client.to_canonical());
        if by_address {
            return each(instead);
        }
        for part in &self.key {
            each(part.value(facts).unwrap_or_else(|| instead.clone()));
        }
    }

    /// None: the rule does not apply, or denies. A failing expression costs 1 where the address stands in for what is
    /// missing.
    fn cost(&self, facts: &Facts<'_>) -> Option<u64> {
        match &self.cost {
            CompiledCost::Units(units) => Some(*units),
            CompiledCost::Expression(program) => {
                match program.integer(facts).ok().and_then(|cost| u64::try_from(cost).ok()) {
                    Some(cost) => Some(cost.min(u64::from(u32::MAX))),
                    None => (self.on_missing_key == OnMissingKey::SharedBucket).then_some(1),
                }
            }
        }
    }

    pub(crate) fn key(&self) -> &[Part] {
        &self.key
    }

    pub(crate) fn secret(&self) -> Arc<Secret> {
        Arc::clone(&self.secret)
    }

    /// To whatever request; none is looked at.
    pub(crate) fn applies_always(&self) -> bool {
        self.matches.is_empty() && self.when.is_empty()
    }

    /// What every request costs.
    pub(crate) fn fixed_cost(&self) -> Option<u64> {
        match self.cost {
            CompiledCost::Units(units) => Some(units),
            CompiledCost::Expression(_) => None,
        }
    }

    /// What holds for whoever asks.
    pub(crate) fn sole_plan(&self) -> Option<&Plan> {
        self.tier_from.is_none().then_some(&self.plan)
    }

    pub(crate) fn with_values(&self, tier: Option<&str>, values: Vec<Value<'_>>) -> Result<Named<'_>, InvalidKey> {
        let unknown = |tier: &str| InvalidKey::Tier(tier.to_owned());
        let (tier, plan) = match tier {
            None => (None, &self.plan),
            Some(tier) => {
                let index = self.tiers.binary_search_by(|(value, _)| (**value).cmp(tier)).map_err(|_| unknown(tier))?;
                (Some(&*self.tiers[index].0), &self.tiers[index].1)
            }
        };
        let mut hasher = self.secret.hasher();
        let mut text = Text::begin(tier);
        if let Some(tier) = tier {
            hasher.write(tier.as_bytes());
        }
        for value in values {
            value.hash(&mut hasher);
            text.part(&value);
        }
        let applied = Applied { rule: self, plan, hash: hasher.finish(), cost: 1, by_address: false };
        Ok(Named { applied, text: text.0 })
    }

    /// The plans by the value that chooses them; the first is everybody else's.
    pub fn plans(&self) -> impl Iterator<Item = (Option<&str>, &Plan)> {
        std::iter::once((None, &self.plan)).chain(self.tiers.iter().map(|(value, plan)| (Some(&**value), plan)))
    }
}

impl<'p> Applied<'p> {
    /// The key as a text that every replica has alike: the tier, a semicolon, and the parts joined by commas.
    pub fn key_text(&self, facts: &Facts<'_>) -> String {
        let mut text = Text::begin(self.rule.tier(facts).0);
        self.rule.values(facts, self.by_address, |value| text.part(&value));
        text.0
    }
}

/// A key as a text, in the making.
struct Text(String);

impl Text {
    fn begin(tier: Option<&str>) -> Self {
        let mut text = String::new();
        if let Some(tier) = tier {
            Value::Bytes(tier.as_bytes().into()).write(&mut text);
        }
        text.push(';');
        Self(text)
    }

    fn part(&mut self, value: &Value<'_>) {
        if !self.0.ends_with(';') {
            self.0.push(',');
        }
        value.write(&mut self.0);
    }
}

impl Plan {
    fn compile(rule: &str, limits: &[Limit]) -> Self {
        let shapes: Vec<Shape> = limits.iter().take(LIMITS).map(Shape::from).collect();
        let name = |index: usize| if shapes.len() == 1 { rule.to_owned() } else { format!("{rule}.{}", index + 1) };
        let names: Vec<Box<str>> = (0..shapes.len()).map(|index| name(index).into()).collect();
        let policy = answer::policy(names.iter().map(|name| &**name).zip(&shapes));
        Self { shapes, policy, names }
    }
}
