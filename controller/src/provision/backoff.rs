//! When a Gateway that failed is tried again.

use std::time::Duration;

use tokio::time::Instant;

use super::ProvisionError;

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Backoff {
    times: u32,
    last: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    /// Of what was desired; another desire is tried at once.
    digest: u64,
    error: ProvisionError,
    again: Instant,
}

impl Backoff {
    pub(super) fn failed(&mut self, digest: u64, error: ProvisionError, now: Instant) {
        if self.last.as_ref().is_some_and(|last| last.digest != digest) {
            self.times = 0;
        }
        let wait = FIRST.saturating_mul(1 << self.times.min(5)).min(LONGEST);
        self.times += 1;
        self.last = Some(Failure { digest, error, again: now + wait });
    }

    pub(super) fn is_due(&self, digest: u64, now: Instant) -> bool {
        self.last.as_ref().is_none_or(|last| last.digest != digest || now >= last.again)
    }

    pub(super) fn error(&self) -> Option<ProvisionError> {
        self.last.as_ref().map(|last| last.error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_tried_ever_less_often_and_something_else_at_once() {
        let mut backoff = Backoff::default();
        let error = || ProvisionError::Ending { object: "Service a/b".to_owned() };
        let start = Instant::now();
        assert!(backoff.is_due(1, start));
        let mut waited = Vec::new();
        for _ in 0..7 {
            backoff.failed(1, error(), start);
            waited.push((1..).find(|seconds| backoff.is_due(1, start + Duration::from_secs(*seconds))));
        }
        assert_eq!(waited, [2, 4, 8, 16, 32, 60, 60].map(Some));
        assert!(backoff.is_due(2, start));
        backoff.failed(2, error(), start);
        assert!(backoff.is_due(2, start + FIRST));
    }
}
