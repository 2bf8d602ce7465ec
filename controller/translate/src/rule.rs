//! One rule of an HTTPRoute. A rule that cannot be honoured denies: it is never skipped, and never falls back to what
//! it was.

use gateway_api::httproutes::{HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesTimeouts};
use portcullis_ir::{Action, Failure, Filter, Match, PathMatch, Target, Timeouts, WeightedBackend};

use crate::backend::{InvalidReference, Resolver};
use crate::condition::Reason;
use crate::duration;
use crate::filter_view::{FilterView, RefView};
use crate::filters::{self, Filters, InvalidFilter, Place};
use crate::matches::{self, InvalidMatch};

/// Longest name of a rule (`SectionName`).
const MAX_NAME: usize = 253;
/// Most matches of a rule (`HTTPRouteRule.matches`).
const MAX_MATCHES: usize = 64;
/// Most backends of a rule (`HTTPRouteRule.backendRefs`).
const MAX_BACKENDS: usize = 16;
/// Highest weight (`BackendRef.weight`).
const MAX_WEIGHT: i32 = 1_000_000;

/// A rule without its attachments.
#[derive(Clone, Debug)]
pub(crate) struct CompiledRule {
    pub(crate) name: Option<Box<str>>,
    /// Empty if none can be honoured: then there is nothing that a request could match.
    pub(crate) matches: Vec<Match>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) action: Action,
    pub(crate) timeouts: Timeouts,
}

/// Why a rule denies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRule {
    #[error("matches[{at}]: {error}")]
    Match { at: usize, error: InvalidMatch },
    #[error("more than {MAX_MATCHES} matches; split the rule")]
    ManyMatches,
    #[error("{0}")]
    Filter(#[from] InvalidFilter),
    #[error("backendRefs[{at}]: {error}")]
    BackendFilter { at: usize, error: InvalidFilter },
    #[error("more than {MAX_BACKENDS} backendRefs; split the rule")]
    ManyBackends,
    #[error("backendRefs[{at}].weight {weight} is out of range; give 0 to {MAX_WEIGHT}")]
    Weight { at: usize, weight: i32 },
    #[error("timeouts.{field} {value:?} is no Gateway API duration; write it like 500ms or 1m30s")]
    Timeout { field: &'static str, value: String },
    #[error("timeouts.backendRequest is longer than timeouts.request; shorten it")]
    TimeoutOrder,
}

impl InvalidRule {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Filter(error) | Self::BackendFilter { error, .. } => error.reason(),
            _ => Reason::UnsupportedValue,
        }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Match { .. } | Self::ManyMatches => Failure::InvalidMatch,
            _ => Failure::InvalidFilter,
        }
    }
}

/// References of a rule that name nothing usable, each with its place.
pub(crate) type Unresolved = Vec<(String, InvalidReference)>;

/// `at` is the rule's position, for messages.
pub(crate) fn compile(
    at: usize,
    rule: &HttpRouteRules,
    resolver: &mut Resolver<'_, '_, '_>,
    unresolved: &mut Unresolved,
) -> (CompiledRule, Option<InvalidRule>) {
    let HttpRouteRules { backend_refs, filters, matches, name, timeouts } = rule;
    // A name is for people and never a reason to refuse a rule; one that cannot be carried is left out.
    let name = name.as_deref().filter(|name| (1..=MAX_NAME).contains(&name.len())).map(Into::into);
    let (matches, match_error) = compile_matches(matches.as_deref().unwrap_or_default());
    let prefixes = matches.iter().all(|matched| matches!(matched.path, PathMatch::Prefix(_)));
    let backend_refs = backend_refs.as_deref().unwrap_or_default();
    // References are resolved even if the rule denies: their condition is independent of it.
    let backends = compile_backends(at, backend_refs, prefixes, resolver, unresolved);
    let place = Place::Rule { prefixes, backends: !backend_refs.is_empty() };
    let filters = filters::translate(filters.iter().flatten().map(FilterView::from), place, &mut |view| {
        let resolved = resolver.resolve(view);
        resolved.map_err(|error| unresolved.push((format!("rules[{at}] mirror"), error))).ok()
    });
    let timeouts = timeouts.as_ref().map_or(Ok(Timeouts::default()), compile_timeouts);
    let body = || -> Result<(Filters, Vec<WeightedBackend>, Timeouts), InvalidRule> {
        match match_error {
            Some(error) => Err(error),
            None => Ok((filters?, backends?, timeouts?)),
        }
    };
    match body() {
        Ok((Filters { filters, redirect }, backends, timeouts)) => {
            let action = redirect.map_or(Action::Forward(backends), Action::Redirect);
            (CompiledRule { name, matches, filters, action, timeouts }, None)
        }
        Err(error) => {
            let action = Action::Fail(error.failure());
            let timeouts = Timeouts::default();
            (CompiledRule { name, matches, filters: Vec::new(), action, timeouts }, Some(error))
        }
    }
}

