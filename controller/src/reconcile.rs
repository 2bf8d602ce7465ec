//! The loop: changes in, programs and statuses out.
//!
//! ```text
//! changes ─► store ─► (full: translate │ endpoints: translate_endpoints) ─► publish ─► book
//!                                  │                                          acks ─┐
//!                                  └─► statuses ─► programmed ◄────────────────────┘
//!                                                      └─► writes ─► Writer
//! ```
//!
//! No timer: an idle controller starts at once, and what arrives during a pass is taken together by the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use portcullis_ir::{GatewayKey, ResourceKey, Snapshot};
use portcullis_publish::Publisher;
use portcullis_translate::{
    AuthPolicy, Downgrade, Inputs, Memo, NamespacedName, ObjectRef, Settings, Statuses, Timestamp, programmed,
    translate, translate_endpoints,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::finalizer::{Finalizers, finalizers};
use crate::fleets::{Failures, Wanted};
use crate::issuers::Sources;
use crate::lane::Lane;
use crate::metrics::Metrics;
use crate::status::{Writes, acks, replicas, route_write, writes};
use crate::store::Store;
use crate::watch::Change;

/// Changes that are taken together at most; more wait for the next pass.
const BATCH: usize = 4096;
/// How long a pass waits for a Secret or a ConfigMap that an object has just begun to name: without it the object would
/// be broken for a moment.
const PATIENCE: Duration = Duration::from_secs(1);

/// What others see of the loop.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) changes: mpsc::Receiver<Change>,
    pub(crate) references: watch::Sender<Arc<BTreeSet<ObjectRef>>>,
    pub(crate) writes: watch::Sender<Arc<Writes>>,
    pub(crate) wanted: watch::Sender<Arc<Wanted>>,
    /// Why Gateways have no data planes.
    pub(crate) failures: watch::Receiver<Arc<Failures>>,
    /// Objects that exist and do not parse, and why.
    pub(crate) invalid: watch::Sender<Arc<OrdMap<ObjectRef, String>>>,
    /// Policies that drop an authentication requirement.
    pub(crate) downgrades: watch::Sender<Arc<BTreeSet<Downgrade>>>,
    /// What is to be fetched for policies.
    pub(crate) sources: watch::Sender<Sources>,
    /// What is to become of the finalizers of our GatewayClasses.
    pub(crate) finalizers: watch::Sender<Arc<Finalizers>>,
    /// What is still missing before the first program; empty when there is one.
    pub(crate) missing: watch::Sender<Vec<String>>,
}

/// Keeps what one pass leaves for the next.
#[derive(Debug)]
pub(crate) struct Reconciler {
    store: Store,
    settings: Settings,
    memo: Memo,
    snapshots: BTreeMap<GatewayKey, Snapshot>,
    /// Why the newest program of a Gateway is not published.
    refused: BTreeMap<GatewayKey, String>,
    /// What is left out of programs, and why; kept so that it is told once.
    left_out: BTreeMap<GatewayKey, Vec<(ResourceKey, String)>>,
    /// Of the newest full pass, without the data planes' word.
    statuses: Statuses,
    /// What is to be written of routes, and the routes for which that must be decided anew: the object or what its status should be has
    /// changed. With thousands of routes, looking at each after every word of a data plane was most of the work.
    route_writes: Writes,
    undecided: BTreeSet<ObjectRef>,
    publisher: Arc<Publisher>,
    channels: Channels,
    metrics: Metrics,
    /// Whether a pass has been made.
    started: bool,
    /// Of the Secrets and ConfigMaps that are named now and were not looked for yet: until when a pass waits for them.
    patience: Option<Instant>,
    due: Lane,
}

impl Reconciler {
    pub(crate) fn new(settings: Settings, publisher: Arc<Publisher>, channels: Channels, metrics: Metrics) -> Self {
        Self {
            store: Store::default(),
            settings,
            memo: Memo::default(),
            snapshots: BTreeMap::new(),
            refused: BTreeMap::new(),
            left_out: BTreeMap::new(),
            statuses: Statuses::default(),
            route_writes: Writes::new(),
            undecided: BTreeSet::new(),
            publisher,
            channels,
            metrics,
            started: false,
            patience: None,
            due: Lane::Nothing,
        }
    }

