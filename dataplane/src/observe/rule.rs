//! Counters of one rule.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_wire::{ErrorClass, Figures, LATENCY_BUCKETS};

use super::{Counter, Flags, flags};

/// Requests by status class, errors by class, and durations. The numbers are allocated by the first request: an idle
/// rule costs one pointer and shows no series.
#[derive(Debug, Default)]
pub(crate) struct RuleMetrics {
    numbers: OnceLock<Box<Numbers>>,
    /// The rule is gone, and with it its series.
    ended: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// 1xx to 5xx by `status / 100 - 1`; the last is "no answer".
    pub(super) classes: [Counter; 6],
    /// By bits of the duration in microseconds: bucket `i` took less than 2^i.
    pub(super) buckets: [Counter; LATENCY_BUCKETS],
    pub(super) micros: Counter,
    backend_errors: Counter,
    gateway_errors: [Counter; ERROR_CLASSES.len()],
}

/// The label of a class index.
pub(super) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// Which flags make which class; of several that fit a request the first counts.
const ERROR_CLASSES: [(ErrorClass, &[Flags]); 8] = [
    (ErrorClass::NoRoute, &[flags::NO_ROUTE]),
    (ErrorClass::Invalid, &[flags::INVALID_BACKEND, flags::INVALID_ROUTE, flags::INTERNAL, flags::UNAVAILABLE]),
    (ErrorClass::NoEndpoints, &[flags::NO_ENDPOINTS]),
    (ErrorClass::Connect, &[flags::UPSTREAM_CONNECT_FAILURE]),
    (ErrorClass::Timeout, &[flags::UPSTREAM_TIMEOUT]),
    (ErrorClass::Upstream, &[flags::UPSTREAM_RESET, flags::UPSTREAM_PROTOCOL]),
    (ErrorClass::Request, &[flags::REQUEST_LIMIT, flags::BAD_REQUEST, flags::DOWNSTREAM_TIMEOUT, flags::MISDIRECTED]),
    (ErrorClass::Denied, &[flags::UNAUTHENTICATED, flags::UNAUTHORIZED]),
];

impl RuleMetrics {
    /// Counts a finished request. Status 0: no answer was sent.
    pub(crate) fn request(&self, status: u16, flags: Flags, duration: Duration) {
        let numbers = self.numbers.get_or_init(Box::default);
        let class = match status / 100 {
            class @ 1..=5 => usize::from(class) - 1,
            _ => 5,
        };
        numbers.classes[class].increment();
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bits = (u64::BITS - micros.leading_zeros()) as usize;
        numbers.buckets[bits.min(LATENCY_BUCKETS - 1)].increment();
        numbers.micros.add(micros);
        if status >= 500 || !flags.is_empty() {
            numbers.error(status, flags);
        }
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn numbers(&self) -> Option<&Numbers> {
        self.numbers.get().map(Box::as_ref)
    }

    /// What has been counted so far, as the stream tells it.
    pub(super) fn figures(&self) -> Figures {
        let Some(numbers) = self.numbers() else { return Figures::default() };
        let errors = ERROR_CLASSES.iter().zip(&numbers.gateway_errors);
        Figures {
            requests: numbers.requests(),
            backend_errors: numbers.backend_errors.value(),
            gateway_errors: errors.map(|((class, _), counter)| (*class, counter.value())).collect(),
            latency: std::array::from_fn(|bucket| numbers.buckets[bucket].value()),
        }
    }
}

impl Numbers {
    pub(super) fn requests(&self) -> u64 {
        self.classes.iter().map(Counter::value).sum()
    }

    #[cold]
    fn error(&self, status: u16, flags: Flags) {
        let ours = |(_, causes): &(ErrorClass, &[Flags])| causes.iter().any(|cause| flags.contains(*cause));
        match ERROR_CLASSES.iter().position(ours) {
            Some(class) => self.gateway_errors[class].increment(),
            None if status >= 500 => self.backend_errors.increment(),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_backends_unless_a_flag_says_that_it_is_ours() {
        let rule = RuleMetrics::default();
        for (status, flags) in [
            (503, Flags::NONE),
            (503, flags::NO_ENDPOINTS),
            (0, flags::DOWNSTREAM_GONE),
            (404, flags::NO_ROUTE),
            (200, flags::RETRIED),
        ] {
            rule.request(status, flags, Duration::ZERO);
        }
        let figures = rule.figures();
        assert_eq!((figures.requests, figures.backend_errors), (5, 1));
        let counted: Vec<_> = figures.gateway_errors.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(ErrorClass::NoRoute, 1), (ErrorClass::NoEndpoints, 1)]);
    }

    #[test]
    fn bucket_i_takes_what_took_less_than_two_to_the_i_microseconds() {
        let rule = RuleMetrics::default();
        for micros in [0, 1, 2, 3, 1023, 1024, u64::MAX] {
            rule.request(200, Flags::NONE, Duration::from_micros(micros));
        }
        let latency = rule.figures().latency;
        let counted: Vec<_> = latency.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        assert_eq!(counted, [(0, &1), (1, &1), (2, &2), (10, &1), (11, &1), (31, &1)]);
    }
}
