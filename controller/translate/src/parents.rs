//! The parents of a route of any kind: what it is attached to, and what each parent has to be told.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_ir::{HostPattern, ListenerKey, RouteHostname, RouteKind};

use crate::attach::{NotAttached, Section, attach};
use crate::condition::{ConditionType, Reason, State, Verdict};
use crate::listener::GATEWAY_GROUP;
use crate::rule::Unresolved;
use crate::world::Reader;
use crate::{NamespacedName, ParentRef, ParentRefView};

/// Most parents whose status fits (`RouteStatus.parents`).
const MAX_PARENTS: usize = 32;
/// Most problems that one message lists, and the characters of each.
const MAX_LISTED: usize = 8;
const MAX_PROBLEM: usize = 400;

/// What one parent has to be told.
#[derive(Debug, PartialEq)]
pub(crate) struct ParentPlan {
    pub(crate) reference: ParentRef,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Rules that deny, by position: the reason that it gives a condition, and what is wrong.
pub(crate) type InvalidRules = BTreeMap<usize, (Reason, String)>;

/// One entry per parentRef that names something of ours, in the order written.
pub(crate) struct Parents<'a> {
    pub(crate) found: Vec<(ParentRefView<'a>, Result<Vec<ListenerKey>, NotAttached>)>,
    /// All listeners that take the route, each with the hosts for which it does.
    pub(crate) attached: BTreeMap<ListenerKey, Vec<RouteHostname>>,
}

impl<'a> Parents<'a> {
    pub(crate) fn find(
        reader: &Reader<'_, '_>,
        kind: RouteKind,
        name: &NamespacedName,
        references: Vec<ParentRefView<'a>>,
        hostnames: &Hostnames,
    ) -> Self {
        let mut parents = Self { found: Vec::new(), attached: BTreeMap::new() };
        for reference in references.into_iter().take(MAX_PARENTS) {
            let namespace = reference.namespace.map_or_else(|| Arc::clone(&name.namespace), Arc::from);
            let named = NamespacedName::new(namespace, reference.name);
            let points = match (reference.group.unwrap_or(GATEWAY_GROUP), reference.kind.unwrap_or("Gateway")) {
                (GATEWAY_GROUP, "Gateway") => reader.gateway(&named),
                (GATEWAY_GROUP, "ListenerSet") => reader.listener_set(&named),
                _ => None,
            };
            let Some(points) = points else { continue };
            // A list of hostnames of which none can be read must not turn into "every host".
            if hostnames.none_left() {
                parents.found.push((reference, Ok(Vec::new())));
                continue;
            }
            let section = Section { name: reference.section_name, port: reference.port };
            let found = attach(reader, (kind, &name.namespace), section, &points, &hostnames.valid);
            let listeners = found.as_ref().map(|found| found.keys().cloned().collect()).map_err(Clone::clone);
            parents.found.push((reference, listeners));
            parents.attached.extend(found.into_iter().flatten());
        }
        parents
    }

    pub(crate) fn plans(&self, judged: &Judged<'_>) -> Vec<ParentPlan> {
        (self.found.iter())
            .map(|(reference, found)| ParentPlan { reference: reference.to_owned(), verdicts: judged.verdicts(found) })
            .collect()
    }
}

/// The hostnames that a route writes.
#[derive(Debug, Default)]
pub(crate) struct Hostnames {
    pub(crate) valid: Vec<HostPattern>,
    pub(crate) invalid: Vec<String>,
}

impl Hostnames {
    pub(crate) fn parse(written: &[String], most: usize) -> Self {
        let mut hostnames = Self::default();
        for raw in written {
            match HostPattern::parse(raw) {
                _ if hostnames.valid.len() == most => hostnames.invalid.push(format!("{raw:?} (one too many)")),
                Ok(HostPattern::Any) | Err(_) => hostnames.invalid.push(format!("{raw:?}")),
                Ok(pattern) => hostnames.valid.push(pattern),
            }
        }
        hostnames
    }

    /// Of a route that must name at least one.
    pub(crate) fn required(written: &[String], most: usize) -> Self {
        let mut hostnames = Self::parse(written, most);
        if written.is_empty() {
            hostnames.invalid.push("(none given)".to_owned());
        }
        hostnames
    }

    pub(crate) fn none_left(&self) -> bool {
        self.valid.is_empty() && !self.invalid.is_empty()
    }
}

/// What was found about a route as a whole.
pub(crate) struct Judged<'j> {
    pub(crate) rules: usize,
    pub(crate) hostnames: &'j Hostnames,
    pub(crate) invalid: &'j InvalidRules,
    pub(crate) unresolved: &'j Unresolved,
    /// What a rule does that is not valid: `answers 500`, say.
    pub(crate) denial: &'static str,
}

impl Judged<'_> {
    pub(crate) fn all_invalid(&self) -> bool {
        self.hostnames.none_left() || (!self.invalid.is_empty() && self.invalid.len() == self.rules)
    }

    pub(crate) fn verdicts(&self, found: &Result<Vec<ListenerKey>, NotAttached>) -> Vec<Verdict> {
        let accepted = match found {
            Err(error) => Verdict::no(ConditionType::Accepted, error.reason(), error.to_string()),
            Ok(_) => self.accepted(),
        };
        let partial = accepted.state == State::True && !self.invalid.is_empty();
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
            Some((reason, _)) if self.all_invalid() => {
                let message = format!("every rule {}: {}", self.denial, self.describe_invalid());
                Verdict::no(kind, *reason, message)
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
        list(self.invalid.iter().map(|(at, (_, error))| format!("rules[{at}]: {error}")))
    }
}

/// The first few of a list, each short enough that a value pasted by mistake hides none of the others.
pub(crate) fn list(problems: impl Iterator<Item = String>) -> String {
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
