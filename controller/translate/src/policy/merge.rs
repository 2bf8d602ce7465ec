//! Policies of one kind at one place, the most general first, merged to what counts there (GEP-713).
//!
//! From the most specific upwards, each policy is laid over what is below it by its own strategy. So a policy decides
//! about those below it and never about those above, and whoever stands highest has the last word where it wants it.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_crds::MergeStrategy;

use super::Policy;
use super::level::Level;

/// What counts at a place.
#[derive(Debug)]
pub(crate) struct Merged<P: Policy> {
    pub(crate) outcome: Outcome<P>,
    pub(crate) fates: Vec<Fate>,
}

#[derive(Debug)]
pub(crate) enum Outcome<P: Policy> {
    /// No policy.
    Nothing,
    Parts(BTreeMap<P::Key, Part<P>>),
    /// A policy at this level cannot be honoured, and others do not make up for it.
    Broken(usize),
}

#[derive(Debug)]
pub(crate) struct Part<P: Policy> {
    pub(crate) value: P::Value,
    /// The level that it comes from.
    pub(crate) level: usize,
}

/// A part that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// The level that the part is of.
    pub(crate) level: usize,
    /// None: all of the policy.
    pub(crate) part: Option<String>,
    /// The level that it gave way to.
    pub(crate) to: usize,
    pub(crate) how: Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// A default, to a more specific policy.
    Replaced,
    /// To an override.
    Overridden,
}

impl<P: Policy> Part<P> {
    fn at(level: usize, value: &P::Value) -> Self {
        Self { value: value.clone(), level }
    }
}

pub(crate) fn merge<P: Policy>(levels: &[Level<P>]) -> Merged<P> {
    let mut outcome = Outcome::Nothing;
    let mut fates = Vec::new();
    for (at, level) in levels.iter().enumerate().rev() {
        outcome = over(at, level, outcome, &mut fates);
    }
    Merged { outcome, fates }
}

fn over<P: Policy>(at: usize, level: &Level<P>, below: Outcome<P>, fates: &mut Vec<Fate>) -> Outcome<P> {
    let whole = match &level.plan.parts {
        Ok(parts) => Ok(parts),
        Err(_) if P::BROKEN_DENIES => Err(at),
        // As if it were not there.
        Err(_) => return below,
    };
    let first_below = match &below {
        Outcome::Nothing => return alone(at, whole),
        Outcome::Broken(level) => *level,
        Outcome::Parts(parts) => parts.values().map(|part| part.level).min().unwrap_or(at),
    };
    match (level.plan.strategy, whole, below) {
        (MergeStrategy::AtomicDefaults, _, below) => {
            fates.push(Fate { level: at, part: None, to: first_below, how: Lost::Replaced });
            below
        }
        (MergeStrategy::AtomicOverrides, whole, below) => {
            match below {
                Outcome::Parts(parts) => {
                    let lost = parts.iter().map(|(key, part)| lost(part.level, key, at, Lost::Overridden));
                    fates.extend(lost);
                }
                Outcome::Broken(level) => fates.push(Fate { level, part: None, to: at, how: Lost::Overridden }),
                Outcome::Nothing => {}
            }
            alone(at, whole)
        }
        (_, Err(at), _) => Outcome::Broken(at),
        (_, _, Outcome::Broken(level)) => Outcome::Broken(level),
        (MergeStrategy::PatchDefaults, Ok(own), Outcome::Parts(mut parts)) => {
            for (key, value) in own {
                match parts.get(key) {
                    Some(lower) => fates.push(lost(at, key, lower.level, Lost::Replaced)),
                    None => drop(parts.insert(key.clone(), Part::at(at, value))),
                }
            }
            Outcome::Parts(parts)
        }
        (MergeStrategy::PatchOverrides, Ok(own), Outcome::Parts(lower)) => {
            let mut parts: BTreeMap<_, _> = own.iter().map(|(key, value)| (key.clone(), Part::at(at, value))).collect();
            for (key, part) in lower {
                if own.contains_key(&key) || !P::may_add(own, &key, &part.value) {
                    fates.push(lost(part.level, &key, at, Lost::Overridden));
                } else {
                    parts.insert(key, part);
                }
            }
            Outcome::Parts(parts)
        }
        (_, Ok(_), Outcome::Nothing) => Outcome::Nothing,
    }
}

fn alone<P: Policy>(at: usize, whole: Result<&BTreeMap<P::Key, P::Value>, usize>) -> Outcome<P> {
    match whole {
        Ok(parts) => Outcome::Parts(parts.iter().map(|(key, value)| (key.clone(), Part::at(at, value))).collect()),
        Err(level) => Outcome::Broken(level),
    }
}

fn lost(level: usize, part: &impl ToString, to: usize, how: Lost) -> Fate {
    Fate { level, part: Some(part.to_string()), to, how }
}

/// Whether two lists of levels come to the same.
pub(crate) fn same<P: Policy>(one: &[Level<P>], other: &[Level<P>]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one.target == other.target && Arc::ptr_eq(&one.plan, &other.plan))
}
