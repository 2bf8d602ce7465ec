//! The limits in force at one place, compiled.

use std::net::IpAddr;

use http::HeaderMap;
use portcullis_expressions::{Facts, InvalidExpression};
use portcullis_ir::Limits;
use smallvec::SmallVec;

use crate::charge::charge_one;
use crate::counter::Registry;
use crate::quick::Quick;
use crate::rule::{Application, Applied, Rule};
use crate::shape::{Shape, Standing};
use crate::time::Time;

/// Rules by when they can run.
#[derive(Debug)]
pub struct Program {
    /// Those that look at nothing that authentication finds out, and then the others.
    rules: Box<[Rule]>,
    early: usize,
    /// There is one rule, which asks nothing of authentication, with one limit for whoever asks.
    sole: bool,
    quick: Option<Quick>,
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

/// What the only limit says, after it has counted.
#[derive(Clone, Copy, Debug)]
pub enum Sole<'p> {
    NotApplied,
    /// Something is missing that must not be.
    Denied(&'p Rule),
    /// And where the key stands now.
    Passes(Applied<'p>, Passed<'p>),
    /// And when to come again.
    Refused(Applied<'p>, Standing),
}

/// A key's word after it was counted.
#[derive(Clone, Copy, Debug)]
pub struct Passed<'p> {
    shape: &'p Shape,
    word: u64,
    now: Time,
}

impl Passed<'_> {
    pub fn standing(self) -> Standing {
        self.shape.standing(self.word, self.now)
    }
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
        let sole = first_late == 1 && early.len() == 1 && early[0].has_one_limit();
        let quick = early.first().filter(|_| sole).and_then(Quick::of);
        (Self { rules: early.into(), early: first_late, sole, quick }, inert)
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

    /// The only rule, if it has one limit: then nothing has to be collected, nor taken back.
    #[inline]
    pub fn sole(&self) -> Option<&Rule> {
        if self.sole { self.rules.first() } else { None }
    }

    /// Whether a request passes whatever there is; then it is counted. Else nothing is, and all has to be asked: yes is
    /// only said of a place's only limit, to a client that was seen before and need not be told anything.
    #[inline]
    pub fn pass(&self, headers: &HeaderMap, client: IpAddr, now: impl FnOnce() -> Time) -> bool {
        match &self.quick {
            Some(quick) => quick.pass(headers, client, now()),
            None => false,
        }
    }

    /// What of a phase applies to a request.
    #[inline]
    pub fn round<'p>(&'p self, phase: Phase, facts: &Facts<'_>) -> Round<'p> {
        let mut round = Round::default();
        for rule in self.phase(phase) {
            match rule.apply(facts) {
                Application::Not => {}
                Application::Denied if rule.shadow => round.shadow_denied.push(rule),
                Application::Denied => round.denied = round.denied.or(Some(rule)),
                Application::Applied(applied) => round.applied.push(applied),
            }
        }
        round
    }
}

impl Rule {
    /// As [`Program::round`] and [`crate::charge()`] with this replica's own counters, for [`Program::sole`].
    pub fn decide<'p>(&'p self, facts: &Facts<'_>, now: Time) -> Sole<'p> {
        match self.apply(facts) {
            Application::Not => Sole::NotApplied,
            Application::Denied => Sole::Denied(self),
            Application::Applied(applied) => self.count(applied, now),
        }
    }

    #[inline]
    fn count<'p>(&'p self, applied: Applied<'p>, now: Time) -> Sole<'p> {
        let ([shape, ..], [table, ..]) = (&applied.plan.shapes[..], &self.counters.own[..]) else {
            return Sole::NotApplied;
        };
        match charge_one(&applied, shape, table, now) {
            Ok(word) => Sole::Passes(applied, Passed { shape, word, now }),
            Err(standing) => Sole::Refused(applied, standing),
        }
    }
}

#[cfg(test)]
mod tests;
