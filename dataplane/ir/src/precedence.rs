//! Which of several matches wins: one `Ord`.

use std::cmp::Ordering;
use std::cmp::Reverse;

use crate::{HostPattern, Match, PathMatch, Route, RouteKey, StringMatch};

/// How a path match ranks. Greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathRank {
    /// The prefix `/`, which every path has.
    Root,
    /// A gRPC method of any service; among expressions longer sources go first.
    GrpcMethodRegex(usize),
    GrpcMethod,
    /// By characters.
    Prefix(usize),
    /// Where the spec leaves regular expressions open, we put them between exact and prefix, longer sources first.
    Regex(usize),
    Exact,
}

/// The rank of one match of one rule under one hostname; the greatest that matches a request takes it.
///
/// "Proxy or Load Balancer routing configuration generated from HTTPRoutes MUST prioritize matches based on the
/// following criteria, continuing on ties. Across all rules specified on applicable Routes, precedence must be given
/// to the match having: 'Exact' path match; 'Prefix' path match with largest number of characters; Method match;
/// Largest number of header matches; Largest number of query param matches. … If ties still exist across multiple
/// Routes, matching precedence MUST be determined in order of the following criteria, continuing on ties: The oldest
/// Route based on creation timestamp; The Route appearing first in alphabetical order by `{namespace}/{name}`. If
/// ties still exist within an HTTPRoute, matching precedence MUST be granted to the FIRST matching rule (in list
/// order)" (Gateway API `HTTPRouteRule.matches`). The hostname comes before all of that (`HTTPRouteSpec.hostnames`).
///
/// For a GRPCRoute: "Precedence MUST be given to the rule with the largest number of: Characters in a matching
/// non-wildcard hostname; Characters in a matching hostname; Characters in a matching service; Characters in a matching
/// method; Header matches" (`GRPCRouteRule.matches`), then the same ties. Of one call all exact services are equally
/// long, and so are all exact methods: service and method ([`PathRank::Exact`]), service ([`PathRank::Prefix`]), method
/// ([`PathRank::GrpcMethod`]) and neither ([`PathRank::Root`]) is that order.
///
/// Total for different rules: two are `Equal` only when they are the same match of the same rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precedence<'a> {
    /// The hostname looked up by: more specific tables are asked first.
    pub effective: &'a HostPattern,
    /// The hostname as the route wrote it.
    pub written: &'a HostPattern,
    pub path: PathRank,
    pub method: bool,
    pub headers: usize,
    pub query: usize,
    pub created: Reverse<i64>,
    pub key: Reverse<&'a RouteKey>,
    /// Position of the match within its rule.
    pub position: Reverse<usize>,
}

impl PathRank {
    pub fn of(path: &PathMatch) -> Self {
        match path {
            PathMatch::Exact(_) => Self::Exact,
            PathMatch::Prefix(prefix) if &**prefix == "/" => Self::Root,
            PathMatch::Prefix(prefix) => Self::Prefix(prefix.len()),
            PathMatch::Regex(pattern) => Self::Regex(pattern.as_str().len()),
            PathMatch::GrpcMethod(StringMatch::Exact(_)) => Self::GrpcMethod,
            PathMatch::GrpcMethod(StringMatch::Regex(pattern)) => Self::GrpcMethodRegex(pattern.as_str().len()),
        }
    }
}

impl<'a> Precedence<'a> {
    pub fn of(
        route: &'a Route,
        effective: &'a HostPattern,
        written: &'a HostPattern,
        position: usize,
        matched: &Match,
    ) -> Self {
        Self {
            effective,
            written,
            path: PathRank::of(&matched.path),
            method: matched.method.is_some(),
            headers: matched.headers.len(),
            query: matched.query.len(),
            created: Reverse(route.created),
            key: Reverse(&route.key),
            position: Reverse(position),
        }
    }
}

impl Ord for Precedence<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.effective
            .cmp(other.effective)
            .then_with(|| self.written.cmp(other.written))
            .then_with(|| self.path.cmp(&other.path))
            .then_with(|| self.method.cmp(&other.method))
            .then_with(|| self.headers.cmp(&other.headers))
            .then_with(|| self.query.cmp(&other.query))
            .then_with(|| self.created.cmp(&other.created))
            .then_with(|| self.key.cmp(&other.key))
            .then_with(|| self.position.cmp(&other.position))
    }
}

impl PartialOrd for Precedence<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
