//! Brings what is bound in line with what is configured, without touching what stays.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use portcullis_router::Bind;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::bind::{self, BindError};
use super::{DrainSignal, DrainState};
use crate::worker::Command;

#[derive(Debug)]
pub(crate) struct Manager {
    workers: Vec<mpsc::Sender<Command>>,
    /// What a listener without addresses is bound to.
    defaults: Vec<IpAddr>,
    drain_deadline: Duration,
    open: BTreeMap<Bind, OpenBind>,
    /// Closed binds whose connections still run, each with its deadline.
    draining: JoinSet<()>,
}

#[derive(Debug)]
struct OpenBind {
    addresses: Vec<SocketAddr>,
    state: watch::Sender<DrainState>,
    /// Ends when every worker has closed its sockets.
    listening: mpsc::Receiver<Infallible>,
}

/// Sockets that listen, but are not served before the program that wants them is in place.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    opened: Vec<(Bind, Sockets)>,
    pub(crate) failures: BTreeMap<Bind, BindError>,
}

type Sockets = Vec<(SocketAddr, Vec<TcpListener>)>;

impl Manager {
    pub(crate) fn new(workers: Vec<mpsc::Sender<Command>>, defaults: Vec<IpAddr>, drain_deadline: Duration) -> Self {
        Self { workers, defaults, drain_deadline, open: BTreeMap::new(), draining: JoinSet::new() }
    }

    /// Binds what is wanted and not open. A bind that fails is reported; all others go on.
    pub(crate) fn prepare<'a>(&self, desired: impl Iterator<Item = &'a Bind>) -> Prepared {
        let mut prepared = Prepared::default();
        let mut ours: BTreeSet<u16> = self.open.keys().map(|bind| bind.port).collect();
        for &bind in desired.filter(|bind| !self.open.contains_key(bind)) {
            let addresses = bind::addresses(bind, &self.defaults);
            match bind::open(&addresses, self.workers.len(), !ours.contains(&bind.port)) {
                Ok(sockets) => {
                    ours.insert(bind.port);
                    prepared.opened.push((bind, sockets));
                }
                Err(error) => {
                    prepared.failures.insert(bind, error);
                }
            }
        }
        prepared
    }

    /// Serves the prepared sockets and closes those that are not wanted any more. Returns when the latter are closed;
    /// their connections drain in the background.
    pub(crate) async fn commit(&mut self, prepared: Prepared, wanted: impl Fn(&Bind) -> bool) {
        for (bind, sockets) in prepared.opened {
            self.serve(bind, sockets).await;
        }
        let closing: Vec<Bind> = self.open.keys().filter(|bind| !wanted(bind)).copied().collect();
        for bind in closing {
            if let Some(open) = self.open.remove(&bind) {
                tracing::info!(port = bind.port, "closing a port that no listener asks for any more");
                self.close(open).await;
            }
        }
        // Takes finished drains off the list.
        while self.draining.try_join_next().is_some() {}
    }

    /// Every address that is bound.
    pub(crate) fn bound(&self) -> Vec<SocketAddr> {
        self.open.values().flat_map(|open| open.addresses.iter().copied()).collect()
    }

    /// Closes everything and waits until the last connection has ended or been aborted.
    pub(crate) async fn drain(&mut self) {
        let open = std::mem::take(&mut self.open);
        for (_, open) in open {
            self.close(open).await;
        }
        while self.draining.join_next().await.is_some() {}
    }

    async fn serve(&mut self, bind: Bind, sockets: Sockets) {
        let (state, receiver) = watch::channel(DrainState::Serving);
        // Nothing is ever sent: the channel ends when the last sender, one per socket, is dropped.
        let (guard, listening) = mpsc::channel(1);
        let mut addresses = Vec::with_capacity(sockets.len());
        for (address, listeners) in sockets {
            addresses.push(address);
            for (worker, listener) in self.workers.iter().zip(listeners) {
                let command = Command::Open {
                    bind,
                    listener,
                    drain: DrainSignal::new(receiver.clone()),
                    listening: guard.clone(),
                };
                // A worker that is gone is a process that ends.
                let _ = worker.send(command).await;
            }
        }
        tracing::info!(port = bind.port, ?addresses, "listening");
        self.open.insert(bind, OpenBind { addresses, state, listening });
    }

    async fn close(&mut self, open: OpenBind) {
        let OpenBind { addresses: _, state, mut listening } = open;
        state.send_replace(DrainState::Draining);
        listening.recv().await;
        let deadline = self.drain_deadline;
        self.draining.spawn(async move {
            if tokio::time::timeout(deadline, state.closed()).await.is_err() {
                state.send_replace(DrainState::Abort);
                state.closed().await;
            }
        });
    }
}
