//! The limits in force at one place, compiled.

use portcullis_expressions::{Facts, InvalidExpression};
use portcullis_ir::Limits;
use portcullis_router::{Bind, Request};
use smallvec::SmallVec;

use crate::counter::Registry;
use crate::rule::{Application, Applied, Rule};

/// Rules by when they can run.
#[derive(Debug)]
pub struct Program {
    /// Those that look at nothing that authentication finds out, and then the others.
    rules: Box<[Rule]>,
    early: usize,
}

/// Before authentication, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Early,
    Late,
}

/// The rules that apply to a request.
#[derive(Debug, Default)]
pub struct Round<'p> {
    /// The first rule that denies because something is missing.
    pub denied: Option<&'p Rule>,
    /// That would deny, and lets pass.
    pub shadow_denied: SmallVec<[&'p Rule; 1]>,
    pub applied: SmallVec<[Applied<'p>; 2]>,
}

/// A rule that was left out: it is inert, the others go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule} of rate limit policy {policy} is left out: {error}")]
pub struct InertRule {
    pub policy: String,
    pub rule: Box<str>,
    pub error: InvalidExpression,
}

impl Program {
    /// Counters that are there already are found in `registry`.
    pub fn compile(limits: &Limits, registry: &mut Registry) -> (Self, Vec<InertRule>) {
        let mut inert = Vec::new();
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for rule in &limits.rules {
            match Rule::compile(rule, registry) {
                Ok(rule) if rule.late => late.push(rule),
                Ok(rule) => early.push(rule),
                Err(error) => {
                    let policy = rule.origin.to_string();
                    inert.push(InertRule { policy, rule: rule.name.clone(), error });
                }
            }
        }
        let first_late = early.len();
        early.extend(late);
        (Self { rules: early.into(), early: first_late }, inert)
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub fn phase(&self, phase: Phase) -> &[Rule] {
        match phase {
            Phase::Early => &self.rules[..self.early],
            Phase::Late => &self.rules[self.early..],
        }
    }

    /// What of a phase applies to a request.
    #[inline]
    pub fn round<'p>(&'p self, phase: Phase, facts: &Facts<'_>) -> Round<'p> {
        let request = Request {
            bind: Bind { address: None, port: 0 },
            sni: None,
            host: facts.host,
            path: facts.path,
            method: facts.method,
            headers: facts.headers,
            query: facts.query,
        };
        let mut round = Round::default();
        for rule in self.phase(phase) {
            match rule.apply(facts, &request) {
                Application::Not => {}
                Application::Denied if rule.shadow => round.shadow_denied.push(rule),
                Application::Denied => round.denied = round.denied.or(Some(rule)),
                Application::Applied(applied) => round.applied.push(applied),
            }
        }
        round
    }
}

#[cfg(test)]
mod tests;
