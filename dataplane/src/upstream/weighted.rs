//! Which backend of a rule a request goes to: smooth weighted round robin, one state per worker.
//!
//! The state is kept across swaps while the weights stay the same, so that an unrelated edit does not restart the
//! sequence. Only the worker that owns a row touches it; atomics are there because the rule is shared, not because
//! anyone races (so plain loads and stores suffice, and a foreign reader could at worst repeat a pick).

use std::sync::atomic::{AtomicI64, Ordering};

/// Workers' rows are padded to this many counters (a cache line of 64 bytes), so that they do not share lines.
const LINE: usize = 8;

#[derive(Debug)]
pub(crate) struct WeightedPick {
    weights: Box<[u32]>,
    /// Sum of the weights.
    total: i64,
    /// The only backend with a weight, if it is the only one: the usual rule costs one branch.
    only: Option<usize>,
    stride: usize,
    /// By worker, then by backend: how far each is behind its share, in units of `1 / total` requests.
    lag: Box<[AtomicI64]>,
}

impl WeightedPick {
    pub(crate) fn new(weights: &[u32], workers: usize) -> Self {
        let mut weighted = weights.iter().enumerate().filter(|(_, weight)| **weight > 0).map(|(index, _)| index);
        let only = match (weighted.next(), weighted.next()) {
            (Some(index), None) => Some(index),
            _ => None,
        };
        let stride = if only.is_some() { 0 } else { weights.len().div_ceil(LINE) * LINE };
        Self {
            weights: weights.into(),
            total: weights.iter().map(|weight| i64::from(*weight)).sum(),
            only,
            stride,
            lag: (0..stride * workers).map(|_| AtomicI64::new(0)).collect(),
        }
    }

    /// The index of the backend that is due; none if no backend has a weight.
    pub(crate) fn pick(&self, worker: usize) -> Option<usize> {
        if self.only.is_some() || self.total == 0 {
            return self.only;
        }
        let row = self.lag.get(worker * self.stride..)?;
        let mut due: Option<(usize, i64)> = None;
        for (index, (weight, lag)) in self.weights.iter().zip(row).enumerate() {
            if *weight == 0 {
                continue;
            }
            let now = lag.load(Ordering::Relaxed) + i64::from(*weight);
            lag.store(now, Ordering::Relaxed);
            // First wins among equals, so that the sequence is the same everywhere.
            if due.is_none_or(|(_, most)| now > most) {
                due = Some((index, now));
            }
        }
        let (index, most) = due?;
        row.get(index)?.store(most - self.total, Ordering::Relaxed);
        Some(index)
    }

    /// Whether this state may be taken over by a rule with these weights.
    pub(crate) fn same_weights(&self, weights: &[u32]) -> bool {
        *self.weights == *weights
    }
}
