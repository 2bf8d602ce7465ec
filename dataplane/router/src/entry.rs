//! One match of one compiled rule: what the tables hold.

use std::cmp::Ordering;
use std::sync::Arc;

use portcullis_ir::{HostPattern, Match, Precedence};

use crate::Rule;

/// Ordered by [`Precedence`], the greatest first, so that the first entry of a sorted list that matches wins.
pub(crate) struct Entry<T> {
    pub(crate) rule: Arc<Rule<T>>,
    /// Which of the rule's matches.
    position: u32,
}

/// Entries are compared within one table, where the hostnames are the same.
static SAME_HOST: HostPattern = HostPattern::Any;

impl<T> Entry<T> {
    /// One for each match of the rule.
    pub(crate) fn of(rule: &Arc<Rule<T>>) -> impl Iterator<Item = Self> + '_ {
        (0..).zip(&rule.route.matches).map(|(position, _)| Self { rule: Arc::clone(rule), position })
    }

    pub(crate) fn matched(&self) -> &Match {
        // `position` was counted along this very list, which is immutable.
        &self.rule.route.matches[self.position as usize]
    }

    fn precedence(&self) -> Precedence<'_> {
        Precedence::of(&self.rule.route, &SAME_HOST, &SAME_HOST, self.position as usize, self.matched())
    }
}

// Derived, these would ask for `T: Clone` and the like.
impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { rule: Arc::clone(&self.rule), position: self.position }
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.precedence().cmp(&self.precedence())
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}
