//! What is fetched when, and what is kept: decisions only. Time is an argument, measured from any fixed moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_ir::{Issuer, IssuerKey};
use portcullis_translate::IssuerSource;

/// Most sources; what comes later in the order of keys is left out, and its tokens cannot be judged.
pub const MAX_SOURCES: usize = 1024;
/// After a failure, doubling up to [`LONGEST_RETRY`] or the source's own period.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Of a period; so that sources which began together do not stay together.
const JITTER: f64 = 0.1;

/// What was obtained last, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub issuer: Arc<Issuer>,
    pub at: Duration,
}

/// A fetch that is to begin now, and must be ended by [`Schedule::ended`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub source: Arc<IssuerSource>,
    /// Tells the fetch from earlier ones of the same key whose source was another.
    number: u64,
}

#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<IssuerKey, Entry>,
    jobs: u64,
}

#[derive(Debug)]
struct Entry {
    source: Arc<IssuerSource>,
    found: Option<Found>,
    /// The fetch that is under way.
    job: Option<u64>,
    /// When the newest fetch began.
    begun: Option<Duration>,
    /// When the next one is due by itself.
    due: Duration,
    /// In a row.
    failures: u32,
    /// Somebody met a key id that nobody knows since the newest fetch began.
    wanted: bool,
}

impl Entry {
    fn new(source: &Arc<IssuerSource>, now: Duration) -> Self {
        let source = Arc::clone(source);
        Self { source, found: None, job: None, begun: None, due: now, failures: 0, wanted: false }
    }

    /// When the next fetch begins.
    fn next(&self) -> Option<Duration> {
        if self.job.is_some() {
            return None;
        }
        let wanted = self.begun.filter(|_| self.wanted).map(|begun| begun + self.source.min_refetch);
        Some(wanted.map_or(self.due, |wanted| wanted.min(self.due)))
    }

    /// From when on what was found is too old.
    fn expires(&self) -> Option<Duration> {
        let found = self.found.as_ref()?;
        found.issuer.keys.is_some().then(|| found.at + self.source.max_stale)
    }
}

