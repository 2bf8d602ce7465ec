//! Prepaid units of one key: taken from the store ahead of use, spent here without asking anybody.
//!
//! A lease begins at one unit, so that a small limit is exact by itself, and grows while it is spent quickly, up to one
//! fiftieth of what a replica's part of the limit is, 64 at most. It is renewed in the background when half of it is
//! spent. What is not used within a second is given back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_limits::{Shape, Standing, Standings, StoreFailure};
use tokio::sync::oneshot;

use super::question::{Answer, Asked, Memory};

/// Units that a lease may have at most.
const MOST: u64 = 64;
/// A replica holds at most one in so many of its part of a limit.
const PARTS: u64 = 50;
/// Requests that wait for one key's units at once; further ones are told that the store has too much to do.
const WAITING: usize = 10_000;
/// A lease that is spent within this time was too small.
const QUICK: u64 = 100;
/// Milliseconds after which an unused unit is given back, and for which a refusal is remembered at most.
pub(super) const QUIET: u64 = 1_000;
const REFUSAL: u64 = 50;
const UNIT_BITS: u32 = 24;
const UNITS: u64 = (1 << UNIT_BITS) - 1;

/// What a request hears that waits for the store.
pub(crate) type Reply = Result<Heard, StoreFailure>;

#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Granted(Standings),
    Refused(Standings),
}

#[derive(Debug)]
pub(crate) struct Lease {
    /// Names of the key's counters, one of each limit.
    pub(super) keys: Vec<Arc<str>>,
    /// The millisecond at which the units end, above [`UNIT_BITS`] of units.
    word: AtomicU64,
    used: AtomicU64,
    /// Somebody looks after its units.
    pub(super) held: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    memories: Vec<Memory>,
    /// What the limits were when units were taken last: they go back to the same.
    shapes: Vec<Shape>,
    /// Units to take ahead, beside what is waited for.
    size: u64,
    /// A question is on its way.
    asking: bool,
    waiting: VecDeque<Waiter>,
    standings: Standings,
    granted_at: u64,
    /// The millisecond at which what was granted last ends.
    life: u64,
    /// Until this millisecond nothing is to be had.
    refused_until: u64,
}

#[derive(Debug)]
struct Waiter {
    units: u64,
    reply: oneshot::Sender<Reply>,
}

/// What is known of a key without asking anybody.
#[derive(Debug)]
pub(crate) enum InHand {
    /// Units were there, and are taken. `renew`: whoever gets this has to take more from the store.
    Granted { standings: Standings, renew: bool },
    /// The store has just said that there are none.
    Refused(Standings),
}

/// How a request fares that wants units.
#[derive(Debug)]
pub(crate) enum Taken {
    Now(InHand),
    /// Wait; `ask` says that whoever gets this has to ask the store.
    Wait {
        reply: oneshot::Receiver<Reply>,
        ask: bool,
    },
    Overload,
}

impl Lease {
    pub(crate) fn new(keys: Vec<Arc<str>>) -> Self {
        let memories = keys.iter().map(|_| Memory::default()).collect();
        Self {
            keys,
            word: AtomicU64::new(0),
            used: AtomicU64::new(0),
            held: AtomicBool::new(false),
            inner: Mutex::new(Inner { memories, size: 1, ..Inner::default() }),
        }
    }

    /// None: nothing was taken, and the store has to be asked, or is being asked. `now` in milliseconds of a clock that does
    /// not go back.
    pub(crate) fn take_in_hand(&self, units: u64, now: u64) -> Option<InHand> {
        self.used.store(now, Ordering::Relaxed);
        // Under the lock: what is granted meanwhile would be told as left, or as taken, by mistake.
        let mut inner = self.lock();
        if let Some(left) = self.spend(units, now) {
            let renew = !inner.asking && inner.size > 1 && left <= inner.size / 2 && now >= inner.refused_until;
            inner.asking |= renew;
            return Some(InHand::Granted { standings: inner.standings_with(left, true), renew });
        }
        let refused = now < inner.refused_until && inner.waiting.is_empty();
        refused.then(|| InHand::Refused(inner.standings_with(self.units(now), false)))
    }

    /// As [`Self::take_in_hand`], and waits in line for what the store gives.
    pub(crate) fn take(&self, units: u64, now: u64) -> Taken {
        if let Some(in_hand) = self.take_in_hand(units, now) {
            return Taken::Now(in_hand);
        }
        let mut inner = self.lock();
        if inner.waiting.len() >= WAITING {
            return Taken::Overload;
        }
        let (reply, receiver) = oneshot::channel();
        inner.waiting.push_back(Waiter { units, reply });
        let ask = !inner.asking;
        inner.asking = true;
        Taken::Wait { reply: receiver, ask }
    }

