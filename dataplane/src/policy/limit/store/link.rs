//! The way to one store: a connection that is kept up in the background, and a breaker. A store that fails three times
//! in a row is not asked any more; it is probed until it answers again, so that an outage costs requests nothing.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_ir::{Store, StoreConnection};
use portcullis_limits::{Shape, StoreFailure, Window};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connect::Connection;
use super::question::{Answer, Asked, Memory, Question};

/// Failures in a row after which the store is given a rest.
const FAILURES: u32 = 3;
/// What an answer may take before a rule has said so.
const PATIENCE: Duration = Duration::from_millis(20);
/// Between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// Questions that wait for answers at once, or to be sent; who comes then is told that the store has too much to do.
pub(in crate::policy::limit) const QUESTIONS: usize = 4096;

#[derive(Debug)]
pub(crate) struct Link {
    to: Mutex<Option<StoreConnection>>,
    replicas: AtomicU32,
    connection: Mutex<Option<Connection>>,
    /// Nobody is asked. True until the first connection is there.
    open: AtomicBool,
    /// Why, for those who would ask: a place in [`StoreFailure::ALL`].
    reason: AtomicU8,
    failures: AtomicU32,
    /// How long an answer may take before it counts as a failure, in microseconds: what the rules wait at most.
    patience: AtomicU64,
    slots: Arc<Semaphore>,
    /// Something is to be done: connect, probe.
    work: Arc<Notify>,
    /// Nobody else's.
    nonce: u64,
    /// How many were asked.
    questions: AtomicU64,
}

