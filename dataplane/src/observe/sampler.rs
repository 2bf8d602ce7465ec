//! Which requests are logged. One sampler per worker: its counters are never contended.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use super::Flags;
use crate::settings::AccessLog;

/// Failed requests logged per second and worker beside the sample.
const FAILURES_PER_SECOND: u64 = 50;

#[derive(Debug)]
pub(crate) struct Sampler {
    log: AccessLog,
    /// Requests until the next sampled one. Written by one worker only: plain loads and stores suffice.
    countdown: AtomicU32,
    started: Instant,
    /// The second in which failures were counted last in the upper half, how many in the lower.
    failures: AtomicU64,
}

impl Sampler {
    pub(crate) fn new(log: AccessLog, now: Instant) -> Self {
        Self { log, countdown: AtomicU32::new(0), started: now, failures: AtomicU64::new(0) }
    }

    /// Whether a finished request is logged. Call it once per request, on the worker that owns the sampler.
    pub(crate) fn wants(&self, flags: Flags, now: Instant) -> bool {
        match self.log {
            AccessLog::Off => false,
            AccessLog::All => true,
            AccessLog::Sampled(every) => {
                let left = self.countdown.load(Ordering::Relaxed);
                if left == 0 {
                    self.countdown.store(every.saturating_sub(1), Ordering::Relaxed);
                    return true;
                }
                self.countdown.store(left - 1, Ordering::Relaxed);
                !flags.is_empty() && flags.is_failure() && self.failure_fits(now)
            }
        }
    }

    fn failure_fits(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.started).as_secs() & 0xffff_ffff;
        let seen = self.failures.load(Ordering::Relaxed);
        let count = if seen >> 32 == second { seen & 0xffff_ffff } else { 0 };
        self.failures.store((second << 32) | (count + 1).min(FAILURES_PER_SECOND), Ordering::Relaxed);
        count < FAILURES_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::flags;

    #[test]
    fn one_in_n_is_logged() {
        let now = Instant::now();
        let sampler = Sampler::new(AccessLog::Sampled(10), now);
        assert_eq!((0..1000).filter(|_| sampler.wants(Flags::NONE, now)).count(), 100);
    }

    #[test]
    fn failures_are_logged_beside_the_sample_up_to_a_rate() {
        let now = Instant::now();
        let sampler = Sampler::new(AccessLog::Sampled(u32::MAX), now);
        assert!(sampler.wants(Flags::NONE, now), "the first request is the sample");
        let logged = |at| (0..1000).filter(|_| sampler.wants(flags::NO_ENDPOINTS, at)).count();
        assert_eq!(logged(now), 50);
        assert_eq!(logged(now + Duration::from_secs(1)), 50);
    }

    #[test]
    fn off_is_off_even_for_failures() {
        let now = Instant::now();
        assert!(!Sampler::new(AccessLog::Off, now).wants(flags::INTERNAL, now));
    }
}