    /// Units that were taken and not used.
    pub(super) fn put_back(&self, units: u64, now: u64) {
        // Who was just told of a grant may be here before all of it is written down.
        let life = self.lock().life;
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (ends, left) = if ends(word) > now { (ends(word), word & UNITS) } else { (life, 0) };
            (ends > now).then(|| (ends << UNIT_BITS) | (left + units).min(UNITS))
        });
    }

    /// What is asked of the store: what is waited for, and a lease ahead.
    pub(super) fn wanted(&self, shapes: &[Shape], replicas: u64) -> (u64, Vec<Asked>) {
        let mut inner = self.lock();
        let most = shapes.iter().map(|shape| shape.most() / (replicas * PARTS)).min().unwrap_or(1).clamp(1, MOST);
        inner.size = inner.size.min(most);
        if inner.shapes != shapes {
            inner.shapes = shapes.to_vec();
        }
        let waiting: u64 = inner.waiting.iter().map(|waiter| waiter.units).sum();
        let ahead = if inner.size > 1 { inner.size } else { 0 };
        ((waiting + ahead).clamp(1, UNITS / 2), self.counts(&inner, shapes, 1))
    }

    /// The limits as units were taken from them.
    pub(super) fn taken(&self) -> Vec<Asked> {
        let inner = self.lock();
        self.counts(&inner, &inner.shapes, 1)
    }

    /// The limits as they are asked for, each unit costing so much.
    pub(super) fn asked(&self, shapes: &[Shape], cost: u64) -> Vec<Asked> {
        self.counts(&self.lock(), shapes, cost)
    }

    fn counts(&self, inner: &Inner, shapes: &[Shape], cost: u64) -> Vec<Asked> {
        let limits = self.keys.iter().zip(shapes).zip(&inner.memories);
        limits
            .map(|((key, shape), memory)| Asked { key: Arc::clone(key), shape: *shape, cost, memory: memory.clone() })
            .collect()
    }

    /// Hands out what the store gave; true if somebody came to wait meanwhile, for whom it must be asked again.
    pub(super) fn settle(&self, answer: Result<Answer, StoreFailure>, wanted: u64, now: u64) -> bool {
        let mut inner = self.lock();
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                inner.asking = false;
                for waiter in inner.waiting.drain(..) {
                    // Who has left does not want to know.
                    let _ = waiter.reply.send(Err(failure));
                }
                return false;
            }
        };
        let granted = u64::try_from(answer.granted).unwrap_or(0);
        inner.remember(&answer);
        let mut left = granted + self.drain(now);
        let life = answer.life.map_or(u64::MAX, |life| now + millis(life)).min(u64::MAX >> UNIT_BITS);
        inner.life = life;
        if granted < wanted {
            let retry = answer.counts.iter().map(|counted| millis(counted.retry)).max().unwrap_or(0);
            inner.refused_until = now + retry.min(REFUSAL);
        }
        let quick = now.saturating_sub(inner.granted_at) < QUICK;
        inner.size = if quick { (inner.size * 2).min(MOST) } else { (inner.size / 2).max(1) };
        inner.granted_at = now;
        let mut served = 0;
        while let Some(waiter) = inner.waiting.pop_front() {
            served += waiter.units;
            if waiter.units <= left {
                let standings = inner.standings_with(left - waiter.units, true);
                // A request that has given up leaves its units to the next.
                if waiter.reply.send(Ok(Heard::Granted(standings))).is_ok() {
                    left -= waiter.units;
                }
            } else if served <= wanted || granted < wanted {
                let _ = waiter.reply.send(Ok(Heard::Refused(inner.standings_with(left, false))));
            } else {
                // It came after the question.
                inner.waiting.push_front(waiter);
                break;
            }
        }
        self.word.store((life << UNIT_BITS) | left.min(UNITS), Ordering::Relaxed);
        inner.asking = !inner.waiting.is_empty();
        inner.asking
    }

    /// Nobody can be asked: those who wait hear so.
    pub(crate) fn unanswered(&self, failure: StoreFailure, now: u64) {
        self.settle(Err(failure), 0, now);
    }

    pub(super) fn remember(&self, answer: &Answer) {
        self.lock().remember(answer);
    }

    /// Everything that is left, to be given back; nothing while it is used.
    pub(super) fn unused(&self, now: u64) -> u64 {
        if now.saturating_sub(self.used.load(Ordering::Relaxed)) < QUIET || self.lock().asking {
            return 0;
        }
        self.lock().size = 1;
        self.drain(now)
    }

    pub(super) fn drain(&self, now: u64) -> u64 {
        let word = self.word.swap(0, Ordering::Relaxed);
        if ends(word) > now { word & UNITS } else { 0 }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn units(&self, now: u64) -> u64 {
        let word = self.word.load(Ordering::Relaxed);
        if ends(word) > now { word & UNITS } else { 0 }
    }

    /// Forgets what is held and remembered.
    pub(super) fn reset(&self) {
        self.word.store(0, Ordering::Relaxed);
        let mut inner = self.lock();
        // What is put back now was taken before: it is forgotten with the rest.
        (inner.refused_until, inner.life) = (0, 0);
        inner.memories.iter_mut().for_each(|memory| *memory = Memory::default());
    }

    /// What is left after `units` were taken; none if there is not so much.
    fn spend(&self, units: u64, now: u64) -> Option<u64> {
        let taken = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            (ends(word) > now && word & UNITS >= units).then(|| word - units)
        });
        taken.ok().map(|word| (word & UNITS) - units)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remember(&mut self, answer: &Answer) {
        for (memory, counted) in self.memories.iter_mut().zip(&answer.counts) {
            if let Some(newer) = &counted.memory {
                memory.clone_from(newer);
            }
        }
        self.standings = answer.counts.iter().map(|counted| counted.standing).collect();
    }

    /// What is held here is left, too.
    fn standings_with(&self, held: u64, granted: bool) -> Standings {
        let with = |standing: &Standing| Standing {
            remaining: standing.remaining.saturating_add(held),
            reset: standing.reset,
            retry: if granted { 0 } else { standing.retry },
        };
        self.standings.iter().map(with).collect()
    }
}

fn ends(word: u64) -> u64 {
    word >> UNIT_BITS
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> UNIT_BITS)
}
