//! What takes milliseconds on purpose (bcrypt, argon2), or comes in a flood, runs on threads of its own, a few at a time.
//! What comes beyond those that may wait is turned away: guessing passwords must not cost everybody else their turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_auth::Reason;
use tokio::sync::Semaphore;

/// Checks that may wait for their turn.
const WAITING: usize = 256;

#[derive(Debug)]
pub(super) struct Pool {
    turns: Semaphore,
    waiting: AtomicUsize,
}

impl Pool {
    /// So many run at once.
    pub(super) fn new(turns: usize) -> Self {
        Self { turns: Semaphore::new(turns.max(1)), waiting: AtomicUsize::new(0) }
    }

    /// # Errors
    /// Too many wait already, or the check was given up.
    pub(super) async fn run<T: Send + 'static>(&self, check: impl FnOnce() -> T + Send + 'static) -> Result<T, Reason> {
        let waiting = Waiting::new(&self.waiting)?;
        let turn = self.turns.acquire().await.map_err(|_| Reason::Overloaded)?;
        drop(waiting);
        // Ends by itself, and is awaited with the turn held.
        let done = tokio::task::spawn_blocking(check).await;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[tokio::test]
    async fn so_many_run_so_many_wait_and_the_rest_is_turned_away() {
        let pool = Arc::new(Pool::new(1));
        let (release, released) = sync_channel::<()>(1);
        let first = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(move || released.recv()).await.is_ok() }
        });
        while pool.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let ask = |pool: &Arc<Pool>| {
            let pool = Arc::clone(pool);
            tokio::spawn(async move { pool.run(|| 7).await })
        };
        let waiting: Vec<_> = (0..WAITING).map(|_| ask(&pool)).collect();
        while pool.waiting.load(Ordering::Relaxed) < WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(|| 7).await, Err(Reason::Overloaded));
        drop(release);
        assert!(first.await.is_ok_and(|ran| ran));
        for one in waiting {
            assert!(one.await.is_ok_and(|ran| ran == Ok(7)));
        }
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}
