//! Counted for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Of one fetcher, since it was made.
#[derive(Debug, Default)]
pub struct Stats {
    pub fetched: AtomicU64,
    pub failed: AtomicU64,
    /// Questions for keys with an id that nobody knew, as far as they named a source.
    pub wanted: AtomicU64,
    /// Sources at this moment.
    pub sources: AtomicU64,
    /// Of them, those without keys that may be used: their tokens cannot be judged.
    pub without_keys: AtomicU64,
    /// Of what is asked for, what is left out because there are too many.
    pub left_out: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn set(gauge: &AtomicU64, value: usize) {
    gauge.store(u64::try_from(value).unwrap_or(u64::MAX), Ordering::Relaxed);
}
