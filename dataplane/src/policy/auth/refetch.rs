//! Keys that tokens name and no set has: whoever fetches is asked to look again, once for all tokens of a while. Made-up
//! names cost nobody anything beyond that.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_ir::IssuerKey;
use tokio::sync::Notify;

/// How long one ask counts for all. The fetcher has an interval of its own besides (`minRefetchInterval`).
const AGAIN: Duration = Duration::from_secs(5);
/// Issuers that are remembered; one beyond them waits until an older ask has been forgotten.
const MAX_ISSUERS: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Refetch {
    asks: Mutex<Asks>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct Asks {
    last: HashMap<IssuerKey, Instant>,
    waiting: Vec<IssuerKey>,
}

impl Refetch {
    /// Whether this is a new ask, and not part of one before.
    pub(crate) fn ask(&self, issuer: &IssuerKey, now: Instant) -> bool {
        let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        if asks.last.get(issuer).is_some_and(|last| now.saturating_duration_since(*last) < AGAIN) {
            return false;
        }
        asks.last.retain(|_, last| now.saturating_duration_since(*last) < AGAIN);
        if asks.last.len() >= MAX_ISSUERS {
            return false;
        }
        asks.last.insert(issuer.clone(), now);
        asks.waiting.push(issuer.clone());
        drop(asks);
        self.asked.notify_one();
        true
    }

    /// Issuers whose keys are to be fetched again; waits until there is one.
    pub(crate) async fn next(&self) -> Vec<IssuerKey> {
        loop {
            let waiting = {
                let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut asks.waiting)
            };
            if !waiting.is_empty() {
                return waiting;
            }
            self.asked.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_thousand_made_up_keys_cause_one_ask_per_while() {
        let refetch = Refetch::default();
        let issuer = IssuerKey("https://issuer.test/keys".into());
        let start = Instant::now();
        let asks = (0..5000).filter(|index| refetch.ask(&issuer, start + Duration::from_micros(*index))).count();
        assert_eq!(asks, 1);
        assert!(refetch.ask(&IssuerKey("https://other.test/keys".into()), start));
        assert!(refetch.ask(&issuer, start + AGAIN));
    }
}