/// The right to ask. It is had before anything is queued for the store, so that nothing queues without bound.
#[derive(Debug)]
pub(crate) struct Slot(#[allow(dead_code, reason = "it is given back by being dropped")] OwnedSemaphorePermit);

impl Link {
    /// Starts its upkeep on the runtime that this is called on; it ends with the link.
    pub(crate) fn start(store: &Store, nonce: u64, control: &tokio::runtime::Handle) -> Arc<Self> {
        let link = Arc::new(Self {
            to: Mutex::new(store.connection.clone()),
            replicas: AtomicU32::new(store.replicas),
            connection: Mutex::new(None),
            open: AtomicBool::new(true),
            reason: AtomicU8::new(reason(store.connection.is_some()) as u8),
            failures: AtomicU32::new(0),
            patience: AtomicU64::new(0),
            slots: Arc::new(Semaphore::new(QUESTIONS)),
            work: Arc::new(Notify::new()),
            nonce,
            questions: AtomicU64::new(0),
        });
        control.spawn(upkeep(Arc::downgrade(&link)));
        link
    }

    /// The store is reached in another way, or counts for another number of replicas.
    pub(crate) fn follow(&self, store: &Store) {
        self.replicas.store(store.replicas, Ordering::Relaxed);
        let mut to = lock(&self.to);
        if *to != store.connection {
            to.clone_from(&store.connection);
            *lock(&self.connection) = None;
            self.rest(reason(to.is_some()));
        }
    }

    /// A rule waits so long at most. An answer that comes later than the most patient of them waits is none.
    pub(crate) fn wait_for(&self, patience: Duration) {
        self.patience.fetch_max(u64::try_from(patience.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn replicas(&self) -> u64 {
        u64::from(self.replicas.load(Ordering::Relaxed)).max(1)
    }

    pub(crate) fn is_cluster(&self) -> bool {
        lock(&self.connection).as_ref().is_some_and(Connection::is_cluster)
    }

    /// Why nobody is asked now.
    #[inline]
    pub(crate) fn resting(&self) -> Option<StoreFailure> {
        self.open.load(Ordering::Acquire).then(|| self.reason())
    }

    /// # Errors
    /// [`StoreFailure::Overload`]: nobody waits for one.
    pub(crate) fn slot(&self) -> Result<Slot, StoreFailure> {
        Arc::clone(&self.slots).try_acquire_owned().map(Slot).map_err(|_| StoreFailure::Overload)
    }

    /// # Errors
    /// Why there is no answer. An answer that comes too late for those who wait is still given.
    pub(crate) async fn ask(&self, question: &Question, _right: &Slot) -> Result<Answer, StoreFailure> {
        if let Some(reason) = self.resting() {
            return Err(reason);
        }
        let Some(mut connection) = lock(&self.connection).clone() else { return Err(StoreFailure::Connect) };
        let (patience, name) = (self.patience(), self.name());
        let mut answer = std::pin::pin!(connection.ask(question, &name));
        match tokio::time::timeout(patience, &mut answer).await {
            Ok(answer) => {
                match &answer {
                    Ok(_) => self.failures.store(0, Ordering::Relaxed),
                    Err(failure) => self.failed(*failure),
                }
                answer
            }
            Err(_) => {
                self.failed(StoreFailure::Timeout);
                answer.await
            }
        }
    }

    /// Somebody has waited for an answer as long as the rule lets it.
    pub(crate) fn gave_up(&self) {
        self.failed(StoreFailure::Timeout);
    }

    fn patience(&self) -> Duration {
        match self.patience.load(Ordering::Relaxed) {
            0 => PATIENCE,
            patience => Duration::from_micros(patience),
        }
    }

    fn failed(&self, failure: StoreFailure) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.rest(failure);
        }
    }

    fn rest(&self, failure: StoreFailure) {
        self.reason.store(failure as u8, Ordering::Relaxed);
        if !self.open.swap(true, Ordering::AcqRel) {
            tracing::warn!(%failure, "the store of rate limits is not asked until it answers a probe");
        }
        self.work.notify_one();
    }

    fn reason(&self) -> StoreFailure {
        let reason = StoreFailure::ALL.get(usize::from(self.reason.load(Ordering::Relaxed)));
        reason.copied().unwrap_or(StoreFailure::Connect)
    }

    /// For what a question makes in the store: made again, after a flush, it must not be taken for what was there before.
    fn name(&self) -> String {
        format!("{:016x}{:x}", self.nonce, self.questions.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether the store answers in time, over a new connection if there is none.
    async fn probe(&self) -> Result<(), StoreFailure> {
        let Some(to) = lock(&self.to).clone() else { return Err(StoreFailure::Unknown) };
        let held = lock(&self.connection).clone();
        let mut connection = match held {
            Some(connection) => connection,
            None => Connection::open(&to).await?,
        };
        let since = Instant::now();
        let answered = connection.ask(&probe(), &self.name()).await;
        let late = since.elapsed() > self.patience();
        // Another way was asked for meanwhile.
        if lock(&self.to).as_ref() != Some(&to) {
            return Err(StoreFailure::Connect);
        }
        let keep = !matches!(answered, Err(StoreFailure::Connect | StoreFailure::Timeout | StoreFailure::ReadOnly));
        *lock(&self.connection) = keep.then_some(connection);
        match answered {
            Ok(_) if late => Err(StoreFailure::Timeout),
            answered => answered.map(drop),
        }
    }
}

async fn upkeep(link: std::sync::Weak<Link>) {
    loop {
        let Some(held) = link.upgrade() else { return };
        if held.open.load(Ordering::Acquire) {
            match held.probe().await {
                Ok(()) => {
                    held.failures.store(0, Ordering::Relaxed);
                    held.open.store(false, Ordering::Release);
                    tracing::info!("the store of rate limits answers");
                }
                Err(failure) => held.reason.store(failure as u8, Ordering::Relaxed),
            }
        }
        let (resting, work) = (held.open.load(Ordering::Acquire), Arc::clone(&held.work));
        drop(held);
        // A link that is not used any more is noticed at the next look.
        let pause = if resting { PROBE_EVERY } else { Duration::from_secs(1) };
        let _ = tokio::time::timeout(pause, work.notified()).await;
    }
}

/// A question that writes, as all others do: a store that can only be read is none.
fn probe() -> Question {
    let asked = Asked {
        key: "portcullis:probe".into(),
        shape: Shape::Window(Window::new(1_000_000, 1_000_000_000, 1_000_000)),
        cost: 1,
        memory: Memory::default(),
    };
    Question { want: 1, reset: false, counts: vec![asked], now: None }
}

fn reason(known: bool) -> StoreFailure {
    if known { StoreFailure::Connect } else { StoreFailure::Unknown }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
