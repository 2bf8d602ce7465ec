//! What a key has left, and giving it all back: the admin page `/quotas`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use portcullis_ir::LimitScope;
use portcullis_limits::{Book, InvalidKey, Rule, Shape, StoreFailure};
use serde::Serialize;

use super::program::Fleet;
use super::store::asked_directly;
use super::{LimitProgram, State};

/// Which rule under which key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QuotaQuestion {
    /// `namespace/name`.
    pub(crate) policy: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) tier: Option<String>,
    /// A value for each part of the rule's key.
    pub(crate) key: Vec<String>,
    pub(crate) reset: bool,
}

/// What is in force, or where a key stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Quotas {
    rules: Vec<RuleQuota>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleQuota {
    policy: String,
    rule: String,
    /// Absent: the policy's targets share their buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    scope: &'static str,
    shadow: bool,
    allowed: u64,
    limited: u64,
    shadowed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    limits: Vec<LimitQuota>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LimitQuota {
    requests: u64,
    /// Seconds, or the name of the calendar's period.
    period: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_seconds: Option<u64>,
}

/// A question that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidQuota {
    #[error("`{0}` is no part of the question; there are policy, rule, tier and key")]
    Unknown(String),
    #[error("no such rule is in force; ask without `rule` for those that are")]
    NoRule,
    #[error("name a policy and a rule, so that only one key is reset")]
    Everything,
    #[error("{0}")]
    Key(#[from] InvalidKey),
    #[error("{0}; what replicas share is only known there")]
    Store(#[from] StoreFailure),
}

impl InvalidQuota {
    /// Of the answer.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Unknown(_) | Self::Everything | Self::Key(_) => 400,
            Self::NoRule => 404,
            Self::Store(_) => 503,
        }
    }
}

impl QuotaQuestion {
    /// From the query of an address.
    ///
    /// # Errors
    /// [`InvalidQuota::Unknown`].
    pub(crate) fn parse(query: &str, reset: bool) -> Result<Self, InvalidQuota> {
        let mut question = Self { reset, ..Self::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            match name {
                "policy" => question.policy = Some(value),
                "rule" => question.rule = Some(value),
                "tier" => question.tier = Some(value),
                "key" => question.key.push(value),
                other => return Err(InvalidQuota::Unknown(other.to_owned())),
            }
        }
        if reset && (question.policy.is_none() || question.rule.is_none()) {
            return Err(InvalidQuota::Everything);
        }
        Ok(question)
    }
}

impl State {
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn quotas(&self, question: &QuotaQuestion) -> Result<Quotas, InvalidQuota> {
        let mut rules = BTreeMap::new();
        for program in self.programs() {
            for (index, rule) in program.rules.rules().iter().enumerate() {
                let counters = &rule.counters;
                let named = |asked: &Option<String>, name: &str| asked.as_deref().is_none_or(|asked| asked == name);
                if named(&question.policy, &counters.policy) && named(&question.rule, &rule.name) {
                    let target = counters.id.target.as_ref().map(ToString::to_string);
                    rules.insert((counters.policy.clone(), rule.name.clone(), target), (Arc::clone(&program), index));
                }
            }
        }
        if rules.is_empty() && question.rule.is_some() {
            return Err(InvalidQuota::NoRule);
        }
        let mut quotas = Vec::new();
        for ((_, _, target), (program, index)) in rules {
            let rule = &program.rules.rules()[index];
            // One rule alone is asked about a key; of several it is said that they are.
            let quota = match &question.rule {
                Some(_) => self.standing(&program, index, question, target).await?,
                None => overview(rule, target),
            };
            quotas.push(quota);
        }
        Ok(Quotas { rules: quotas })
    }

    async fn standing(
        &self,
        program: &LimitProgram,
        index: usize,
        question: &QuotaQuestion,
        target: Option<String>,
    ) -> Result<RuleQuota, InvalidQuota> {
        let rule = &program.rules.rules()[index];
        let parts: Vec<&str> = question.key.iter().map(String::as_str).collect();
        let named = rule.under(question.tier.as_deref(), &parts)?;
        let applied = named.applied;
        if question.reset {
            applied.reset();
        }
        let standings = match &program.fleets[index] {
            Some(Fleet { book, link }) => {
                let lease = book.lease(&applied, || named.text.clone());
                asked_directly(link, &lease, &applied.plan.shapes, question.reset, book.now()).await?
            }
            None => applied.peek(Book::Own, self.time(Instant::now(), true)),
        };
        let mut quota = overview(rule, target);
        quota.key = Some(named.text);
        quota.limits = applied.plan.shapes.iter().map(described).collect();
        for (limit, standing) in quota.limits.iter_mut().zip(&standings) {
            (limit.remaining, limit.reset_seconds) = (Some(standing.remaining), Some(standing.reset));
        }
        Ok(quota)
    }

    fn programs(&self) -> Vec<Arc<LimitProgram>> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.retain(|program| program.strong_count() > 0);
        programs.iter().filter_map(Weak::upgrade).collect()
    }
}

fn overview(rule: &Rule, target: Option<String>) -> RuleQuota {
    let tally = &rule.counters.tally;
    RuleQuota {
        policy: rule.counters.policy.to_string(),
        rule: rule.name.to_string(),
        target,
        scope: match rule.scope {
            LimitScope::Replica => "Replica",
            LimitScope::Fleet(_) => "Fleet",
        },
        shadow: rule.shadow,
        allowed: tally.allowed.value(),
        limited: tally.limited.value(),
        shadowed: tally.shadowed.value(),
        key: None,
        limits: rule.plans().next().map(|(_, plan)| plan.shapes.iter().map(described).collect()).unwrap_or_default(),
    }
}

fn described(shape: &Shape) -> LimitQuota {
    let period = match shape {
        Shape::Window(window) => format!("{}s", window.length.div_ceil(1_000_000_000)),
        Shape::Calendar(quota) => format!("{:?}", quota.calendar),
    };
    LimitQuota { requests: shape.requests(), period, remaining: None, reset_seconds: None }
}

fn decoded(value: &str) -> String {
    let bytes = portcullis_router::query_parameter(Some(&format!("v={value}")), "v").map(std::borrow::Cow::into_owned);
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_from_a_query() {
        let question = QuotaQuestion::parse("policy=shop/plans&rule=monthly&tier=gold&key=a%20b&key=~192.0.2.1", false);
        let question = question.unwrap();
        assert_eq!(question.policy.as_deref(), Some("shop/plans"));
        assert_eq!(question.key, ["a b", "~192.0.2.1"]);
        assert_eq!(QuotaQuestion::parse("x=1", false), Err(InvalidQuota::Unknown("x".to_owned())));
        assert_eq!(QuotaQuestion::parse("policy=shop/plans", true), Err(InvalidQuota::Everything));
    }
}
