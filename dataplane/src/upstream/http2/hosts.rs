//! Which HTTP/2 connections there are to each endpoint, and who makes the next one.
//!
//! One connection per endpoint is made at a time: requests that find no place meanwhile wait for its outcome, so that
//! a burst does not open a connection each. An outcome is shared, failures too.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::sync::watch;

use super::connection::{Connection, Slot};
use crate::upstream::ConnectError;
use crate::upstream::pool::{Pool, PoolKey};

/// Connections to one endpoint, per worker.
const MAX_CONNECTIONS: usize = 16;

/// None while the connection is being made.
type Outcome = Option<Result<(), ConnectError>>;

#[derive(Debug, Default)]
pub(in crate::upstream) struct Hosts(HashMap<PoolKey, Host, RandomState>);

#[derive(Debug, Default)]
struct Host {
    connections: Vec<Arc<Connection>>,
    dialling: Option<watch::Receiver<Outcome>>,
    /// The far side last chose HTTP/1.1 by ALPN.
    http1: bool,
    idle_ticks: u32,
}

/// What a request does for a place on an HTTP/2 connection.
#[derive(Debug)]
pub(super) enum Place {
    Taken(Slot),
    /// Make a connection and report.
    Dial(Dial),
    /// Someone does: wait, then look again.
    Wait(watch::Receiver<Outcome>),
    /// The far side does not speak HTTP/2.
    Http1,
    /// All connections are full, and there are as many as may be.
    Full,
}

/// The duty to report what became of a connection. Dropped without a report (its request was cancelled), the next
/// one in line takes over.
#[derive(Debug)]
pub(super) struct Dial {
    key: PoolKey,
    pool: Arc<Pool>,
    outcome: watch::Sender<Outcome>,
}

impl Hosts {
    pub(super) fn find(&mut self, key: PoolKey, pool: &Arc<Pool>) -> Place {
        let host = self.0.entry(key).or_default();
        host.idle_ticks = 0;
        if let Some(slot) = host.connections.iter().find_map(Connection::reserve) {
            return Place::Taken(slot);
        }
        host.connections.retain(|connection| connection.is_usable());
        if host.http1 {
            return Place::Http1;
        }
        if let Some(dialling) = &host.dialling {
            return Place::Wait(dialling.clone());
        }
        if host.connections.len() >= MAX_CONNECTIONS {
            return Place::Full;
        }
        let (outcome, dialling) = watch::channel(None);
        host.dialling = Some(dialling);
        Place::Dial(Dial { key, pool: Arc::clone(pool), outcome })
    }

    /// A connection that was made; the far side speaks HTTP/2.
    pub(super) fn add(&mut self, key: PoolKey, connection: Arc<Connection>) {
        let host = self.0.entry(key).or_default();
        host.http1 = false;
        if host.connections.len() < MAX_CONNECTIONS {
            host.connections.push(connection);
        }
    }

    pub(super) fn set_http1(&mut self, key: PoolKey) {
        self.0.entry(key).or_default().http1 = true;
    }

    /// A second has passed. Whether anything is left.
    pub(in crate::upstream) fn sweep(&mut self, idle_ticks: u32) -> bool {
        self.0.retain(|_, host| {
            host.connections.retain(|connection| connection.sweep(idle_ticks));
            host.idle_ticks = host.idle_ticks.saturating_add(1);
            !host.connections.is_empty() || host.dialling.is_some() || host.idle_ticks <= idle_ticks
        });
        !self.0.is_empty()
    }
}

impl Dial {
    pub(super) fn report(self, outcome: Result<(), ConnectError>) {
        // Before anyone wakes, so that whoever looks again finds no connection being made.
        self.take_down();
        self.outcome.send_replace(Some(outcome));
    }

    fn take_down(&self) {
        let mut hosts = self.pool.hosts();
        if let Some(host) = hosts.0.get_mut(&self.key)
            && host.dialling.as_ref().is_some_and(|dialling| dialling.same_channel(&self.outcome.subscribe()))
        {
            host.dialling = None;
        }
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        self.take_down();
    }
}
