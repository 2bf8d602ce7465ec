//! How many requests a backend may be asked for once more at a time, so that retries cannot make an outage of a bad
//! moment: a fifth of the requests under way to it, and a few more, whatever their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Retried requests that a backend takes even if it has hardly any others.
const FLOOR: u32 = 32;
/// Of so many requests under way, one more may be a retried one.
const SHARE: u32 = 5;

/// The retried requests of one backend, all workers together. Outlives programs.
#[derive(Debug, Default)]
pub(crate) struct Retries(AtomicU32);

/// A request's leave to be tried again; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct RetryToken(Arc<Retries>);

impl Retries {
    /// None if as many are being retried as the `active` requests allow.
    pub(super) fn begin(self: &Arc<Self>, active: u32) -> Option<RetryToken> {
        // Counted first, so that two that ask at once cannot both take the last place.
        let token = RetryToken(Arc::clone(self));
        let others = self.0.fetch_add(1, Ordering::Relaxed);
        (others < FLOOR.saturating_add(active / SHARE)).then_some(token)
    }
}

impl Drop for RetryToken {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_and_a_fifth_of_what_is_under_way_may_be_retried() {
        let retries = Arc::new(Retries::default());
        let tokens: Vec<_> = std::iter::from_fn(|| retries.begin(50)).collect();
        assert_eq!(tokens.len(), 42);
        assert!(retries.begin(54).is_none() && retries.begin(55).is_some());
        drop(tokens);
        assert_eq!(std::iter::from_fn(|| retries.begin(0).map(std::mem::forget)).count(), 32);
    }
}