/// The matches that can be honoured, and the first error. No match at all means every request
/// (`HTTPRouteRule.matches`).
fn compile_matches(list: &[gateway_api::httproutes::HttpRouteRulesMatches]) -> (Vec<Match>, Option<InvalidRule>) {
    if list.is_empty() {
        return (vec![Match::default()], None);
    }
    let mut error = (list.len() > MAX_MATCHES).then_some(InvalidRule::ManyMatches);
    let mut compiled = Vec::with_capacity(list.len());
    for (at, matched) in list.iter().take(MAX_MATCHES).enumerate() {
        match matches::translate(matched) {
            Ok(matched) => compiled.push(matched),
            Err(why) => error = error.or(Some(InvalidRule::Match { at, error: why })),
        }
    }
    (compiled, error)
}

fn compile_backends(
    at: usize,
    list: &[HttpRouteRulesBackendRefs],
    prefixes: bool,
    resolver: &mut Resolver<'_, '_, '_>,
    unresolved: &mut Unresolved,
) -> Result<Vec<WeightedBackend>, InvalidRule> {
    let mut error = (list.len() > MAX_BACKENDS).then_some(InvalidRule::ManyBackends);
    let mut backends = Vec::with_capacity(list.len());
    for (index, reference) in list.iter().take(MAX_BACKENDS).enumerate() {
        let HttpRouteRulesBackendRefs { filters, group, kind, name, namespace, port, weight } = reference;
        let view = RefView {
            group: group.as_deref(),
            kind: kind.as_deref(),
            name,
            namespace: namespace.as_deref(),
            port: *port,
        };
        let target = match resolver.resolve(view) {
            Ok(key) => Target::Backend(key),
            Err(why) => {
                unresolved.push((format!("rules[{at}].backendRefs[{index}]"), why));
                Target::Invalid(Failure::InvalidBackend)
            }
        };
        let place = Place::BackendRef { prefixes };
        let views = filters.iter().flatten().map(FilterView::from);
        match (filters::translate(views, place, &mut |_| None), compile_weight(index, *weight)) {
            (Ok(Filters { filters, redirect: _ }), Ok(weight)) => {
                backends.push(WeightedBackend { target, weight, filters });
            }
            (Err(why), _) => error = error.or(Some(InvalidRule::BackendFilter { at: index, error: why })),
            (_, Err(why)) => error = error.or(Some(why)),
        }
    }
    error.map_or(Ok(backends), Err)
}

fn compile_weight(at: usize, weight: Option<i32>) -> Result<u32, InvalidRule> {
    let weight = weight.unwrap_or(1);
    u32::try_from(weight).ok().filter(|_| weight <= MAX_WEIGHT).ok_or(InvalidRule::Weight { at, weight })
}

/// `0s` means no limit ("A zero-valued timeout disables the timeout", `HTTPRouteTimeouts`).
fn compile_timeouts(timeouts: &HttpRouteRulesTimeouts) -> Result<Timeouts, InvalidRule> {
    let HttpRouteRulesTimeouts { backend_request, request } = timeouts;
    let parse = |field, value: Option<&str>| {
        let Some(value) = value else { return Ok::<_, InvalidRule>(None) };
        let parsed = duration::parse(value).ok_or_else(|| InvalidRule::Timeout { field, value: value.to_owned() })?;
        Ok(Some(parsed).filter(|duration| !duration.is_zero()))
    };
    let timeouts = Timeouts {
        request: parse("request", request.as_deref())?,
        backend_request: parse("backendRequest", backend_request.as_deref())?,
    };
    match timeouts {
        Timeouts { request: Some(request), backend_request: Some(one_try) } if one_try > request => {
            Err(InvalidRule::TimeoutOrder)
        }
        _ => Ok(timeouts),
    }
}
