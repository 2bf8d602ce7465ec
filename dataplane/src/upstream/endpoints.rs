//! The addresses of one backend, and what is known of each. A set is immutable; what is known of an address (requests
//! in flight, failures, back-off) is carried into the next set, so that a swap forgets nothing.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use portcullis_ir as ir;

use super::balance::Rng;

/// The first failed connect keeps an endpoint out this long; each further one doubles it.
const FIRST_BACKOFF_MS: u64 = 50;
/// The longest back-off: a recovered endpoint has its full share again within two of these (performance.md, F9).
const MAX_BACKOFF_MS: u64 = 1_000;

#[derive(Debug)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    /// Requests in flight, all workers together.
    active: AtomicU32,
    /// Connects that failed since the last one that did not.
    failures: AtomicU32,
    /// When it may be tried again, in milliseconds of [`now_ms`]; read only while `failures` is not 0.
    retry_at: AtomicU64,
    /// No current set holds it: its idle connections go.
    retired: AtomicBool,
}

/// An endpoint chosen for one request; counts as a request in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct EndpointRef(Arc<Endpoint>);

#[derive(Debug, Default)]
pub(crate) struct EndpointSet {
    /// Sorted by address, with its readiness.
    all: Box<[(Arc<Endpoint>, bool)]>,
    /// The ready ones; if none is, those that still serve while they terminate.
    usable: Box<[Arc<Endpoint>]>,
}

impl EndpointSet {
    /// Builds a set, taking over what `previous` knows about the same addresses.
    pub(crate) fn new(endpoints: &[ir::Endpoint], previous: Option<&Self>) -> Self {
        let mut sorted: Vec<ir::Endpoint> = endpoints.to_vec();
        sorted.sort_unstable_by_key(|endpoint| (endpoint.address, !endpoint.ready));
        sorted.dedup_by_key(|endpoint| endpoint.address);
        let all: Box<[_]> = sorted
            .iter()
            .map(|endpoint| {
                let known = previous.and_then(|set| set.find(endpoint.address));
                let known = known.map_or_else(|| Arc::new(Endpoint::new(endpoint.address)), Arc::clone);
                known.retired.store(false, Ordering::Relaxed);
                (known, endpoint.ready)
            })
            .collect();
        let any_ready = all.iter().any(|(_, ready)| *ready);
        let usable =
            all.iter().filter(|(_, ready)| *ready == any_ready).map(|(endpoint, _)| Arc::clone(endpoint)).collect();
        let set = Self { all, usable };
        for (endpoint, _) in previous.iter().flat_map(|previous| previous.all.iter()) {
            if set.find(endpoint.address).is_none() {
                endpoint.retired.store(true, Ordering::Relaxed);
            }
        }
        set
    }

    /// The endpoint for one request: of two random ones that answer connects, the one with fewer requests in flight.
    /// `avoid` (the endpoint that a retry comes from) is taken only if there is no other.
    pub(crate) fn pick(&self, rng: &Rng, avoid: Option<&Endpoint>) -> Option<EndpointRef> {
        let chosen = match &*self.usable {
            [] => return None,
            [only] => only,
            usable => {
                let (first, second) = rng.two_below(usable.len());
                let (first, second) = (usable.get(first)?, usable.get(second)?);
                let first_may = first.may_try(avoid);
                // A probe is not asked for twice: it would be spent on the endpoint that is not taken.
                let second_may = if first_may == Try::Probe { Try::No } else { second.may_try(avoid) };
                match (first_may, second_may) {
                    (Try::Probe, _) => first,
                    (_, Try::Probe) => second,
                    (Try::Yes, Try::Yes) if second.active() < first.active() => second,
                    (Try::Yes, _) => first,
                    (_, Try::Yes) => second,
                    (Try::No, Try::No) => self.pick_any_healthy(rng, avoid).unwrap_or(first),
                }
            }
        };
        Some(EndpointRef::new(chosen))
    }

    /// The endpoint with this address, if it is usable and answers connects as far as we know.
    pub(crate) fn stick(&self, address: SocketAddr) -> Option<EndpointRef> {
        // As all are: the usable ones are some of them in their order.
        let found = self.usable.binary_search_by_key(&address, |endpoint| endpoint.address).ok()?;
        self.usable.get(found).filter(|endpoint| endpoint.may_try(None) != Try::No).map(EndpointRef::new)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.usable.is_empty()
    }

    /// Usable endpoints with what is known of each (for the admin page).
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.usable.iter()
    }

    /// Both random choices were out: looks at everyone from a random place on. All out, everyone counts as healthy
    /// (the caller takes its first choice), for a wrong back-off of all must not become an outage of our own making.
    fn pick_any_healthy(&self, rng: &Rng, avoid: Option<&Endpoint>) -> Option<&Arc<Endpoint>> {
        let (start, _) = rng.two_below(self.usable.len());
        let (tail, head) = self.usable.split_at(start);
        let mut others = head.iter().chain(tail);
        others.find(|endpoint| endpoint.may_try(avoid) != Try::No).or_else(|| {
            let mut others = head.iter().chain(tail);
            others.find(|endpoint| avoid.is_none_or(|avoid| avoid.address != endpoint.address))
        })
    }

    fn find(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        let found = self.all.binary_search_by_key(&address, |(endpoint, _)| endpoint.address).ok()?;
        self.all.get(found).map(|(endpoint, _)| endpoint)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Try {
    Yes,
    /// Its back-off is over and this request is the one that finds out.
    Probe,
    No,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            active: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            retry_at: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests in flight.
    pub(crate) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Connects that failed since the last one that did not.
    pub(crate) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// No current set holds it.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// It answered: what it failed before is forgotten.
    pub(crate) fn connected(&self) {
        if self.failures() != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// It could not be reached: it is kept out for a while.
    pub(crate) fn connect_failed(&self) {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        let until = now_ms() + backoff_ms(before);
        self.retry_at.fetch_max(until, Ordering::Relaxed);
    }

    fn may_try(&self, avoid: Option<&Self>) -> Try {
        if avoid.is_some_and(|avoid| avoid.address == self.address) {
            return Try::No;
        }
        let failures = self.failures();
        if failures == 0 {
            return Try::Yes;
        }
        let (retry_at, now) = (self.retry_at.load(Ordering::Relaxed), now_ms());
        if now < retry_at {
            return Try::No;
        }
        // One request finds out; the others stay away for another back-off, or until it has succeeded.
        let next = now + backoff_ms(failures);
        match self.retry_at.compare_exchange(retry_at, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Try::Probe,
            Err(_) => Try::No,
        }
    }
}

impl EndpointRef {
    pub(super) fn new(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.active.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(endpoint))
    }

    pub(crate) fn shared(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Deref for EndpointRef {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.0
    }
}

impl Drop for EndpointRef {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// After this many failures in a row.
fn backoff_ms(failures: u32) -> u64 {
    (FIRST_BACKOFF_MS << failures.min(16)).min(MAX_BACKOFF_MS)
}

/// Milliseconds since the process first asked. Asked only about endpoints that failed.
fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