impl Schedule {
    /// These are the sources from now on. What was found of those that stay is kept; says how many are left out.
    pub fn sources(&mut self, sources: &BTreeMap<IssuerKey, Arc<IssuerSource>>, now: Duration) -> usize {
        let within: BTreeMap<_, _> = sources.iter().take(MAX_SOURCES).collect();
        self.entries.retain(|key, _| within.contains_key(key));
        for (key, source) in within {
            let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(source, now));
            if entry.source != *source {
                // Whatever was wrong with the old one may be right now, and a fetch by it says nothing of this one.
                let old = std::mem::replace(&mut entry.source, Arc::clone(source));
                if old.refresh > source.refresh || entry.failures > 0 {
                    entry.due = entry.due.min(now.max(entry.begun.map_or(now, |begun| begun + source.refresh)));
                }
            }
        }
        sources.len().saturating_sub(MAX_SOURCES)
    }

    /// Takes over what somebody else obtained `age` ago.
    pub fn seed(&mut self, issuer: &Arc<Issuer>, age: Duration, now: Duration) {
        if let Some(entry) = self.entries.get_mut(&issuer.key)
            && entry.found.is_none()
            && age < entry.source.max_stale
        {
            entry.found = Some(Found { issuer: Arc::clone(issuer), at: now.saturating_sub(age) });
        }
    }

    /// Somebody met a key id that is in no set. Whether the source is known.
    pub fn wanted(&mut self, key: &IssuerKey) -> bool {
        let entry = self.entries.get_mut(key);
        entry.is_some_and(|entry| {
            // A fetch that is under way may have been answered before the key was there.
            entry.wanted = true;
            true
        })
    }

    /// A fetch that is due; it counts as under way.
    pub fn begin(&mut self, now: Duration) -> Option<Job> {
        let entry = self.entries.values_mut().filter(|entry| entry.next().is_some_and(|next| next <= now));
        // Whoever has waited longest comes first.
        let entry = entry.min_by_key(|entry| entry.next())?;
        self.jobs += 1;
        entry.job = Some(self.jobs);
        entry.begun = Some(now);
        entry.wanted = false;
        Some(Job { source: Arc::clone(&entry.source), number: self.jobs })
    }

    /// How a fetch has ended. `jitter` is any number from 0 to 1.
    pub fn ended(&mut self, job: &Job, issuer: Option<Issuer>, now: Duration, jitter: f64) {
        let Some(entry) = self.entries.get_mut(&job.source.key).filter(|entry| entry.job == Some(job.number)) else {
            return;
        };
        entry.job = None;
        match issuer {
            Some(issuer) => {
                entry.failures = 0;
                let same = entry.found.as_ref().filter(|found| *found.issuer == issuer);
                let issuer = same.map_or_else(|| Arc::new(issuer), |found| Arc::clone(&found.issuer));
                entry.found = Some(Found { issuer, at: now });
                entry.due = now + vary(entry.source.refresh, jitter);
            }
            None => {
                let pause = FIRST_RETRY.saturating_mul(1 << entry.failures.min(6)).min(LONGEST_RETRY);
                entry.failures = entry.failures.saturating_add(1);
                entry.due = now + vary(pause.min(entry.source.refresh), jitter);
            }
        }
    }

    /// Takes away the keys that are older than they may be.
    pub fn expire(&mut self, now: Duration) {
        for entry in self.entries.values_mut() {
            if entry.expires().is_some_and(|at| at <= now)
                && let Some(found) = &mut entry.found
            {
                found.issuer = Arc::new(Issuer { keys: None, ..Issuer::clone(&found.issuer) });
            }
        }
    }

    /// When something is to be done next; a fetch counts only if it may begin.
    pub fn next(&self, may_begin: bool) -> Option<Duration> {
        let fetches = self.entries.values().filter_map(Entry::next).filter(|_| may_begin);
        fetches.chain(self.entries.values().filter_map(Entry::expires)).min()
    }

    /// What is known of each source; those of which nothing was ever obtained are missing.
    pub fn found(&self) -> BTreeMap<IssuerKey, Found> {
        let found = |(key, entry): (&IssuerKey, &Entry)| Some((key.clone(), entry.found.clone()?));
        self.entries.iter().filter_map(found).collect()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn vary(period: Duration, jitter: f64) -> Duration {
    period.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_translate::IssuerLocation;

    use super::*;

    const MIDDLE: f64 = 0.5;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn source(address: &str) -> Arc<IssuerSource> {
        let mut source = IssuerSource::new(IssuerLocation::Keys(address.into()), Vec::new());
        (source.refresh, source.min_refetch, source.max_stale) = (at(300), at(30), at(3600));
        Arc::new(source)
    }

    fn issuer(source: &IssuerSource, keys: &str) -> Issuer {
        Issuer { key: source.key.clone(), keys: Some(keys.into()), discovery: None }
    }

    fn schedule(sources: &[&Arc<IssuerSource>]) -> Schedule {
        let mut schedule = Schedule::default();
        let map = sources.iter().map(|source| (source.key.clone(), Arc::clone(source))).collect();
        assert_eq!(schedule.sources(&map, at(0)), 0);
        schedule
    }

    fn keys(schedule: &Schedule, source: &IssuerSource) -> Option<Arc<str>> {
        schedule.found().get(&source.key).and_then(|found| found.issuer.keys.clone())
    }

    /// With keys that came at second 0.
    fn with_keys(source: &Arc<IssuerSource>) -> Schedule {
        let mut schedule = schedule(&[source]);
        let job = schedule.begin(at(0)).unwrap();
        schedule.ended(&job, Some(issuer(source, "one")), at(0), MIDDLE);
        schedule
    }

    #[test]
    fn a_source_is_fetched_at_once_and_then_once_per_period() {
        let source = source("a");
        let mut schedule = schedule(&[&source]);
        let job = schedule.begin(at(0)).unwrap();
        assert_eq!(schedule.begin(at(1000)), None, "one fetch at a time");
        assert_eq!(schedule.next(true), None);
        schedule.ended(&job, Some(issuer(&source, "one")), at(2), MIDDLE);
        assert_eq!(keys(&schedule, &source).as_deref(), Some("one"));
        assert_eq!(schedule.begin(at(301)), None);
        assert!(schedule.begin(at(302)).is_some());
    }

    #[test]
    fn any_number_of_unknown_ids_cause_one_fetch_per_gap() {
        let source = source("a");
        let mut schedule = with_keys(&source);
        let mut fetches = 0;
        for second in 1..=300 {
            for _ in 0..5000 {
                assert!(schedule.wanted(&source.key));
            }
            while let Some(job) = schedule.begin(at(second)) {
                fetches += 1;
                schedule.ended(&job, Some(issuer(&source, "one")), at(second), MIDDLE);
            }
        }
        assert_eq!(fetches, 10, "300 seconds, 30 apart");
        assert!(!schedule.wanted(&IssuerKey("unknown".into())));
    }

    #[test]
    fn an_id_that_is_met_during_a_fetch_is_looked_for_by_another_one() {
        let source = source("a");
        let mut schedule = with_keys(&source);
        schedule.wanted(&source.key);
        assert_eq!(schedule.begin(at(29)), None);
        let job = schedule.begin(at(30)).unwrap();
        schedule.wanted(&source.key);
        schedule.ended(&job, Some(issuer(&source, "one")), at(31), MIDDLE);
        assert_eq!(schedule.next(true), Some(at(60)));
    }

    #[test]
    fn failures_are_tried_again_ever_later_and_the_last_good_keys_stay_until_they_are_too_old() {
        let source = source("a");
        let mut schedule = with_keys(&source);
        let mut now = at(300);
        let mut pauses = Vec::new();
        while now < at(3600) {
            let job = schedule.begin(now).unwrap();
            schedule.ended(&job, None, now, MIDDLE);
            let next = schedule.next(true).unwrap();
            pauses.push((next - now).as_secs());
            assert_eq!(keys(&schedule, &source).as_deref(), Some("one"));
            now = next;
            schedule.expire(now);
        }
        assert_eq!(pauses[..7], [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(keys(&schedule, &source), None);
        let job = schedule.begin(at(3700)).unwrap();
        schedule.ended(&job, Some(issuer(&source, "two")), at(3700), MIDDLE);
        assert_eq!(keys(&schedule, &source).as_deref(), Some("two"));
    }

    #[test]
    fn equal_keys_keep_their_place_in_memory() {
        let source = source("a");
        let mut schedule = with_keys(&source);
        let before = schedule.found()[&source.key].issuer.clone();
        let job = schedule.begin(at(300)).unwrap();
        schedule.ended(&job, Some(issuer(&source, "one")), at(300), MIDDLE);
        let after = &schedule.found()[&source.key];
        assert!(Arc::ptr_eq(&before, &after.issuer) && after.at == at(300));
    }

    #[test]
    fn what_another_obtained_counts_from_when_it_did() {
        let source = source("a");
        let mut schedule = schedule(&[&source]);
        schedule.seed(&Arc::new(issuer(&source, "old")), at(4000), at(0));
        assert_eq!(keys(&schedule, &source), None, "too old already");
        schedule.seed(&Arc::new(issuer(&source, "old")), at(3000), at(5000));
        assert_eq!(keys(&schedule, &source).as_deref(), Some("old"));
        assert!(schedule.begin(at(5000)).is_some(), "and it is fetched at once all the same");
        schedule.expire(at(5600));
        assert_eq!(keys(&schedule, &source), None);
    }

    #[test]
    fn the_answer_to_a_fetch_of_a_source_that_has_gone_is_thrown_away() {
        let (one, two) = (source("a"), source("b"));
        let mut schedule = schedule(&[&one]);
        let job = schedule.begin(at(0)).unwrap();
        schedule.sources(&BTreeMap::from([(two.key.clone(), Arc::clone(&two))]), at(1));
        schedule.sources(&BTreeMap::from([(one.key.clone(), Arc::clone(&one))]), at(2));
        schedule.ended(&job, Some(issuer(&one, "late")), at(3), MIDDLE);
        assert_eq!(keys(&schedule, &one), None);
    }

    #[test]
    fn periods_vary_so_that_sources_spread() {
        assert_eq!(vary(at(100), 0.0), at(90));
        assert_eq!(vary(at(100), 1.0), at(110));
    }

    #[test]
    fn sources_beyond_the_bound_are_left_out() {
        let all: Vec<_> = (0..MAX_SOURCES + 3).map(|at| source(&format!("{at:06}"))).collect();
        let map = all.iter().map(|source| (source.key.clone(), Arc::clone(source))).collect();
        let mut schedule = Schedule::default();
        assert_eq!(schedule.sources(&map, at(0)), 3);
        assert_eq!(schedule.len(), MAX_SOURCES);
    }
}
