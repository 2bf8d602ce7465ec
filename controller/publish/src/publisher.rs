//! All Gateways of one controller replica.

use std::sync::Arc;

use portcullis_ir::{GatewayKey, ResourceKey, Snapshot};
use portcullis_wire::State;
use tokio::sync::watch;

use crate::report::PodReport;
use crate::{Fleet, Stats};

/// Chooses the version of each pod, by its name; none, or one that the book does not keep: the newest.
pub type Selector = Arc<dyn Fn(&str) -> Option<u64> + Send + Sync>;

/// Books, sessions and fleets. Shared by the server's streams and whoever publishes; no call waits.
#[derive(Debug)]
pub struct Publisher {
    epoch: u64,
    stats: Arc<Stats>,
    changed: watch::Sender<u64>,
}

/// What [`Publisher::publish`] made of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The newest state: the new one, or the former one if the snapshot was refused as a whole.
    pub target: State,
    /// Resources that no data plane would take, and why: all of this snapshot, not only the new ones. They are left
    /// out, and so is what stood under their keys.
    pub refused: Vec<(ResourceKey, String)>,
    /// Why the snapshot as a whole is not published; the last good one stays.
    pub refused_whole: Option<String>,
}

impl Publisher {
    /// `epoch` must differ from that of any other publisher whose states a data plane may hold: the time of the start,
    /// in nanoseconds, say.
    pub fn new(epoch: u64) -> Arc<Self> {
        Arc::new(Self { epoch, stats: Arc::default(), changed: watch::Sender::new(0) })
    }

    /// Makes `next` the newest state of a Gateway. The first call for a Gateway opens it: until then its pods are told
    /// nothing, so that a controller that has just started takes nothing away.
    pub fn publish(&self, gateway: &GatewayKey, next: &Snapshot) -> Published {
        let _ = (gateway, next);
        let version = portcullis_wire::Version { epoch: self.epoch, number: 0 };
        let target = State { version, digests: portcullis_wire::Digests::default() };
        Published { target, refused: Vec::new(), refused_whole: None }
    }

    /// Forgets a Gateway and ends its streams. Its pods go on serving what they hold until they are taken away.
    pub fn retire(&self, gateway: &GatewayKey) {
        let _ = gateway;
    }

    /// Chooses versions by pod from now on; none: the newest for all.
    pub fn set_target(&self, gateway: &GatewayKey, selector: Option<Selector>) {
        let _ = (gateway, selector);
    }

    /// What a pod is to hold: its own version of the config lane, and the newest live lane. None before the first
    /// [`Publisher::publish`].
    pub fn target(&self, gateway: &GatewayKey, pod: &str) -> Option<State> {
        let _ = (gateway, pod);
        None
    }

    /// What the pods of a Gateway said. None if it is not published.
    pub fn fleet(&self, gateway: &GatewayKey) -> Option<Fleet> {
        let _ = gateway;
        None
    }

    /// Moves whenever any fleet changes: a pod comes, goes or says something new, or there is a new target.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Takes in what a peer replica says of one of its pods. `peer` names the connection.
    pub fn merge_peer(&self, peer: &str, report: PodReport) {
        let _ = (peer, report);
    }

    /// Forgets what came over a peer's connection.
    pub fn forget_peer(&self, peer: &str) {
        let _ = peer;
    }
}
