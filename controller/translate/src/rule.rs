//! One rule of an HTTPRoute. A rule that cannot be honoured denies: it is never skipped, and never falls back to what
//! it was.

use std::sync::Arc;

use gateway_api::experimental::httproutes::{HttpRouteRules, HttpRouteRulesTimeouts};
use portcullis_ir::{
    Action, Failure, Filter, Match, PathMatch, Retry, RouteKey, SessionPersistence, Target, Timeouts, WeightedBackend,
};

use crate::NamespacedName;
use crate::backend::{InvalidReference, Resolver};
use crate::backend_ref::BackendRefView;
use crate::condition::Reason;
use crate::duration;
use crate::filter_view::FilterView;
use crate::filters::{self, Filters, InvalidFilter, Place};
use crate::matches::{self, InvalidMatch};
use crate::persistence::{self, InvalidPersistence, SessionView};
use crate::retry::{self, InvalidRetry};

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
    pub(crate) retry: Option<Retry>,
    pub(crate) persistence: Option<SessionPersistence>,
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
    #[error("{0}")]
    Retry(#[from] InvalidRetry),
    #[error("{0}")]
    Persistence(#[from] InvalidPersistence),
}

impl InvalidRule {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Filter(error) | Self::BackendFilter { error, .. } => error.reason(),
            _ => Reason::UnsupportedValue,
        }
    }

    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Match { .. } | Self::ManyMatches => Failure::InvalidMatch,
            _ => Failure::InvalidFilter,
        }
    }
}

/// References of a rule that name nothing usable, each with its place.
pub(crate) type Unresolved = Vec<(String, InvalidReference)>;

/// `at` is the rule's position and `route` the name of its object, for messages and for names that are made.
pub(crate) fn compile(
    at: usize,
    rule: &HttpRouteRules,
    route: &NamespacedName,
    resolver: &mut Resolver<'_, '_, '_>,
    unresolved: &mut Unresolved,
) -> (CompiledRule, Option<InvalidRule>) {
    let HttpRouteRules { backend_refs, filters, matches, name, timeouts, retry, session_persistence } = rule;
    let name = compile_name(name.as_deref());
    let (matches, match_error) = compile_matches(matches.as_deref().unwrap_or_default(), matches::translate);
    let prefixes = matches.iter().all(|matched| matches!(matched.path, PathMatch::Prefix(_)));
    let backend_refs = backend_refs.as_deref().unwrap_or_default();
    // References are resolved even if the rule denies: their condition is independent of it.
    let backends = compile_backends(at, backend_refs, prefixes, resolver, unresolved);
    let place = Place::Rule { prefixes, backends: !backend_refs.is_empty() };
    let filters = filters::translate(filters.iter().flatten().map(FilterView::from), place, &mut |view, named| {
        let resolved = resolver.resolve(view);
        resolved.map_err(|error| unresolved.push((format!("rules[{at}] {}", named.as_str()), error))).ok()
    });
    let timeouts = timeouts.as_ref().map_or(Ok(Timeouts::default()), compile_timeouts);
    let retry = retry.as_ref().map(retry::translate).transpose();
    let persistence = session_persistence.as_ref().map(|session| {
        // A key counts to 65,535; an object so large never gets past an API server.
        let at = u16::try_from(at).unwrap_or(u16::MAX);
        let key = RouteKey::http(Arc::clone(&route.namespace), Arc::clone(&route.name), at);
        persistence::translate(&SessionView::from(session), &key)
    });
    let body = || -> Result<_, InvalidRule> {
        match match_error {
            Some(error) => Err(error),
            None => Ok((filters?, backends?, timeouts?, retry?, persistence.transpose()?)),
        }
    };
    match body() {
        Ok((Filters { filters, redirect }, backends, timeouts, retry, persistence)) => {
            let action = redirect.map_or(Action::Forward(backends), |redirect| Action::Redirect(Box::new(redirect)));
            (CompiledRule { name, matches, filters, action, timeouts, retry, persistence }, None)
        }
        Err(error) => {
            let (action, filters, timeouts) = (Action::Fail(error.failure()), Vec::new(), Timeouts::default());
            let rule = CompiledRule { name, matches, filters, action, timeouts, retry: None, persistence: None };
            (rule, Some(error))
        }
    }
}

/// A name is for people and never a reason to refuse a rule; one that cannot be carried is left out.
pub(crate) fn compile_name(name: Option<&str>) -> Option<Box<str>> {
    name.filter(|name| (1..=MAX_NAME).contains(&name.len())).map(Into::into)
}

/// The matches that can be honoured, and the first error. No match at all means every request
/// (`HTTPRouteRule.matches`, `GRPCRouteRule.matches`).
pub(crate) fn compile_matches<M>(
    list: &[M],
    translate: impl Fn(&M) -> Result<Match, InvalidMatch>,
) -> (Vec<Match>, Option<InvalidRule>) {
    if list.is_empty() {
        return (vec![Match::default()], None);
    }
    let mut error = (list.len() > MAX_MATCHES).then_some(InvalidRule::ManyMatches);
    let mut compiled = Vec::with_capacity(list.len());
    for (at, matched) in list.iter().take(MAX_MATCHES).enumerate() {
        match translate(matched) {
            Ok(matched) => compiled.push(matched),
            Err(why) => error = error.or(Some(InvalidRule::Match { at, error: why })),
        }
    }
    (compiled, error)
}

pub(crate) fn compile_backends<'r, R>(
    at: usize,
    list: &'r [R],
    prefixes: bool,
    resolver: &mut Resolver<'_, '_, '_>,
    unresolved: &mut Unresolved,
) -> Result<Vec<WeightedBackend>, InvalidRule>
where
    BackendRefView<'r>: From<&'r R>,
{
    let mut error = (list.len() > MAX_BACKENDS).then_some(InvalidRule::ManyBackends);
    let mut backends = Vec::with_capacity(list.len());
    for (index, reference) in list.iter().take(MAX_BACKENDS).enumerate() {
        let BackendRefView { reference, weight, filters } = BackendRefView::from(reference);
        let target = match resolver.resolve(reference) {
            Ok(key) => Target::Backend(key),
            Err(why) => {
                unresolved.push((format!("rules[{at}].backendRefs[{index}]"), why));
                Target::Invalid(Failure::InvalidBackend)
            }
        };
        let place = Place::BackendRef { prefixes };
        match (filters::translate(filters, place, &mut |_, _| None), compile_weight(index, weight)) {
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
