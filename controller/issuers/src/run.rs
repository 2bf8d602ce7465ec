//! The loop that fetches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_ir::{Issuer, IssuerKey};
use portcullis_translate::IssuerSource;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::fetch::{Failed, fetch};
use crate::schedule::{Found, Job, Schedule};
use crate::stats::{Stats, count, set};

/// Fetches at once.
const MAX_FETCHES: usize = 8;
/// Questions that wait; a source needs to be asked for but once.
const QUEUE: usize = 256;

/// What is to be fetched.
pub type Sources = Arc<BTreeMap<IssuerKey, Arc<IssuerSource>>>;

/// Runs until its [`Handle`] is gone.
#[derive(Debug)]
pub struct Fetcher {
    schedule: Schedule,
    start: Instant,
    sources: watch::Receiver<Sources>,
    wanted: mpsc::Receiver<IssuerKey>,
    found: watch::Sender<Arc<BTreeMap<IssuerKey, Found>>>,
    seeds: BTreeMap<IssuerKey, (Arc<Issuer>, Duration)>,
    stats: Arc<Stats>,
}

/// What others see of a [`Fetcher`].
#[derive(Debug)]
pub struct Handle {
    sources: watch::Sender<Sources>,
    wanting: Wanting,
    found: watch::Receiver<Arc<BTreeMap<IssuerKey, Found>>>,
    start: SystemTime,
    stats: Arc<Stats>,
}

/// Asks for sources to be fetched once more.
#[derive(Clone, Debug)]
pub struct Wanting(mpsc::Sender<IssuerKey>);

impl Wanting {
    /// Somebody met a key id that is in no set of this source. Never waits: one more question among hundreds is lost
    /// without harm.
    pub fn want(&self, key: IssuerKey) {
        let _ = self.0.try_send(key);
    }
}

impl Fetcher {
    /// `seeds` is what somebody else obtained, and how long ago: it counts until there is news.
    pub fn new(seeds: BTreeMap<IssuerKey, (Arc<Issuer>, Duration)>) -> (Self, Handle) {
        let (sources_sender, sources) = watch::channel(Sources::default());
        let (wanted_sender, wanted) = mpsc::channel(QUEUE);
        let (found_sender, found) = watch::channel(Arc::default());
        let stats = Arc::<Stats>::default();
        let start = Instant::now();
        let fetcher = Self {
            schedule: Schedule::default(),
            start,
            sources,
            wanted,
            found: found_sender,
            seeds,
            stats: Arc::clone(&stats),
        };
        let start = SystemTime::now();
        (fetcher, Handle { sources: sources_sender, wanting: Wanting(wanted_sender), found, start, stats })
    }

    pub async fn run(mut self) {
        let mut jobs: JoinSet<(Job, Result<Issuer, Failed>)> = JoinSet::new();
        loop {
            let now = self.now();
            self.schedule.expire(now);
            self.tell();
            while jobs.len() < MAX_FETCHES
                && let Some(job) = self.schedule.begin(now)
            {
                jobs.spawn(async move {
                    let fetched = fetch(&job.source).await;
                    (job, fetched)
                });
            }
            let next =
                self.schedule.next(jobs.len() < MAX_FETCHES).map(|next| self.start + next.saturating_sub(OFFSET));
            tokio::select! {
                changed = self.sources.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_sources();
                }
                Some(key) = self.wanted.recv() => {
                    if self.schedule.wanted(&key) {
                        count(&self.stats.wanted);
                    }
                }
                Some(ended) = jobs.join_next() => match ended {
                    Ok((job, fetched)) => self.end(&job, fetched),
                    // Its source stays under way until it changes; nothing of a fetch panics.
                    Err(error) => tracing::error!(%error, "a fetch has panicked; please report it"),
                },
                () = until(next) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed() + OFFSET
    }

    fn take_sources(&mut self) {
        let sources = Arc::clone(&self.sources.borrow_and_update());
        let now = self.now();
        let left_out = self.schedule.sources(&sources, now);
        if left_out > 0 {
            tracing::error!(left_out, "too many issuers; tokens of some cannot be judged");
        }
        set(&self.stats.left_out, left_out);
        let passed = now.saturating_sub(OFFSET);
        for (issuer, age) in self.seeds.values() {
            self.schedule.seed(issuer, *age + passed, now);
        }
    }

    fn end(&mut self, job: &Job, fetched: Result<Issuer, Failed>) {
        match &fetched {
            Ok(_) => count(&self.stats.fetched),
            Err(error) => {
                count(&self.stats.failed);
                tracing::warn!(issuer = %job.source.key, %error, "keys cannot be fetched; the last good ones stay while they may");
            }
        }
        self.schedule.ended(job, fetched.ok(), self.now(), rand::random());
    }

    fn tell(&self) {
        let found = self.schedule.found();
        let with_keys = found.values().filter(|found| found.issuer.keys.is_some()).count();
        set(&self.stats.sources, self.schedule.len());
        set(&self.stats.without_keys, self.schedule.len() - with_keys);
        self.found.send_if_modified(|before| {
            let news = **before != found;
            if news {
                *before = Arc::new(found);
            }
            news
        });
    }
}

/// The schedule's time begins before the fetcher, so that what others obtained long ago has a moment at all.
const OFFSET: Duration = Duration::from_secs(400 * 24 * 3600);

async fn until(next: Option<Instant>) {
    match next {
        Some(next) => sleep_until(next).await,
        None => std::future::pending().await,
    }
}

impl Handle {
    /// These are the sources from now on.
    pub fn set_sources(&self, sources: &BTreeMap<IssuerKey, IssuerSource>) {
        self.sources.send_if_modified(|before| {
            let same = before.len() == sources.len()
                && before.iter().zip(sources).all(|((_, before), (_, now))| **before == *now);
            if !same {
                let shared = |(key, source): (&IssuerKey, &IssuerSource)| (key.clone(), Arc::new(source.clone()));
                *before = Arc::new(sources.iter().map(shared).collect());
            }
            !same
        });
    }

    pub fn wanting(&self) -> Wanting {
        self.wanting.clone()
    }

    /// What is known of each source, and whenever that changes.
    pub fn found(&self) -> watch::Receiver<Arc<BTreeMap<IssuerKey, Found>>> {
        self.found.clone()
    }

    /// When something was found, by the clock on the wall.
    pub fn moment(&self, found: &Found) -> SystemTime {
        match found.at.checked_sub(OFFSET) {
            Some(since) => self.start + since,
            None => self.start.checked_sub(OFFSET.saturating_sub(found.at)).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }
}
