//! Counters of one rule.

use std::sync::OnceLock;
use std::time::Duration;

use super::Counter;

/// Upper bounds of the duration buckets, in microseconds; the last bucket has none.
pub(super) const BUCKETS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
    60_000_000,
];

/// Requests by status class and their durations. The numbers are allocated by the first request: an idle rule costs
/// one pointer and shows no series.
#[derive(Debug, Default)]
pub(crate) struct RuleMetrics {
    numbers: OnceLock<Box<Numbers>>,
}

#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// 1xx to 5xx by `status / 100 - 1`; the last is "no answer".
    pub(super) classes: [Counter; 6],
    pub(super) buckets: [Counter; BUCKETS.len() + 1],
    pub(super) micros: Counter,
}

impl RuleMetrics {
    /// Counts a finished request. Status 0: no answer was sent.
    pub(crate) fn request(&self, status: u16, duration: Duration) {
        let numbers = self.numbers.get_or_init(Box::default);
        let class = match status / 100 {
            class @ 1..=5 => usize::from(class) - 1,
            _ => 5,
        };
        numbers.classes[class].increment();
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|&bound| micros <= bound).unwrap_or(BUCKETS.len());
        numbers.buckets[bucket].increment();
        numbers.micros.add(micros);
    }

    pub(super) fn numbers(&self) -> Option<&Numbers> {
        self.numbers.get().map(Box::as_ref)
    }
}

/// The label of a class index.
pub(super) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
