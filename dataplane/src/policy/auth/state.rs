//! What authentication remembers between requests, whatever program they are served by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_auth::{Cache, Reason};
use portcullis_expressions::Identity;

use super::flood::Wrong;
use super::refetch::Refetch;
use super::slow::Pool;

/// Verified credentials that one worker remembers, and their bytes.
const VERIFIED: (usize, usize) = (16_384, 32 * 1024 * 1024);
/// Credentials that were found wrong by a costly look at them.
const REFUSED: (usize, usize) = (4096, 4 * 1024 * 1024);

#[derive(Debug)]
pub(crate) struct State {
    /// One per worker: its lock is never waited for.
    remembered: Box<[Mutex<Remembered>]>,
    pub(super) slow: Pool,
    /// For signatures in a flood of wrong ones.
    pub(super) flooded: Pool,
    pub(crate) refetch: Refetch,
}

#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) verified: Cache<Arc<Identity>>,
    pub(super) refused: Cache<Reason>,
    pub(super) wrong: Wrong,
}

impl State {
    pub(crate) fn new(workers: usize) -> Self {
        let remembered = || {
            Mutex::new(Remembered {
                verified: Cache::new(VERIFIED.0, VERIFIED.1),
                refused: Cache::new(REFUSED.0, REFUSED.1),
                wrong: Wrong::default(),
            })
        };
        Self {
            remembered: (0..workers.max(1)).map(|_| remembered()).collect(),
            // Half of the processors: the other half goes on serving.
            slow: Pool::new(workers.div_ceil(2)),
            flooded: Pool::new(workers.div_ceil(4)),
            refetch: Refetch::default(),
        }
    }

    /// Of a worker. Never held while anything is awaited.
    pub(super) fn remembered(&self, worker: usize) -> MutexGuard<'_, Remembered> {
        // There are as many as there are workers.
        self.remembered.get(worker).unwrap_or(&self.remembered[0]).lock().unwrap_or_else(PoisonError::into_inner)
    }
}
