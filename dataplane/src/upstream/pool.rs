//! One worker's connections: idle HTTP/1 ones, and HTTP/2 ones with room for streams.
//!
//! Time is counted in ticks of a second by the task that sweeps, so taking and giving back read no clock. The task
//! runs only while there is something to sweep.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use foldhash::fast::RandomState;
use pingora_core::protocols::Stream as BoxedStream;

use super::endpoints::Endpoint;
use super::http2::Hosts;
use super::stream::{OpenGuard, Stream};
use crate::settings::HttpLimits;

/// Idle HTTP/1 connections of all endpoints together, per worker.
const MAX_IDLE: usize = 4_096;
/// Open upstream connections per worker.
const MAX_OPEN: usize = 32_768;
const TICK: Duration = Duration::from_secs(1);

/// What connections are kept under. The identity stands for everything that authenticates a connection and for the
/// protocol; see [`super::BackendProgram::identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    pub(super) identity: u64,
    pub(super) address: SocketAddr,
}

/// The locks are private to one worker's thread: never contended, never held over an await.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
    hosts: Mutex<Hosts>,
    tick: AtomicU32,
    sweeping: AtomicBool,
    open: Arc<AtomicUsize>,
    max_idle_per_endpoint: usize,
    idle_ticks: u32,
}

#[derive(Debug, Default)]
struct Idle {
    by_key: HashMap<PoolKey, Vec<IdleConnection>, RandomState>,
    count: usize,
}

#[derive(Debug)]
struct IdleConnection {
    stream: BoxedStream,
    endpoint: Arc<Endpoint>,
    expires: u32,
}

impl Pool {
    pub(super) fn new(limits: &HttpLimits) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::default(),
            hosts: Mutex::default(),
            tick: AtomicU32::new(0),
            sweeping: AtomicBool::new(false),
            open: Arc::default(),
            max_idle_per_endpoint: limits.max_idle_per_endpoint,
            idle_ticks: u32::try_from(limits.upstream_idle_timeout.as_secs()).unwrap_or(u32::MAX / 2),
        })
    }

    /// The connection that was given back last and is still good; worse ones found on the way are closed.
    pub(super) fn take(&self, key: PoolKey) -> Option<BoxedStream> {
        let now = self.tick.load(Ordering::Relaxed);
        loop {
            let connection = self.idle().pop(key)?;
            if connection.is_current(now) && as_stream(&connection.stream).is_some_and(Stream::is_alive) {
                return Some(connection.stream);
            }
        }
    }

    /// Keeps a connection for later, at most as long as the far side says it will (`promised`); closes it if there is
    /// no room.
    pub(super) fn put(
        self: &Arc<Self>,
        key: PoolKey,
        endpoint: Arc<Endpoint>,
        stream: BoxedStream,
        promised: Option<u32>,
    ) {
        // A connection may live one tick less than it is given: the current one has begun already. The far side's
        // promise is cut by one more, so that we never meet its close.
        let ticks = promised.map_or(self.idle_ticks, |seconds| seconds.saturating_sub(1).min(self.idle_ticks));
        if ticks == 0 || endpoint.is_retired() {
            return;
        }
        let expires = self.tick.load(Ordering::Relaxed).saturating_add(ticks);
        self.idle().push(key, IdleConnection { stream, endpoint, expires }, self.max_idle_per_endpoint);
        self.sweep_while_needed();
    }

    /// A place for one more open connection.
    pub(super) fn open(&self) -> Option<OpenGuard> {
        OpenGuard::new(&self.open, MAX_OPEN)
    }

    pub(super) fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the sweeper unless it runs. Called on the worker's runtime, after something was put in.
    pub(super) fn sweep_while_needed(self: &Arc<Self>) {
        if !self.sweeping.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep_until_empty(Arc::downgrade(self)));
        }
    }

    /// Idle HTTP/1 connections and open ones of any kind.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.idle().count, self.open.load(Ordering::Relaxed))
    }

    /// A second has passed. Returns whether anything is left that must be swept again.
    pub(super) fn sweep(&self) -> bool {
        let now = self.tick.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let idle_left = self.idle().sweep(now);
        let hosts_left = self.hosts().sweep(self.idle_ticks);
        if idle_left || hosts_left {
            return true;
        }
        self.sweeping.store(false, Ordering::Relaxed);
        false
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn pop(&mut self, key: PoolKey) -> Option<IdleConnection> {
        let connection = self.by_key.get_mut(&key)?.pop()?;
        self.count -= 1;
        Some(connection)
    }

    fn push(&mut self, key: PoolKey, connection: IdleConnection, per_endpoint: usize) {
        if self.count >= MAX_IDLE {
            return;
        }
        let list = self.by_key.entry(key).or_default();
        if list.len() < per_endpoint {
            list.push(connection);
            self.count += 1;
        }
    }

    fn sweep(&mut self, now: u32) -> bool {
        self.by_key.retain(|_, list| {
            list.retain(|idle| idle.is_current(now) && as_stream(&idle.stream).is_some_and(Stream::is_alive));
            !list.is_empty()
        });
        self.count = self.by_key.values().map(Vec::len).sum();
        self.count > 0
    }
}

impl IdleConnection {
    fn is_current(&self, now: u32) -> bool {
        now < self.expires && !self.endpoint.is_retired()
    }
}

/// Every boxed stream here is one of ours.
pub(super) fn as_stream(stream: &BoxedStream) -> Option<&Stream> {
    (**stream).as_any().downcast_ref()
}

async fn sweep_until_empty(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(TICK).await;
        match pool.upgrade() {
            Some(pool) if pool.sweep() => {}
            _ => return,
        }
    }
}
