//! Names of backends, resolved off the request path.
//!
//! ```text
//! Dns::follow(names) ─► NamedSet (per backend) ◄── rebuild ── Name (shared by host) ◄── one task, by TTL ── resolver
//! ```
//!
//! A backend's set swaps when an answer differs; requests only load it. What was last good is kept while a name does
//! not resolve. A name's task ends with the last backend that follows it.

mod name;
mod set;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use portcullis_ir as ir;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use name::Name;
pub(crate) use set::NamedSet;
use set::Source;

/// An answer is asked for again at the earliest and at the latest after this, whatever its TTL.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A name that does not resolve is asked for again after this, doubling up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// One question, all its tries included.
const PATIENCE: Duration = Duration::from_secs(15);
/// Questions asked at once: the resolver refuses more than twice as many (each asks for A and AAAA).
const AT_ONCE: usize = 16;
/// Addresses taken from one answer; more are cut off.
const MAX_ADDRESSES: usize = 64;

#[derive(Debug)]
pub(crate) struct Dns {
    runtime: Handle,
    questions: Arc<Questions>,
    names: Mutex<HashMap<ir::Host, Weak<Name>>>,
}

/// The resolver, built when first needed: a machine without resolver settings serves everything that needs no name.
struct Questions {
    config: Option<ResolverConfig>,
    resolver: Mutex<Option<Arc<TokioResolver>>>,
    turns: Semaphore,
}

struct Answer {
    /// Sorted, without duplicates, at most [`MAX_ADDRESSES`].
    addresses: Vec<IpAddr>,
    good_for: Duration,
}

impl Dns {
    /// Asks as the system's settings say, on `runtime`.
    pub(crate) fn new(runtime: Handle) -> Self {
        Self::with(runtime, None)
    }

    /// Asks the servers in `config`; none: as the system's settings say.
    pub(crate) fn with(runtime: Handle, config: Option<ResolverConfig>) -> Self {
        let questions = Arc::new(Questions { config, resolver: Mutex::default(), turns: Semaphore::new(AT_ONCE) });
        Self { runtime, questions, names: Mutex::default() }
    }

    /// The addresses behind `names`, kept up to date while the set is held.
    pub(crate) fn follow(&self, names: &[(ir::Host, u16)]) -> Arc<NamedSet> {
        let sources = names.iter().map(|(host, port)| match host.as_str().parse::<IpAddr>() {
            Ok(address) => Source::Literal((address, *port).into()),
            Err(_) => Source::Name(self.name(host), *port),
        });
        NamedSet::new(names, sources.collect())
    }

    /// Names that some backend follows.
    #[cfg(test)]
    pub(crate) fn followed(&self) -> usize {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.values().filter(|name| name.strong_count() > 0).count()
    }

    fn name(&self, host: &ir::Host) -> Arc<Name> {
        // Nothing that holds the lock can leave the map half changed.
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(host).and_then(Weak::upgrade) {
            return name;
        }
        names.retain(|_, name| name.strong_count() > 0);
        let name = Name::follow(host.clone(), &self.runtime, Arc::clone(&self.questions));
        names.insert(host.clone(), Arc::downgrade(&name));
        name
    }
}

impl Questions {
    /// None if there is no answer, for whatever reason.
    async fn ask(&self, host: &ir::Host) -> Option<Answer> {
        let resolver = self.resolver()?;
        let _turn = self.turns.acquire().await.ok()?;
        let lookup = timeout(PATIENCE, resolver.lookup_ip(host.as_str())).await.ok()?.ok()?;
        let good_for = lookup.valid_until().saturating_duration_since(Instant::now()).clamp(SHORTEST, LONGEST);
        let mut addresses: Vec<IpAddr> = lookup.iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        (!addresses.is_empty()).then_some(Answer { addresses, good_for })
    }

    fn resolver(&self) -> Option<Arc<TokioResolver>> {
        let mut resolver = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        if resolver.is_none() {
            let builder = match &self.config {
                Some(config) => TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default()),
                None => TokioResolver::builder_tokio().ok()?,
            };
            let mut builder = builder;
            let options = builder.options_mut();
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            // Times are kept by us: a cache below would only answer with what we know already.
            options.cache_size = 0;
            *resolver = builder.build().ok().map(Arc::new);
        }
        resolver.clone()
    }
}

impl std::fmt::Debug for Questions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}