    /// Runs until nothing can change any more.
    pub(crate) async fn run(mut self) {
        let mut fleets = self.publisher.changed();
        let mut batch = Vec::new();
        loop {
            let mut told = false;
            tokio::select! {
                count = self.channels.changes.recv_many(&mut batch, BATCH) => if count == 0 { return },
                changed = fleets.changed() => if changed.is_err() { return } else { told = true },
                changed = self.channels.failures.changed() => if changed.is_err() { return } else { told = true },
                () = sleep_until(self.patience.unwrap_or_else(Instant::now)), if self.patience.is_some() => {}
            }
            fleets.borrow_and_update();
            // A pass is all computation, and must not hold up the tasks of this thread.
            let step = tokio::task::spawn_blocking(move || {
                self.step(&mut batch, told);
                (self, batch)
            });
            match step.await {
                Ok(back) => (self, batch) = back,
                Err(error) => {
                    tracing::error!(%error, "a pass has panicked; this replica can do nothing more, and ends");
                    return;
                }
            }
        }
    }

    fn step(&mut self, batch: &mut Vec<Change>, told: bool) {
        let mut touched = false;
        for change in batch.drain(..) {
            if let Change::Apply(object) = &change {
                let reference = object.reference();
                if reference.kind.route_kind().is_some() {
                    self.undecided.insert(reference);
                }
            }
            let lane = self.store.apply(change);
            touched = true;
            self.due = self.due.max(lane);
        }
        if touched {
            let wanted = self.store.wanted();
            self.channels.references.send_if_modified(|before| {
                let news = !Arc::ptr_eq(before, &wanted);
                before.clone_from(&wanted);
                news
            });
        }
        if !self.may_act() {
            return;
        }
        self.count_replicas();
        match std::mem::replace(&mut self.due, Lane::Nothing) {
            Lane::Nothing if !told => return,
            Lane::Nothing | Lane::Status => {}
            Lane::Endpoints => {
                let _timer = self.metrics.pass("endpoints");
                translate_endpoints(self.store.inputs(), &mut self.memo, &mut self.snapshots);
                self.publish();
            }
            Lane::Full => self.full_pass(),
        }
        self.tell();
    }

    /// Whether enough is known. What is served until then is what the data planes hold.
    fn may_act(&mut self) -> bool {
        if !self.started {
            let missing = self.missing_kinds();
            let complete = missing.is_empty();
            self.say_missing(missing);
            if !complete {
                return false;
            }
        }
        !self.awaits_references()
    }

    /// Before the first pass a kind that is not installed is waited for; later its absence is a fact like others.
    fn missing_kinds(&self) -> Vec<String> {
        let unlisted = self.store.unlisted().into_iter().map(|kind| format!("{kind} objects are not listed yet"));
        let uninstalled = self.store.uninstalled().into_iter().map(|kind| {
            format!("{kind} is not installed in this cluster; install the CRDs of Gateway API 1.2 or newer")
        });
        let definitions = (!self.store.knows_what_is_installed())
            .then(|| "the definitions of the Gateway API, which say its release, are not listed yet".to_owned());
        let keys = (!self.store.knows_api_keys()).then(|| "Secrets with API keys are not listed yet".to_owned());
        let issuers = (!self.store.knows_issuers()).then(|| "the keys of issuers are not listed yet".to_owned());
        unlisted.chain(uninstalled).chain(definitions).chain(keys).chain(issuers).collect()
    }

    fn awaits_references(&mut self) -> bool {
        if self.due < Lane::Full || self.store.is_answered() {
            self.patience = None;
            return false;
        }
        let until = *self.patience.get_or_insert_with(|| Instant::now() + PATIENCE);
        let waits = Instant::now() < until;
        if !waits {
            self.patience = None;
            self.store.give_up();
        }
        waits
    }

    fn say_missing(&self, missing: Vec<String>) {
        self.channels.missing.send_if_modified(|shown| {
            let news = *shown != missing;
            for one in missing.iter().filter(|one| !shown.contains(one)) {
                tracing::info!("waiting: {one}");
            }
            *shown = missing;
            news
        });
    }

