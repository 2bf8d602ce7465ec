//! One HTTPRoute: attached to its parents, each rule compiled once, and what each parent has to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_api::httproutes::{HttpRoute, HttpRouteParentRefs, HttpRouteRules, HttpRouteStatusParentsParentRef};
use portcullis_ir::{BackendKey, GatewayKey, HostPattern, ListenerKey, Route, RouteHostname, RouteKey};

use crate::NamespacedName;
use crate::attach::{NotAttached, Section, attach, attachments};
use crate::backend::Resolver;
use crate::condition::{ConditionType, Reason, Verdict};
use crate::listener::GATEWAY_GROUP;
use crate::rule::{self, CompiledRule, InvalidRule, Unresolved};
use crate::world::Reader;

/// Most hostnames of a route (`HTTPRouteSpec.hostnames`).
const MAX_HOSTNAMES: usize = 16;
/// Most parents whose status fits (`RouteStatus.parents`).
const MAX_PARENTS: usize = 32;
/// Most problems that one message lists, and the characters of each.
const MAX_LISTED: usize = 8;
const MAX_PROBLEM: usize = 400;

/// What an HTTPRoute comes to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct CompiledRoute {
    /// One entry per parentRef that names a Gateway of ours, in the order written.
    pub(crate) parents: Vec<ParentPlan>,
    /// Its rules for each Gateway, with the attachments to that Gateway's listeners.
    pub(crate) rules: BTreeMap<GatewayKey, Vec<Arc<Route>>>,
    /// Every backend that a rule names.
    pub(crate) backends: Vec<BackendKey>,
    /// The listeners that count it.
    pub(crate) attached: BTreeSet<ListenerKey>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct ParentPlan {
    pub(crate) reference: HttpRouteStatusParentsParentRef,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Rules that deny, by position.
type InvalidRules = BTreeMap<usize, InvalidRule>;

pub(crate) fn compile(reader: &Reader<'_, '_>, name: &NamespacedName, old: Option<&CompiledRoute>) -> CompiledRoute {
    let Some(route) = reader.http_route(name) else { return CompiledRoute::default() };
    let hostnames = Hostnames::parse(&route);
    let mut attached: BTreeMap<ListenerKey, Vec<RouteHostname>> = BTreeMap::new();
    let mut parents: Vec<(&HttpRouteParentRefs, Result<Vec<ListenerKey>, NotAttached>)> = Vec::new();
    for parent in route.spec.parent_refs.iter().flatten().take(MAX_PARENTS) {
        let Some(gateway) = named_gateway(parent, name).and_then(|gateway| reader.gateway(&gateway)) else { continue };
        let section = Section { name: parent.section_name.as_deref(), port: parent.port };
        // A list of hostnames of which none can be read must not turn into "every host".
        if hostnames.none_left() {
            parents.push((parent, Ok(Vec::new())));
            continue;
        }
        let found = attach(reader, &name.namespace, section, &gateway, &hostnames.valid);
        parents.push((parent, found.as_ref().map(|found| found.keys().cloned().collect()).map_err(Clone::clone)));
        attached.extend(found.into_iter().flatten());
    }
    if parents.is_empty() {
        return CompiledRoute::default();
    }

    let mut resolver = Resolver::new(reader, &name.namespace);
    let (rules, invalid, unresolved) = compile_rules(&route, &mut resolver);
    let judged = Judged { rules: rules.len(), hostnames: &hostnames, invalid: &invalid, unresolved: &unresolved };
    let counts = !judged.all_invalid();
    CompiledRoute {
        parents: parents
            .iter()
            .map(|(parent, found)| ParentPlan { reference: reference(parent), verdicts: judged.verdicts(found) })
            .collect(),
        rules: by_gateway(name, &route, &rules, &attached, old),
        backends: resolver.into_used(),
        attached: attached.into_keys().filter(|_| counts).collect(),
    }
}

/// The hostnames that a route writes.
struct Hostnames {
    valid: Vec<HostPattern>,
    invalid: Vec<String>,
}

impl Hostnames {
    fn parse(route: &HttpRoute) -> Self {
        let mut hostnames = Self { valid: Vec::new(), invalid: Vec::new() };
        for raw in route.spec.hostnames.iter().flatten() {
            match HostPattern::parse(raw) {
                _ if hostnames.valid.len() == MAX_HOSTNAMES => {
                    hostnames.invalid.push(format!("{raw:?} (one too many)"))
                }
                Ok(HostPattern::Any) | Err(_) => hostnames.invalid.push(format!("{raw:?}")),
                Ok(pattern) => hostnames.valid.push(pattern),
            }
        }
        hostnames
    }

    fn none_left(&self) -> bool {
        self.valid.is_empty() && !self.invalid.is_empty()
    }
}

fn compile_rules(
    route: &HttpRoute,
    resolver: &mut Resolver<'_, '_, '_>,
) -> (Vec<CompiledRule>, InvalidRules, Unresolved) {
    // "+kubebuilder:default" of `HTTPRouteSpec.rules`: one rule that matches everything, with no backend.
    let default = [HttpRouteRules::default()];
    let list = route.spec.rules.as_deref().unwrap_or(&default);
    let mut invalid = BTreeMap::new();
    let mut unresolved = Vec::new();
    let rules = list.iter().enumerate().map(|(at, rule)| {
        let (compiled, error) = rule::compile(at, rule, resolver, &mut unresolved);
        invalid.extend(error.map(|error| (at, error)));
        compiled
    });
    (rules.collect(), invalid, unresolved)
}

/// The IR of each rule for each Gateway; a rule that did not change keeps its `Arc`.
fn by_gateway(
    name: &NamespacedName,
    route: &HttpRoute,
    rules: &[CompiledRule],
    attached: &BTreeMap<ListenerKey, Vec<RouteHostname>>,
    old: Option<&CompiledRoute>,
) -> BTreeMap<GatewayKey, Vec<Arc<Route>>> {
    let mut listeners: BTreeMap<&GatewayKey, BTreeMap<ListenerKey, Vec<RouteHostname>>> = BTreeMap::new();
    for (listener, hostnames) in attached {
        listeners.entry(&listener.gateway).or_default().insert(listener.clone(), hostnames.clone());
    }
    let created = route.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let compile = |(gateway, listeners): (&GatewayKey, BTreeMap<ListenerKey, Vec<RouteHostname>>)| {
        let known = old.and_then(|old| old.rules.get(gateway)).map(Vec::as_slice).unwrap_or_default();
        let routes = rules.iter().enumerate().filter(|(_, rule)| !rule.matches.is_empty());
        let routes = routes.filter_map(|(at, rule)| {
            let CompiledRule { name: rule_name, matches, filters, action, timeouts } = rule.clone();
            let route = Route {
                // A key counts to 65,535; an object so large never gets past an API server.
                key: RouteKey::http(Arc::clone(&name.namespace), Arc::clone(&name.name), u16::try_from(at).ok()?),
                rule_name,
                created,
                attachments: attachments(&listeners),
                matches,
                filters,
                action,
                timeouts,
            };
            Some(known.iter().find(|known| ***known == route).cloned().unwrap_or_else(|| Arc::new(route)))
        });
        (gateway.clone(), routes.collect())
    };
    listeners.into_iter().map(compile).collect()
}

/// What was found about a route as a whole.
struct Judged<'j> {
    rules: usize,
    hostnames: &'j Hostnames,
    invalid: &'j InvalidRules,
    unresolved: &'j Unresolved,
}

