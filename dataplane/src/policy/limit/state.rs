//! What is remembered between requests, whatever program they are served by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use portcullis_ir::{Store, StoreKey, Table};
use portcullis_limits::{Registry, Secret, Time};

use super::LimitProgram;
use super::store::Stores;

/// Seconds: the monotonic clock does not begin at nothing: a word of 0 is a key that was never seen.
const HEAD_START: u64 = 1;

#[derive(Debug)]
pub(crate) struct State {
    registry: Mutex<Registry>,
    pub(super) stores: Arc<Stores>,
    /// Those that may be in force, for people who ask.
    pub(super) programs: Mutex<Vec<Weak<LimitProgram>>>,
    started: Instant,
}

impl Default for State {
    fn default() -> Self {
        Self {
            registry: Mutex::new(Registry::new(Secret::new([rand::random(), rand::random()]))),
            stores: Stores::new(rand::random()),
            programs: Mutex::default(),
            started: Instant::now(),
        }
    }
}

impl State {
    /// Stores are asked on this runtime.
    pub(crate) fn run_on(&self, control: &tokio::runtime::Handle) {
        self.stores.run_on(control);
    }

    /// A configuration is in force: these are its stores.
    pub(crate) fn published(&self, stores: &Table<StoreKey, Store>) {
        self.stores.follow(stores);
        self.registry().sweep();
    }

    /// The process ends: what is held of the stores goes back.
    pub(crate) async fn give_back(&self) {
        self.stores.give_back(true).await;
    }

    pub(super) fn compiled(&self, program: &Arc<LimitProgram>) {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if programs.len() % 256 == 255 {
            programs.retain(|program| program.strong_count() > 0);
        }
        programs.push(Arc::downgrade(program));
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(super) fn time(&self, now: Instant, wall: bool) -> Time {
        let since = now.saturating_duration_since(self.started);
        let unix =
            if wall { SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) } else { 0 };
        // 584 years of nanoseconds.
        let nanoseconds = since.as_secs().saturating_add(HEAD_START).saturating_mul(1_000_000_000);
        Time { monotonic: nanoseconds.saturating_add(u64::from(since.subsec_nanos())), unix }
    }
}
