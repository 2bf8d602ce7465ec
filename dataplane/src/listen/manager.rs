//! Brings what is bound in line with what is configured, without touching what stays.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use portcullis_ir::Transport;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::bind::{self, BindError, Sockets};
use super::{DrainSignal, DrainState, Place};
use crate::worker::{Command, Socket};

#[derive(Debug)]
pub(crate) struct Manager {
    workers: Vec<mpsc::Sender<Command>>,
    /// What a listener without addresses is bound to.
    defaults: Vec<IpAddr>,
    drain_deadline: Duration,
    open: BTreeMap<Place, OpenPlace>,
    /// Closed places whose connections still run, each with its deadline.
    draining: JoinSet<()>,
    /// UDP places among them: their sessions need the very socket, so that the port is not free yet.
    ending: BTreeMap<Place, Ending>,
}

#[derive(Debug)]
struct OpenPlace {
    addresses: Vec<SocketAddr>,
    state: watch::Sender<DrainState>,
    /// Ends when every worker has closed its sockets.
    listening: mpsc::Receiver<Infallible>,
}

#[derive(Debug)]
struct Ending {
    state: Arc<watch::Sender<DrainState>>,
    listening: mpsc::Receiver<Infallible>,
}

/// Sockets that listen, but are not served before the program that wants them is in place.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    opened: Vec<(Place, Opened)>,
    pub(crate) failures: BTreeMap<Place, BindError>,
}

type Opened = Vec<(SocketAddr, Sockets)>;

impl Manager {
    pub(crate) fn new(workers: Vec<mpsc::Sender<Command>>, defaults: Vec<IpAddr>, drain_deadline: Duration) -> Self {
        let (open, ending) = (BTreeMap::new(), BTreeMap::new());
        Self { workers, defaults, drain_deadline, open, draining: JoinSet::new(), ending }
    }

    /// Binds what is wanted and not open. What fails is reported; all others go on.
    pub(crate) async fn prepare(&mut self, desired: impl Iterator<Item = &Place>) -> Prepared {
        let mut prepared = Prepared::default();
        let port = |place: &Place| (place.transport, place.bind.port);
        let mut ours: BTreeSet<(Transport, u16)> = self.open.keys().map(port).collect();
        for &place in desired {
            if self.open.contains_key(&place) {
                continue;
            }
            // Sessions of the listener that was here end now: two sockets would share the port's datagrams.
            if let Some(Ending { state, mut listening }) = self.ending.remove(&place) {
                state.send_replace(DrainState::Abort);
                listening.recv().await;
            }
            let addresses = bind::addresses(place.bind, &self.defaults);
            match bind::open(&addresses, place.transport, self.workers.len(), !ours.contains(&port(&place))) {
                Ok(sockets) => {
                    ours.insert(port(&place));
                    prepared.opened.push((place, sockets));
                }
                Err(error) => {
                    prepared.failures.insert(place, error);
                }
            }
        }
        prepared
    }

    /// Serves the prepared sockets and closes those that are not wanted any more. Returns when the latter are closed;
    /// their connections drain in the background.
    pub(crate) async fn commit(&mut self, prepared: Prepared, wanted: impl Fn(&Place) -> bool) {
        for (place, sockets) in prepared.opened {
            self.serve(place, sockets).await;
        }
        let closing: Vec<Place> = self.open.keys().filter(|place| !wanted(place)).copied().collect();
        for place in closing {
            if let Some(open) = self.open.remove(&place) {
                let Place { bind, transport } = place;
                tracing::info!(port = bind.port, ?transport, "closing a port that no listener asks for any more");
                self.close(place, open).await;
            }
        }
        // Takes finished drains off the lists.
        while self.draining.try_join_next().is_some() {}
        self.ending.retain(|_, ending| !ending.state.is_closed());
    }

    /// Every address that is bound.
    pub(crate) fn bound(&self) -> Vec<SocketAddr> {
        self.open.values().flat_map(|open| open.addresses.iter().copied()).collect()
    }

    /// Closes everything and waits until the last connection has ended or been aborted.
    pub(crate) async fn drain(&mut self) {
        let open = std::mem::take(&mut self.open);
        for (place, open) in open {
            self.close(place, open).await;
        }
        while self.draining.join_next().await.is_some() {}
    }

    async fn serve(&mut self, place: Place, opened: Opened) {
        let (state, receiver) = watch::channel(DrainState::Serving);
        // Nothing is ever sent: the channel ends when the last sender, one per socket, is dropped.
        let (guard, listening) = mpsc::channel(1);
        // Of all workers and addresses together: the bound on sessions is the listener's.
        let sessions = Arc::new(AtomicUsize::new(0));
        let mut addresses = Vec::with_capacity(opened.len());
        for (address, sockets) in opened {
            addresses.push(address);
            let sockets: Vec<Socket> = match sockets {
                Sockets::Tcp(listeners) => listeners.into_iter().map(Socket::Tcp).collect(),
                Sockets::Udp(sockets) => {
                    sockets.into_iter().map(|socket| Socket::Udp { socket, sessions: Arc::clone(&sessions) }).collect()
                }
            };
            for (worker, socket) in self.workers.iter().zip(sockets) {
                let command = Command::Open {
                    bind: place.bind,
                    socket,
                    drain: DrainSignal::new(receiver.clone()),
                    listening: guard.clone(),
                };
                // A worker that is gone is a process that ends.
                let _ = worker.send(command).await;
            }
        }
        tracing::info!(port = place.bind.port, transport = ?place.transport, ?addresses, "listening");
        self.open.insert(place, OpenPlace { addresses, state, listening });
    }

    async fn close(&mut self, place: Place, open: OpenPlace) {
        let OpenPlace { addresses: _, state, mut listening } = open;
        let state = Arc::new(state);
        state.send_replace(DrainState::Draining);
        match place.transport {
            Transport::Tcp => {
                listening.recv().await;
            }
            Transport::Udp => {
                self.ending.insert(place, Ending { state: Arc::clone(&state), listening });
            }
        }
        let deadline = self.drain_deadline;
        self.draining.spawn(async move {
            if tokio::time::timeout(deadline, state.closed()).await.is_err() {
                state.send_replace(DrainState::Abort);
                state.closed().await;
            }
        });
    }
}
