//! The endpoints of one backend that is given by names.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use portcullis_ir as ir;
use tokio::sync::watch;

use super::name::Name;
use crate::upstream::endpoints::EndpointSet;

#[derive(Debug)]
pub(crate) struct NamedSet {
    names: Box<[(ir::Host, u16)]>,
    sources: Box<[Source]>,
    set: ArcSwap<EndpointSet>,
    rebuilding: Mutex<()>,
    /// There is an address, or every name has been asked for.
    settled: watch::Sender<bool>,
}

#[derive(Debug)]
pub(super) enum Source {
    Literal(SocketAddr),
    Name(Arc<Name>, u16),
}

impl NamedSet {
    pub(super) fn new(names: &[(ir::Host, u16)], sources: Box<[Source]>) -> Arc<Self> {
        let set = Arc::new(Self {
            names: names.into(),
            sources,
            set: ArcSwap::default(),
            rebuilding: Mutex::default(),
            settled: watch::Sender::new(false),
        });
        for source in &set.sources {
            if let Source::Name(name, _) = source {
                name.add_follower(Arc::downgrade(&set));
            }
        }
        // After that, so that no answer falls between.
        set.rebuild();
        set
    }

    pub(crate) fn is_for(&self, names: &[(ir::Host, u16)]) -> bool {
        *self.names == *names
    }

    pub(crate) fn current(&self) -> Guard<Arc<EndpointSet>> {
        self.set.load()
    }

    #[cfg(test)]
    pub(crate) fn current_full(&self) -> Arc<EndpointSet> {
        self.set.load_full()
    }

    /// Waits until there is an address or every name has been asked for. Bounded by the caller.
    pub(crate) async fn resolved_once(&self) {
        // The sender is ours, so it cannot be gone.
        let _ = self.settled.subscribe().wait_for(|settled| *settled).await;
    }

    /// Makes the set what the names now say, if that differs.
    pub(super) fn rebuild(&self) {
        let _one_at_a_time = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut endpoints = Vec::new();
        let mut all_answered = true;
        for source in &self.sources {
            match source {
                Source::Literal(address) => endpoints.push(ir::Endpoint { address: *address, ready: true }),
                Source::Name(name, port) => {
                    let (addresses, answered) = name.addresses();
                    all_answered &= answered;
                    let addresses = addresses.iter().map(|address| SocketAddr::new(*address, *port));
                    endpoints.extend(addresses.map(|address| ir::Endpoint { address, ready: true }));
                }
            }
        }
        endpoints.sort_unstable();
        endpoints.dedup();
        let current = self.set.load();
        let same = current.iter().map(|endpoint| endpoint.address()).eq(endpoints.iter().map(|it| it.address));
        if !same {
            self.set.store(Arc::new(EndpointSet::new(&endpoints, Some(&current))));
        }
        if all_answered || !endpoints.is_empty() {
            self.settled.send_replace(true);
        }
    }
}
