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

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    use super::WeightedPick;

    /// The largest distance from a backend's share in any window of `length` picks.
    fn deviation(weights: &[u32], picks: &[usize], length: usize) -> f64 {
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let mut worst: f64 = 0.0;
        for (index, weight) in weights.iter().enumerate() {
            let share = length as f64 * f64::from(*weight) / total;
            for window in picks.windows(length) {
                let count = window.iter().filter(|pick| **pick == index).count();
                worst = worst.max((count as f64 - share).abs());
            }
        }
        worst
    }

    fn picks(weights: &[u32], count: usize) -> Vec<usize> {
        let pick = WeightedPick::new(weights, 1);
        (0..count).map(|_| pick.pick(0).unwrap_or(usize::MAX)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn two_backends_are_never_more_than_one_request_off_in_any_window(a in 0_u32..1_000_000, b in 1_u32..1_000_000) {
            let weights = [a, b];
            prop_assert!(deviation(&weights, &picks(&weights, 2_000), 1_000) <= 1.0);
        }

        /// A window may begin anywhere, so one more than from the start: no sequence of more than two can do better
        /// for all weights (Fraenkel).
        #[test]
        fn any_number_of_backends_stays_within_one_of_its_rounded_share(weights in proptest::collection::vec(0_u32..1_000, 3..9)) {
            if weights.iter().any(|weight| *weight > 0) {
                prop_assert!(deviation(&weights, &picks(&weights, 2_000), 1_000) < 2.0);
            }
        }

        #[test]
        fn weight_zero_gets_nothing(mut weights in proptest::collection::vec(0_u32..100, 1..9), zero in any::<proptest::sample::Index>()) {
            let zero = zero.index(weights.len());
            weights[zero] = 0;
            prop_assert!(!picks(&weights, 500).contains(&zero));
        }
    }

    #[test]
    fn common_splits_are_exact_in_any_window() {
        for weights in [&[90, 10][..], &[999, 1], &[1, 1], &[50, 30, 20]] {
            assert!(deviation(weights, &picks(weights, 3_000), 1_000) < 1e-9, "{weights:?}");
        }
    }

    #[test]
    fn picks_are_spread_instead_of_bunched() {
        assert_eq!(picks(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn nothing_is_picked_where_nothing_has_a_weight() {
        assert_eq!(WeightedPick::new(&[0, 0], 1).pick(0), None);
        assert_eq!(WeightedPick::new(&[], 1).pick(0), None);
        assert_eq!(WeightedPick::new(&[0, 3], 1).pick(0), Some(1));
    }

    #[test]
    fn workers_count_for_themselves() {
        let pick = WeightedPick::new(&[1, 1], 2);
        assert_eq!((pick.pick(0), pick.pick(1), pick.pick(0), pick.pick(1)), (Some(0), Some(0), Some(1), Some(1)));
        assert_eq!(pick.pick(7), None);
    }

    #[test]
    fn a_state_is_taken_over_only_by_the_same_weights() {
        let pick = WeightedPick::new(&[1, 2], 1);
        assert!(pick.same_weights(&[1, 2]) && !pick.same_weights(&[2, 1]) && !pick.same_weights(&[1, 2, 0]));
    }
}
