//! What authentication and authorization decided, by the policy that is in force. Series live as long as something
//! counts in them: they end with the policy, and an edited policy goes on with those that it keeps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use portcullis_auth::Reason;

use super::Counter;
use super::exposition::Exposition;

#[derive(Debug, Default)]
pub(crate) struct AuthMetrics {
    /// Asks for keys to be fetched again.
    pub(crate) refetches: Counter,
    /// Tokens that were judged elsewhere than on their worker.
    pub(crate) floods: Counter,
    tallies: Mutex<Tallies>,
}

#[derive(Debug, Default)]
struct Tallies {
    all: BTreeMap<Key, Weak<Tally>>,
    /// How many there may be before those that are gone are looked for.
    room: usize,
}

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// What became of requests.
    Requests,
    /// What became of them in shadow mode, in which they pass all the same.
    Shadow,
    /// How a method judged what it saw.
    Method,
    /// How often a rule of authorization decided.
    Rule,
    /// What an authorization service said. Filters of routes, which belong to no policy, are counted by service alone.
    External,
}

/// Names of objects, which become labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    family: Family,
    namespace: Arc<str>,
    policy: Arc<str>,
    /// Of the method, the rule or the service.
    part: Box<str>,
}

/// One counter per outcome.
#[derive(Debug)]
pub(crate) struct Tally {
    counters: Box<[Counter]>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    Exempt,
    Unauthenticated,
    Unauthorized,
    /// It could not be judged.
    Unavailable,
    /// The policy is broken.
    Broken,
    /// An answer of a login: a redirect to the provider, or back.
    Login,
}

/// What an authorization service said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Yes,
    No,
    /// Nothing, or nothing that could be understood.
    Nothing,
}

const ACCEPTED: &str = "accepted";
/// The index behind all reasons.
const ACCEPTED_INDEX: usize = Reason::ALL.len();

impl AuthMetrics {
    pub(crate) fn tally(&self, family: Family, namespace: &Arc<str>, policy: &Arc<str>, part: &str) -> Arc<Tally> {
        let key = Key { family, namespace: Arc::clone(namespace), policy: Arc::clone(policy), part: part.into() };
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tally) = tallies.all.get(&key).and_then(Weak::upgrade) {
            return tally;
        }
        let counters = (0..family.outcomes()).map(|_| Counter::default()).collect();
        let tally = Arc::new(Tally { counters });
        tallies.all.insert(key, Arc::downgrade(&tally));
        if tallies.all.len() > tallies.room {
            tallies.all.retain(|_, tally| tally.strong_count() > 0);
            tallies.room = 2 * tallies.all.len() + 16;
        }
        tally
    }

    pub(super) fn render(&self, out: &mut Exposition) {
        let living: Vec<(Key, Arc<Tally>)> = {
            let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
            tallies.all.iter().filter_map(|(key, tally)| Some((key.clone(), tally.upgrade()?))).collect()
        };
        for (family, name, help) in [
            (
                Family::Requests,
                "portcullis_dataplane_auth_requests_total",
                "Requests under an AuthPolicy, by what became of them.",
            ),
            (
                Family::Shadow,
                "portcullis_dataplane_auth_shadow_requests_total",
                "Requests under an AuthPolicy in shadow mode, by what would have become of them.",
            ),
            (
                Family::Method,
                "portcullis_dataplane_auth_methods_total",
                "Credentials judged by a method of an AuthPolicy, by outcome.",
            ),
            (
                Family::Rule,
                "portcullis_dataplane_auth_rules_total",
                "Requests that a rule of an AuthPolicy's authorization decided; `default` is no rule.",
            ),
            (
                Family::External,
                "portcullis_dataplane_auth_external_total",
                "Requests that an authorization service was asked about, by what it said, cached answers among them. Filters \
                 of routes have no policy.",
            ),
        ] {
            let series = living.iter().filter(|(key, _)| key.family == family).flat_map(|(key, tally)| {
                tally.counters.iter().enumerate().map(move |(index, counter)| (key.labels(index), counter))
            });
            out.labelled_counters(name, help, series);
        }
        if self.floods.value() > 0 {
            out.counter(
                "portcullis_dataplane_auth_flood_tokens_total",
                "Tokens that were judged off the worker threads, because of a flood of wrong signatures.",
                &self.floods,
            );
        }
        if self.refetches.value() > 0 {
            out.counter(
                "portcullis_dataplane_auth_key_refetches_total",
                "Asks for an issuer's keys to be fetched again, because a token named a key that is not known.",
                &self.refetches,
            );
        }
    }
}

