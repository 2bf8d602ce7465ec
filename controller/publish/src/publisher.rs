//! All Gateways of one controller replica.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use portcullis_ir::{GatewayKey, IssuerKey, ResourceKey, Snapshot};
use portcullis_wire::{Limits, PodReport, State};
use tokio::sync::watch;

use crate::gate::{Gate, Seat, lock};
use crate::{Fleet, Pod, Stats};

/// Chooses the version of each pod, by its name; none, or one that the book does not keep: the newest.
pub type Selector = Arc<dyn Fn(&str) -> Option<u64> + Send + Sync>;

/// Issuers that are asked for at once; those beyond are asked for again by the next token.
const MAX_WANTED: usize = 1024;

/// Books, sessions and fleets. Shared by the server's streams and whoever publishes; no call waits.
#[derive(Debug)]
pub struct Publisher {
    epoch: u64,
    limits: Limits,
    /// A Gateway is here once it is published, or one of its pods is heard of.
    gates: Mutex<BTreeMap<GatewayKey, Arc<Gate>>>,
    stats: Arc<Stats>,
    changed: watch::Sender<u64>,
    /// Issuers whose keys should be fetched once more, until somebody takes them.
    wanted: watch::Sender<BTreeSet<IssuerKey>>,
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
        Self::with_limits(epoch, Limits::default())
    }

    /// For readers with other limits than those that data planes have.
    pub fn with_limits(epoch: u64, limits: Limits) -> Arc<Self> {
        let (stats, changed, wanted) = (Arc::default(), watch::Sender::new(0), watch::Sender::default());
        Arc::new(Self { epoch, limits, gates: Mutex::default(), stats, changed, wanted })
    }

    /// Makes `next` the newest state of a Gateway. The first call for a Gateway opens it: until then its pods are told
    /// nothing, so that a controller that has just started takes nothing away.
    ///
    /// Work grows with what differs from the former snapshot, as far as the two share their resources.
    pub fn publish(&self, gateway: &GatewayKey, next: &Snapshot) -> Published {
        let gate = self.gate(gateway);
        let before = gate.target_of_all();
        let published = gate.publish(next);
        if before != gate.target_of_all() {
            self.bump();
        }
        published
    }

    /// Forgets a Gateway and ends its streams. Its pods go on serving what they hold until they are taken away.
    pub fn retire(&self, gateway: &GatewayKey) {
        let gate = lock(&self.gates).remove(gateway);
        if let Some(gate) = gate {
            gate.retire();
            self.bump();
        }
    }

    /// Chooses versions by pod from now on; none: the newest for all. Forgotten when the Gateway is retired.
    pub fn set_target(&self, gateway: &GatewayKey, selector: Option<Selector>) {
        self.gate(gateway).select(selector);
    }

    /// What a pod is to hold: its own version of the config lane, and the newest live lane. None before the first
    /// [`Publisher::publish`].
    pub fn target(&self, gateway: &GatewayKey, pod: &str) -> Option<State> {
        self.known(gateway)?.target(pod)
    }

    /// What the pods of a Gateway said. None if it is not published.
    pub fn fleet(&self, gateway: &GatewayKey) -> Option<Fleet> {
        self.known(gateway)?.fleet()
    }

    /// Moves whenever any fleet changes: a pod comes, goes or says something new, or there is a new target.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Moves when data planes, here or at a peer, ask for keys that they do not know.
    pub fn wanted(&self) -> watch::Receiver<BTreeSet<IssuerKey>> {
        self.wanted.subscribe()
    }

    /// What was asked for since the last call. One who fetches, or tells who does, takes them; nobody is harmed if
    /// nobody does.
    pub fn take_wanted(&self) -> BTreeSet<IssuerKey> {
        let mut taken = BTreeSet::new();
        self.wanted.send_if_modified(|wanted| {
            taken = std::mem::take(wanted);
            false
        });
        taken
    }

    pub(crate) fn want(&self, issuers: BTreeSet<IssuerKey>) {
        self.wanted.send_if_modified(|wanted| {
            let before = wanted.len();
            for issuer in issuers {
                if wanted.len() < MAX_WANTED {
                    wanted.insert(issuer);
                }
            }
            wanted.len() > before
        });
    }

    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Takes in what a peer replica says of one of its pods. `peer` names the connection.
    pub fn merge_peer(&self, peer: &Arc<str>, report: PodReport) {
        let PodReport { gateway, pod, state } = report;
        let news = match state {
            Some(state) => self.with(&gateway, |gate| gate.merge(peer, &pod, Some(state))),
            None => self.known(&gateway).is_some_and(|gate| gate.merge(peer, &pod, None)),
        };
        self.settle(news);
    }

    /// Forgets what came over a peer's connection.
    pub fn forget_peer(&self, peer: &str) {
        let gates: Vec<_> = lock(&self.gates).values().cloned().collect();
        let mut news = false;
        for gate in gates {
            news |= gate.forget(peer);
        }
        self.settle(news);
    }

    /// Begins a session of a pod.
    pub(crate) fn enter(&self, gateway: &GatewayKey, pod: &Arc<str>, state: Pod) -> (Arc<Gate>, Seat) {
        let entered = self.with(gateway, |gate| (Arc::clone(gate), gate.enter(pod, state)));
        self.bump();
        entered
    }

    pub(crate) fn tell(&self, gate: &Gate, seat: &Seat, state: &Pod) {
        if gate.tell(seat, state) {
            self.bump();
        }
    }

    pub(crate) fn leave(&self, gate: &Gate, seat: &Seat) {
        self.settle(gate.leave(seat));
    }

    /// The pods that have or had a stream here, not those of peers.
    pub(crate) fn local(&self) -> BTreeMap<(GatewayKey, Arc<str>), Pod> {
        let gates: Vec<_> = lock(&self.gates).iter().map(|(key, gate)| (key.clone(), Arc::clone(gate))).collect();
        let pods = |(key, gate): (GatewayKey, Arc<Gate>)| {
            gate.local().into_iter().map(move |(name, pod)| ((key.clone(), name), pod))
        };
        gates.into_iter().flat_map(pods).collect()
    }

    fn known(&self, gateway: &GatewayKey) -> Option<Arc<Gate>> {
        lock(&self.gates).get(gateway).cloned()
    }

    /// To be kept until it is retired.
    fn gate(&self, gateway: &GatewayKey) -> Arc<Gate> {
        self.with(gateway, |gate| {
            gate.keep();
            Arc::clone(gate)
        })
    }

    /// Under the lock, so that nobody takes the gate for idle and away meanwhile.
    fn with<T>(&self, gateway: &GatewayKey, step: impl FnOnce(&Arc<Gate>) -> T) -> T {
        let mut gates = lock(&self.gates);
        let new = || Arc::new(Gate::new(self.epoch, self.limits));
        step(gates.entry(gateway.clone()).or_insert_with(new))
    }

    /// Somebody left: Gateways that nobody published and nobody asks for any more are forgotten.
    fn settle(&self, news: bool) {
        if news {
            lock(&self.gates).retain(|_, gate| !gate.is_idle());
            self.bump();
        }
    }

    fn bump(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }
}
