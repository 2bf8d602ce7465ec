//! The history of one lane, by difference.

use std::collections::{BTreeMap, VecDeque};

use portcullis_ir::{Change, Delta, Resource, ResourceKey};

/// Points and what leads from each to the next. A point's position is the number of steps before it; the newest one's
/// is the number of all steps.
#[derive(Debug)]
pub(crate) struct Chain<P> {
    newest: P,
    /// Where each step starts, and what it changes.
    steps: VecDeque<(P, Vec<Change>)>,
    changes: usize,
    max_steps: usize,
}

/// Changes kept in all, so that the history of a large Gateway under churn stays small beside the Gateway.
const MAX_CHANGES: usize = 65_536;

impl<P: Copy> Chain<P> {
    pub(crate) fn new(first: P, max_steps: usize) -> Self {
        Self { newest: first, steps: VecDeque::new(), changes: 0, max_steps }
    }

    pub(crate) fn newest(&self) -> P {
        self.newest
    }

    /// Goes on to `to`; the oldest points are forgotten where there are too many.
    pub(crate) fn push(&mut self, to: P, changes: Vec<Change>) {
        self.changes += changes.len();
        self.steps.push_back((std::mem::replace(&mut self.newest, to), changes));
        while self.steps.len() > self.max_steps || self.changes > MAX_CHANGES {
            let Some((_, forgotten)) = self.steps.pop_front() else { break };
            self.changes -= forgotten.len();
        }
    }

    /// The newest point that fits.
    pub(crate) fn find(&self, fits: impl Fn(P) -> bool) -> Option<(usize, P)> {
        if fits(self.newest) {
            return Some((self.steps.len(), self.newest));
        }
        let known = self.steps.iter().enumerate().rev();
        known.map(|(position, (point, _))| (position, *point)).find(|(_, point)| fits(*point))
    }

    pub(crate) fn newest_position(&self) -> usize {
        self.steps.len()
    }

    /// What leads from one position to another, in either direction.
    pub(crate) fn between(&self, from: usize, to: usize) -> Delta {
        let mut net: BTreeMap<ResourceKey, Change> = BTreeMap::new();
        let mut fold = |before: &Option<Resource>, after: &Option<Resource>| {
            let Some(key) = after.as_ref().or(before.as_ref()).map(Resource::key) else { return };
            let change = net.entry(key).or_insert_with(|| Change { before: before.clone(), after: None });
            change.after.clone_from(after);
        };
        if from <= to {
            let steps = self.steps.range(from..to);
            steps.flat_map(|(_, changes)| changes).for_each(|change| fold(&change.before, &change.after));
        } else {
            let steps = self.steps.range(to..from).rev();
            let backwards = steps.flat_map(|(_, changes)| changes.iter().rev());
            backwards.for_each(|change| fold(&change.after, &change.before));
        }
        let mut delta = Delta::default();
        for (key, Change { before, after }) in net {
            match after {
                after if after == before => {}
                Some(after) => delta.upserts.push(after),
                None => delta.removals.push(key),
            }
        }
        delta
    }
}
