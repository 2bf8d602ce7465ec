//! The decision.

use std::fmt;
use std::sync::Arc;

use portcullis_ir::{Listener, Match, Route};

/// A compiled rule.
#[derive(Debug)]
pub struct Rule<T> {
    pub route: Arc<Route>,
    /// What the caller made of the route, once, when it was compiled.
    pub payload: T,
}

/// What `find` decides.
#[derive(Debug)]
pub enum Outcome<'r, T> {
    Found(Found<'r, T>),
    /// 404. The listener is there when one serves the host but no rule on it matches.
    NotFound {
        listener: Option<&'r Arc<Listener>>,
    },
    /// 421: the host belongs to another listener of the port than the one that the TLS connection was opened to.
    Misdirected,
}

/// The rule that takes a request, and why.
pub struct Found<'r, T> {
    pub rule: &'r Arc<Rule<T>>,
    /// The one of the rule's matches that won.
    pub matched: &'r Match,
    pub listener: &'r Arc<Listener>,
}

impl<T> Clone for Found<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Found<'_, T> {}

impl<T> Clone for Outcome<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Outcome<'_, T> {}

impl<T> fmt::Debug for Found<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("route", &self.rule.route.key)
            .field("matched", self.matched)
            .field("listener", &self.listener.key)
            .finish()
    }
}
