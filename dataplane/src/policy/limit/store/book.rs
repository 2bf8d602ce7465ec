//! The keys of one rule that are counted in a store, and what is held of them.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::StreamExt;
use portcullis_limits::{Applied, Counters, Shape, Standing, Standings, StoreFailure};

use super::lease::{Lease, millis};
use super::link::{Link, Slot};
use super::name::names;
use super::question::{Answer, Question};

const SHARDS: usize = 16;
/// Keys of one rule at most: 65,536.
const KEYS_PER_SHARD: usize = 4096;
/// Leases that are given back at once.
const GIVEN_AT_ONCE: usize = 64;

/// Survives edits, as the counters do whose rule it is.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) counters: Arc<Counters>,
    /// By the key's hash.
    shards: [Mutex<HashMap<u64, Arc<Lease>, foldhash::fast::RandomState>>; SHARDS],
    /// Leases with units in them.
    holding: Mutex<Vec<Arc<Lease>>>,
    since: Instant,
}

impl Book {
    pub(super) fn new(counters: Arc<Counters>, since: Instant) -> Self {
        Self { counters, shards: Default::default(), holding: Mutex::default(), since }
    }

    /// Milliseconds of the clock that leases live by.
    pub(crate) fn now(&self) -> u64 {
        millis(self.since.elapsed())
    }

    /// The lease of a key; `key` is asked for its text only when it is new.
    pub(crate) fn lease(&self, applied: &Applied<'_>, key: impl FnOnce() -> String) -> Arc<Lease> {
        // The remainder fits.
        let shard = &self.shards[usize::try_from(applied.hash % SHARDS as u64).unwrap_or(0)];
        let mut shard = lock(shard);
        if let Some(lease) = shard.get(&applied.hash) {
            return Arc::clone(lease);
        }
        if shard.len() >= KEYS_PER_SHARD {
            // A sixteenth at once, so that a flood of keys does not look through all of them for each.
            let mut used: Vec<(u64, u64)> = shard.iter().map(|(hash, lease)| (lease.used(), *hash)).collect();
            used.sort_unstable();
            for (_, hash) in used.iter().take(KEYS_PER_SHARD / 16) {
                shard.remove(hash);
                self.counters.tally.evicted.increment();
            }
        }
        let lease = Arc::new(Lease::new(names(&self.counters.id, &key(), applied.plan.shapes.len())));
        shard.insert(applied.hash, Arc::clone(&lease));
        lease
    }

    /// The lease of a key that was seen before.
    pub(crate) fn known(&self, hash: u64) -> Option<Arc<Lease>> {
        let shard = &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)];
        lock(shard).get(&hash).cloned()
    }

    /// Takes units in the background, for those who wait and ahead.
    pub(crate) fn renew(
        self: &Arc<Self>,
        lease: Arc<Lease>,
        link: Arc<Link>,
        shapes: Vec<Shape>,
        slot: Slot,
        control: &tokio::runtime::Handle,
    ) {
        let book = Arc::clone(self);
        control.spawn(async move {
            loop {
                let (wanted, counts) = lease.wanted(&shapes, link.replicas());
                let want = i64::try_from(wanted).unwrap_or(i64::MAX);
                let answer = link.ask(&Question { want, counts, now: None, reset: false }, &slot).await;
                if let Ok(answer) = &answer {
                    book.counters.tally.leased.add(u64::try_from(answer.granted).unwrap_or(0));
                }
                let again = lease.settle(answer, wanted, book.now());
                book.hold(&lease);
                if !again {
                    return;
                }
            }
        });
    }

    /// Units that were taken and not used: for the next, or for the store if there is none.
    pub(crate) fn put_back(&self, lease: &Arc<Lease>, units: u64) {
        lease.put_back(units, self.now());
        self.hold(lease);
    }

    /// Somebody looks after its units from now on, if it has any.
    fn hold(&self, lease: &Arc<Lease>) {
        // Whoever gives back decides under the same lock that a lease holds nothing any more.
        let mut holding = lock(&self.holding);
        if lease.units(self.now()) > 0 && !lease.held.swap(true, Ordering::AcqRel) {
            holding.push(Arc::clone(lease));
        }
    }

    /// Gives back what nobody used for a while; everything, if `all`.
    pub(super) async fn give_back(&self, link: &Link, all: bool) {
        // To whom would it go? It is kept until the store is back.
        if link.resting().is_some() {
            return;
        }
        let now = self.now();
        let mut given = Vec::new();
        lock(&self.holding).retain(|lease| {
            let units = if all { lease.drain(now) } else { lease.unused(now) };
            if units > 0 {
                given.push((Arc::clone(lease), units));
            }
            let holds = lease.units(now) > 0;
            if !holds {
                lease.held.store(false, Ordering::Release);
            }
            holds
        });
        let give = async |(lease, units): (Arc<Lease>, u64)| {
            let want = -i64::try_from(units).unwrap_or(0);
            let question = Question { want, counts: lease.taken(), now: None, reset: false };
            let Ok(slot) = link.slot() else { return };
            if let Ok(answer) = link.ask(&question, &slot).await {
                lease.remember(&answer);
                self.counters.tally.returned.add(units);
            }
        };
        futures::stream::iter(given).for_each_concurrent(GIVEN_AT_ONCE, give).await;
    }
}

/// Where a key stands, with what is held of it here; or gives it everything back.
///
/// # Errors
/// Why there is no answer.
pub(crate) async fn asked_directly(
    link: &Link,
    lease: &Lease,
    shapes: &[Shape],
    reset: bool,
    now: u64,
) -> Result<Standings, StoreFailure> {
    let question = Question { want: 0, reset, counts: lease.asked(shapes, 1), now: None };
    let answer = link.ask(&question, &link.slot()?).await?;
    if reset {
        lease.reset();
    }
    lease.remember(&answer);
    let held = lease.units(now);
    let with = |standing: Standing| Standing { remaining: standing.remaining + held, ..standing };
    Ok(answer.counts.iter().map(|counted| with(counted.standing)).collect())
}

/// What is wanted of one key.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) lease: Arc<Lease>,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) cost: u64,
}

/// Asks about several keys at once, for each of them so much: a rule that is exact, or several.
///
/// # Errors
/// Why there is no answer.
pub(crate) async fn exactly(
    link: Arc<Link>,
    wanted: Vec<Wanted>,
    want: i64,
    slot: Slot,
) -> Result<(bool, Vec<Standings>), StoreFailure> {
    let counts = wanted.iter().flat_map(|wanted| wanted.lease.asked(&wanted.shapes, wanted.cost)).collect();
    let answer = link.ask(&Question { want, counts, now: None, reset: false }, &slot).await?;
    let mut rest = &answer.counts[..];
    let mut standings = Vec::new();
    for Wanted { lease, shapes, cost: _ } in &wanted {
        let (own, others) = rest.split_at_checked(shapes.len()).ok_or(StoreFailure::Protocol)?;
        rest = others;
        lease.remember(&Answer { granted: answer.granted, life: None, counts: own.to_vec() });
        let admitted = answer.granted > 0;
        let standing = own.iter().map(|counted| match counted.standing {
            standing if admitted => Standing { retry: 0, ..standing },
            standing => standing,
        });
        standings.push(standing.collect());
    }
    Ok((answer.granted != 0, standings))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