    fn full_pass(&mut self) {
        let timer = self.metrics.pass("full");
        self.started = true;
        self.store.inputs_mut().now = Timestamp::now();
        let output = translate(self.store.inputs(), &self.settings, &mut self.memo);
        drop(timer);
        for gone in self.snapshots.keys().filter(|key| !output.snapshots.contains_key(key)) {
            self.publisher.retire(gone);
            self.metrics.retired(gone);
        }
        self.snapshots = output.snapshots;
        self.undecided.extend(differing(&self.statuses, &output.statuses));
        self.statuses = output.statuses;
        self.remember(output.good_auth_policies);
        self.metrics.downgrades(&output.downgrades);
        self.channels.sources.send_if_modified(|before| {
            let news = before.as_deref() != Some(&output.issuers);
            if news {
                *before = Some(Arc::new(output.issuers));
            }
            news
        });
        self.channels.downgrades.send_if_modified(|before| {
            let news = **before != output.downgrades;
            if news {
                *before = Arc::new(output.downgrades);
            }
            news
        });
        self.publish();
        let wanted = Wanted::of(self.store.inputs(), &self.snapshots, &self.statuses);
        self.channels.wanted.send_if_modified(|before| {
            let news = **before != wanted;
            if news {
                *before = Arc::new(wanted);
            }
            news
        });
        self.metrics.objects(self.store.inputs());
        self.channels.invalid.send_if_modified(|before| {
            let news = **before != self.store.inputs().invalid;
            if news {
                *before = Arc::new(self.store.inputs().invalid.clone());
            }
            news
        });
    }

    /// AuthPolicies that can be honoured, for when they no longer can.
    fn remember(&mut self, good: BTreeMap<NamespacedName, Arc<AuthPolicy>>) {
        let inputs = self.store.inputs_mut();
        inputs.last_good.extend(good);
        let gone = inputs.last_good.keys().filter(|name| !inputs.auth_policies.contains_key(*name));
        for name in gone.cloned().collect::<Vec<_>>() {
            inputs.last_good.remove(&name);
        }
    }

    /// How many data planes share a limit while their store is away. Only where one is used does it call for a pass.
    fn count_replicas(&mut self) {
        if self.due < Lane::Endpoints {
            return;
        }
        let now = replicas(self.store.inputs(), |key| portcullis_provision::resource_name(&key.namespace, &key.name));
        if self.store.inputs().replicas != now {
            self.store.inputs_mut().replicas = now;
            if self.snapshots.values().any(|snapshot| !snapshot.live.stores.is_empty()) {
                self.due = Lane::Full;
            }
        }
    }

    fn publish(&mut self) {
        let mut refused = BTreeMap::new();
        let mut left_out = BTreeMap::new();
        for (gateway, snapshot) in &self.snapshots {
            let published = self.publisher.publish(gateway, snapshot);
            self.metrics.published(gateway, &published);
            if let Some(why) = &published.refused_whole {
                let stays = published.target.version.number;
                let message = format!("the program is refused: {why}; version {stays} stays");
                if self.refused.get(gateway) != Some(&message) {
                    tracing::error!(%gateway, "{message}");
                }
                refused.insert(gateway.clone(), message);
            }
            if !published.refused.is_empty() {
                if self.left_out.get(gateway) != Some(&published.refused) {
                    for (key, why) in &published.refused {
                        tracing::error!(%gateway, %key, why, "resource is left out: no data plane would take it");
                    }
                }
                left_out.insert(gateway.clone(), published.refused);
            }
        }
        (self.refused, self.left_out) = (refused, left_out);
    }

    /// Statuses as they should be now, as far as they differ from what is there.
    fn tell(&mut self) {
        let inputs: &Inputs = self.store.inputs();
        let mut gateways = self.statuses.of_gateways();
        let failures = Arc::clone(&self.channels.failures.borrow_and_update());
        let acks = acks(
            inputs,
            &mut gateways,
            Timestamp::now(),
            |key| portcullis_provision::resource_name(&key.namespace, &key.name),
            |key| self.publisher.fleet(key),
            |key| failures.get(key).or_else(|| self.refused.get(key)).cloned(),
        );
        programmed(&mut gateways, &acks);
        let controller_name = &self.settings.controller_name;
        for reference in std::mem::take(&mut self.undecided) {
            match route_write(inputs, &self.statuses, &reference, controller_name) {
                Some(write) => drop(self.route_writes.insert(reference, write)),
                None => drop(self.route_writes.remove(&reference)),
            }
        }
        let writes = writes(inputs, &self.statuses, &gateways, &self.route_writes, controller_name);
        self.channels.writes.send_if_modified(|before| {
            let news = **before != writes;
            if news {
                *before = Arc::new(writes);
            }
            news
        });
        let finalizers = finalizers(inputs, &self.settings.controller_name);
        self.channels.finalizers.send_if_modified(|before| {
            let news = **before != finalizers;
            if news {
                *before = Arc::new(finalizers);
            }
            news
        });
    }
}

/// The routes whose status is to be another.
fn differing<'s>(before: &'s Statuses, after: &'s Statuses) -> impl Iterator<Item = ObjectRef> + 's {
    before.routes.diff(&after.routes).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key.clone(),
    })
}
