//! What takes milliseconds on purpose (bcrypt, argon2) runs on threads of its own, a few at a time. What comes beyond
//! those that may wait is turned away: guessing passwords must not cost everybody else their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_auth::{Reason, SlowCheck};
use portcullis_expressions::Identity;
use tokio::sync::Semaphore;

/// Checks that may wait for their turn.
const WAITING: usize = 256;

#[derive(Debug)]
pub(super) struct Pool {
    turns: Semaphore,
    waiting: AtomicUsize,
}

impl Pool {
    /// Half of the processors: the other half goes on serving.
    pub(super) fn new(workers: usize) -> Self {
        Self { turns: Semaphore::new(workers.div_ceil(2).max(1)), waiting: AtomicUsize::new(0) }
    }

    /// # Errors
    /// Too many wait already, or the check was given up.
    pub(super) async fn run(&self, check: SlowCheck) -> Result<Option<Arc<Identity>>, Reason> {
        let waiting = Waiting::new(&self.waiting)?;
        let turn = self.turns.acquire().await.map_err(|_| Reason::Overloaded)?;
        drop(waiting);
        // Ends by itself, and is awaited with the turn held.
        let done = tokio::task::spawn_blocking(move || check.run()).await;
        drop(turn);
        done.map_err(|_| Reason::Unavailable)
    }
}

/// Counts one that waits, also if its client leaves meanwhile.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Result<Self, Reason> {
        let waiting = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) < WAITING { Ok(waiting) } else { Err(Reason::Overloaded) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