impl Tally {
    pub(crate) fn verdict(&self, verdict: Verdict) {
        self.increment(verdict as usize);
    }

    pub(crate) fn accepted(&self) {
        self.increment(ACCEPTED_INDEX);
    }

    pub(crate) fn reason(&self, reason: Reason) {
        self.increment(reason as usize);
    }

    pub(crate) fn decided(&self) {
        self.increment(0);
    }

    pub(crate) fn said(&self, said: Said) {
        self.increment(said as usize);
    }

    fn increment(&self, index: usize) {
        if let Some(counter) = self.counters.get(index) {
            counter.increment();
        }
    }
}

impl Family {
    fn outcomes(self) -> usize {
        match self {
            Self::Requests | Self::Shadow => Verdict::ALL.len(),
            Self::Method => ACCEPTED_INDEX + 1,
            Self::Rule => 1,
            Self::External => Said::ALL.len(),
        }
    }
}

impl Key {
    fn labels(&self, index: usize) -> Vec<(&'static str, String)> {
        let mut labels = vec![("policy_namespace", self.namespace.to_string()), ("policy", self.policy.to_string())];
        match self.family {
            Family::Requests | Family::Shadow => {
                labels.push(("outcome", Verdict::ALL.get(index).map_or("", |verdict| verdict.code()).to_owned()));
            }
            Family::Method => {
                labels.push(("method", self.part.to_string()));
                labels.push(("outcome", Reason::ALL.get(index).map_or(ACCEPTED, |reason| reason.code()).to_owned()));
            }
            Family::Rule => labels.push(("rule", self.part.to_string())),
            Family::External => {
                labels.push(("service", self.part.to_string()));
                labels.push(("outcome", Said::ALL.get(index).map_or("", |said| said.code()).to_owned()));
            }
        }
        labels
    }
}

impl Said {
    const ALL: [Self; 3] = [Self::Yes, Self::No, Self::Nothing];

    fn code(self) -> &'static str {
        match self {
            Self::Yes => "allowed",
            Self::No => "denied",
            Self::Nothing => "failed",
        }
    }
}

impl Verdict {
    const ALL: [Self; 7] = [
        Self::Allowed,
        Self::Exempt,
        Self::Unauthenticated,
        Self::Unauthorized,
        Self::Unavailable,
        Self::Broken,
        Self::Login,
    ];

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Exempt => "exempt",
            Self::Unauthenticated => "unauthenticated",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::Broken => "broken",
            Self::Login => "login",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_go_on_with_an_edited_policy_and_end_with_it() {
        let metrics = AuthMetrics::default();
        let tally = || metrics.tally(Family::Requests, &"team".into(), &"shop".into(), "");
        let first = tally();
        first.verdict(Verdict::Allowed);
        let edited = tally();
        drop(first);
        edited.verdict(Verdict::Allowed);
        let text = |metrics: &AuthMetrics| {
            let mut out = Exposition::default();
            metrics.render(&mut out);
            out.render()
        };
        let line =
            r#"portcullis_dataplane_auth_requests_total{policy_namespace="team",policy="shop",outcome="allowed"} 2"#;
        assert!(text(&metrics).contains(line), "{}", text(&metrics));
        drop(edited);
        assert_eq!(text(&metrics), "");
    }

    #[test]
    fn every_verdict_has_its_place() {
        assert!(Verdict::ALL.iter().enumerate().all(|(index, verdict)| *verdict as usize == index));
    }
}