impl Judged<'_> {
    fn all_invalid(&self) -> bool {
        self.hostnames.none_left() || (!self.invalid.is_empty() && self.invalid.len() == self.rules)
    }

    fn verdicts(&self, found: &Result<Vec<ListenerKey>, NotAttached>) -> Vec<Verdict> {
        let accepted = match found {
            Err(error) => Verdict::no(ConditionType::Accepted, error.reason(), error.to_string()),
            Ok(_) => self.accepted(),
        };
        let partial = accepted.state == crate::condition::State::True && !self.invalid.is_empty();
        let mut verdicts = vec![accepted, self.resolved_refs()];
        if partial {
            let message = format!("Dropped Rule: {}", self.describe_invalid());
            verdicts.push(Verdict::yes(ConditionType::PartiallyInvalid, Reason::UnsupportedValue, message));
        }
        verdicts
    }

    /// "A Route MUST be considered Accepted if at least one of the Route's rules is implemented by the Gateway".
    fn accepted(&self) -> Verdict {
        let kind = ConditionType::Accepted;
        if self.hostnames.none_left() {
            let names = self.hostnames.invalid.join(", ");
            let message = format!("hostnames {names} cannot be used; give names like example.com or *.example.com");
            return Verdict::no(kind, Reason::UnsupportedValue, message);
        }
        match self.invalid.values().next() {
            Some(first) if self.all_invalid() => {
                let message = format!("every rule answers 500: {}", self.describe_invalid());
                Verdict::no(kind, first.reason(), message)
            }
            _ if !self.hostnames.invalid.is_empty() => {
                let names = self.hostnames.invalid.join(", ");
                Verdict::yes(kind, Reason::Accepted, format!("hostnames {names} cannot be used and are ignored"))
            }
            _ => Verdict::yes(kind, Reason::Accepted, "the route is attached"),
        }
    }

    fn resolved_refs(&self) -> Verdict {
        let kind = ConditionType::ResolvedRefs;
        let Some((_, first)) = self.unresolved.first() else {
            return Verdict::yes(kind, Reason::ResolvedRefs, "all references are resolved");
        };
        let problems = self.unresolved.iter().map(|(place, error)| format!("{place}: {error}"));
        Verdict::no(kind, first.reason(), list(problems))
    }

    fn describe_invalid(&self) -> String {
        list(self.invalid.iter().map(|(at, error)| format!("rules[{at}]: {error}")))
    }
}

/// The first few of a list, each short enough that a value pasted by mistake hides none of the others.
fn list(problems: impl Iterator<Item = String>) -> String {
    let shorten = |problem: String| match problem.char_indices().nth(MAX_PROBLEM) {
        None => problem,
        Some((end, _)) => format!("{}…", &problem[..end]),
    };
    let mut problems: Vec<_> = problems.take(MAX_LISTED + 1).map(shorten).collect();
    if problems.len() > MAX_LISTED {
        problems.truncate(MAX_LISTED);
        problems.push("…".to_owned());
    }
    problems.join("; ")
}

fn named_gateway(parent: &HttpRouteParentRefs, route: &NamespacedName) -> Option<NamespacedName> {
    let group = parent.group.as_deref().unwrap_or(GATEWAY_GROUP);
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    let namespace = parent.namespace.as_deref().map_or_else(|| Arc::clone(&route.namespace), Arc::from);
    ((group, kind) == (GATEWAY_GROUP, "Gateway")).then(|| NamespacedName::new(namespace, parent.name.as_str()))
}

fn reference(parent: &HttpRouteParentRefs) -> HttpRouteStatusParentsParentRef {
    let HttpRouteParentRefs { group, kind, name, namespace, port, section_name } = parent.clone();
    HttpRouteStatusParentsParentRef { group, kind, name, namespace, port, section_name }
}
