//! What is counted, by name. It is outside of every program: an edit finds it as it was.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_ir::{LimitRule, PolicyTarget};

use crate::key::Secret;
use crate::table::{Budget, Table};

/// Keys in memory at once, all limits together; about 25 bytes each.
pub const MAX_KEYS: usize = 4 * 1024 * 1024;
/// Rules whose words are kept although no program has them, so that a policy that was broken for a while, or deleted and
/// applied again with its uid, refills nothing.
const RESTING: usize = 256;

/// Names the counters of a rule: neither the pod nor the listener, and the target only where each has its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleId {
    /// Of the policy.
    pub uid: Arc<str>,
    pub rule: Box<str>,
    /// None: the policy's targets share their buckets.
    pub target: Option<PolicyTarget>,
}

/// All counters of one rule.
#[derive(Debug)]
pub struct Counters {
    pub id: RuleId,
    /// `namespace/name` of the policy, for people.
    pub policy: Box<str>,
    pub tally: Tally,
    /// One of each limit.
    pub(crate) own: Box<[Table]>,
    /// For the time without a store.
    pub(crate) share: Box<[Table]>,
    /// Before the store is asked.
    pub(crate) guard: Box<[Table]>,
}

/// What became of the requests that a rule applied to.
#[derive(Debug, Default)]
pub struct Tally {
    pub allowed: Count,
    pub limited: Count,
    /// Would have been limited.
    pub shadowed: Count,
    /// Of units, from the store.
    pub leased: Count,
    /// Of units, to the store.
    pub returned: Count,
    /// Keys that are counted in a store, and that were forgotten here for want of room.
    pub evicted: Count,
    pub failures: [Count; StoreFailure::ALL.len()],
}

#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// Why a store gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreFailure {
    /// There is no such store, or what was written names none.
    #[error("no store is configured")]
    Unknown,
    #[error("the store cannot be reached")]
    Connect,
    #[error("the store did not answer in time")]
    Timeout,
    #[error("the store refuses the credentials")]
    Credentials,
    #[error("the store is read-only")]
    ReadOnly,
    #[error("the store is out of memory")]
    Memory,
    /// More waits for it already than may.
    #[error("too many questions wait for the store")]
    Overload,
    #[error("the store answers with an error")]
    Protocol,
}

/// All counters there are.
#[derive(Debug)]
pub struct Registry {
    rules: HashMap<RuleId, Arc<Counters>>,
    /// Not in use any more, the longest first.
    resting: VecDeque<RuleId>,
    budget: Arc<Budget>,
    pub(crate) secret: Arc<Secret>,
}

impl Registry {
    pub fn new(secret: Secret) -> Self {
        Self::with_keys(secret, MAX_KEYS)
    }

    /// For about so many keys in memory.
    pub fn with_keys(secret: Secret, keys: usize) -> Self {
        let budget = Arc::new(Budget::of(keys));
        Self { rules: HashMap::new(), resting: VecDeque::new(), budget, secret: Arc::new(secret) }
    }

    pub(crate) fn counters(&mut self, rule: &LimitRule) -> Arc<Counters> {
        let id = RuleId {
            uid: Arc::clone(&rule.origin.uid),
            rule: rule.name.clone(),
            target: (!rule.shared).then(|| rule.origin.target.clone()),
        };
        self.resting.retain(|resting| *resting != id);
        let budget = &self.budget;
        let counters = self.rules.entry(id.clone()).or_insert_with(|| {
            let tables = || (0..LIMITS).map(|_| Table::new(Arc::clone(budget))).collect();
            let policy = rule.origin.to_string().into();
            Arc::new(Counters { id, policy, tally: Tally::default(), own: tables(), share: tables(), guard: tables() })
        });
        Arc::clone(counters)
    }

    /// Lets rest what nobody but the registry holds, and forgets what has rested the longest.
    pub fn sweep(&mut self) {
        for (id, counters) in &self.rules {
            if Arc::strong_count(counters) == 1 && !self.resting.contains(id) {
                self.resting.push_back(id.clone());
            }
        }
        while self.resting.len() > RESTING {
            if let Some(id) = self.resting.pop_front() {
                self.rules.remove(&id);
            }
        }
    }

    /// The counters of the rules that are in force.
    pub fn in_force(&self) -> impl Iterator<Item = &Arc<Counters>> {
        self.rules.values().filter(|counters| Arc::strong_count(counters) > 1)
    }
}

/// Limits of a rule at most.
pub(crate) const LIMITS: usize = 4;

impl Counters {
    /// Keys that were forgotten although they had spent something.
    pub fn evicted(&self) -> u64 {
        let tables = [&self.own, &self.share, &self.guard].into_iter().flatten();
        tables.map(Table::evicted).sum::<u64>() + self.tally.evicted.value()
    }

    /// Forgets what every key has spent.
    pub fn clear(&self) {
        [&self.own, &self.share, &self.guard].into_iter().flatten().for_each(Table::clear);
    }
}

impl Count {
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    #[inline]
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    pub fn failure(&self, failure: StoreFailure) {
        self.failures[failure as usize].increment();
    }
}

impl StoreFailure {
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Connect,
        Self::Timeout,
        Self::Credentials,
        Self::ReadOnly,
        Self::Memory,
        Self::Overload,
        Self::Protocol,
    ];

    /// The label of a metric.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Credentials => "credentials",
            Self::ReadOnly => "read_only",
            Self::Memory => "memory",
            Self::Overload => "overload",
            Self::Protocol => "protocol",
        }
    }
}
