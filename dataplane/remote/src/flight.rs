//! One question for all who want to know the same, and a memory of answers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

pub(crate) type Key = [u8; 32];

/// Of something that is not to be kept itself.
pub(crate) fn key(parts: &[&[u8]]) -> Key {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut key = [0; 32];
    key.copy_from_slice(hash.finish().as_ref());
    key
}

/// Answers by key, each with how long it counts. Times are milliseconds since 1970.
#[derive(Debug)]
pub(crate) struct Flights<A> {
    entries: Mutex<HashMap<Key, Entry<A>, foldhash::fast::RandomState>>,
    max_entries: usize,
    places: Arc<Semaphore>,
}

#[derive(Debug)]
enum Entry<A> {
    Known { answer: A, until: u64 },
    Asked(watch::Receiver<Option<A>>),
}

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Too many questions are under way.
    Overloaded,
    /// The question was dropped: its task has panicked or its runtime has ended.
    Dropped,
}

impl<A: Clone + Send + Sync + 'static> Flights<A> {
    /// `max_entries` answers are kept; `max_flights` questions are asked at once.
    pub(crate) fn new(max_entries: usize, max_flights: usize) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            max_entries: max_entries.max(1),
            places: Arc::new(Semaphore::new(max_flights)),
        })
    }

    /// The answer that is known, or that the one question under way brings; or `question` is asked on `runtime`, which
    /// gives the answer and until when it counts.
    pub(crate) async fn ask<F>(
        self: &Arc<Self>,
        key: Key,
        now: u64,
        runtime: &Handle,
        question: impl FnOnce() -> F,
    ) -> Result<A, NoAnswer>
    where
        F: Future<Output = (A, u64)> + Send + 'static,
    {
        let mut answer = match self.look(key, now, runtime, question)? {
            Entry::Known { answer, .. } => return Ok(answer),
            Entry::Asked(answer) => answer,
        };
        let answer = answer.wait_for(Option::is_some).await.map_err(|_| NoAnswer::Dropped)?;
        answer.clone().ok_or(NoAnswer::Dropped)
    }

    fn look<F>(
        self: &Arc<Self>,
        key: Key,
        now: u64,
        runtime: &Handle,
        question: impl FnOnce() -> F,
    ) -> Result<Entry<A>, NoAnswer>
    where
        F: Future<Output = (A, u64)> + Send + 'static,
    {
        let mut entries = self.lock();
        match entries.get(&key) {
            Some(Entry::Known { answer, until }) if now < *until => {
                return Ok(Entry::Known { answer: answer.clone(), until: *until });
            }
            // One whose sender is gone without an answer will never have one.
            Some(Entry::Asked(answer)) if answer.has_changed().is_ok() || answer.borrow().is_some() => {
                return Ok(Entry::Asked(answer.clone()));
            }
            _ => {}
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| NoAnswer::Overloaded)?;
        let (sender, receiver) = watch::channel(None);
        make_room(&mut entries, self.max_entries, now);
        entries.insert(key, Entry::Asked(receiver.clone()));
        let (asking, flights) = (question(), Arc::clone(self));
        runtime.spawn(async move {
            let (answer, until) = asking.await;
            drop(place);
            let mut entries = flights.lock();
            entries.insert(key, Entry::Known { answer: answer.clone(), until });
            drop(entries);
            sender.send_replace(Some(answer));
        });
        Ok(Entry::Asked(receiver))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry<A>, foldhash::fast::RandomState>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room<A>(entries: &mut HashMap<Key, Entry<A>, foldhash::fast::RandomState>, max: usize, now: u64) {
    if entries.len() < max {
        return;
    }
    entries.retain(|_, entry| matches!(entry, Entry::Known { until, .. } if now < *until));
    // Any will do: whoever needs it asks once more.
    while entries.len() >= max
        && let Some(key) = entries.keys().next().copied()
    {
        entries.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_share_one_question_and_its_answer_counts_until_it_is_over() {
        let flights = Flights::<u32>::new(10, 10);
        let asked = Arc::new(AtomicUsize::new(0));
        let (release, released) = oneshot::channel::<()>();
        let mut released = Some(released);
        let runtime = Handle::current();
        let mut waiting = Vec::new();
        for _ in 0..50 {
            let (flights, runtime, asked, released) =
                (Arc::clone(&flights), runtime.clone(), Arc::clone(&asked), released.take());
            waiting.push(tokio::spawn(async move {
                let question = || async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    if let Some(released) = released {
                        released.await.unwrap();
                    }
                    (7, 100)
                };
                flights.ask(key(&[b"a"]), 50, &runtime, question).await
            }));
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(7));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(flights.ask(key(&[b"a"]), 99, &runtime, || async { (8, 0) }).await, Ok(7));
        assert_eq!(flights.ask(key(&[b"a"]), 100, &runtime, || async { (8, 0) }).await, Ok(8));
    }

    #[tokio::test]
    async fn neither_questions_nor_answers_grow_without_a_bound() {
        let flights = Flights::<u32>::new(4, 2);
        let runtime = Handle::current();
        for at in 0..20_u32 {
            assert_eq!(flights.ask(key(&[&at.to_be_bytes()]), 0, &runtime, || async move { (at, 1000) }).await, Ok(at));
            assert!(flights.lock().len() <= 4);
        }
        let hang = |flights: &Arc<Flights<u32>>, at: u8| {
            let (flights, runtime) = (Arc::clone(flights), runtime.clone());
            tokio::spawn(
                async move { flights.ask(key(&[&[at]]), 0, &runtime, std::future::pending::<(u32, u64)>).await },
            )
        };
        let hung = [hang(&flights, 1), hang(&flights, 2)];
        tokio::task::yield_now().await;
        assert_eq!(flights.ask(key(&[b"x"]), 0, &runtime, || async { (0, 0) }).await, Err(NoAnswer::Overloaded));
        hung.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_question_that_panics_is_asked_again() {
        let flights = Flights::<u32>::new(4, 2);
        let runtime = Handle::current();
        let broken = flights.ask(key(&[b"a"]), 0, &runtime, || async { panic!("as it should") }).await;
        assert_eq!(broken, Err(NoAnswer::Dropped));
        assert_eq!(flights.ask(key(&[b"a"]), 0, &runtime, || async { (1, 10) }).await, Ok(1));
    }
}
