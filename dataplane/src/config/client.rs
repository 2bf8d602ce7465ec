//! The loop that takes configuration in, has it served, and answers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_wire::{
    Assembler, ClientMessage, Hello, Kind, Limits, Nack, Received, Refused, Rejection, State, Update, Wanted, answer,
};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::findings::Findings;
use super::health::Observation;
use super::publish::Publisher;
use super::restore::{Restored, restore};
use super::store::Store;
use super::{ConfigLink, Disk};
use crate::listen::Manager;
use crate::program::Compiler;
use crate::shared::Shared;
use crate::state::Source;

/// How often ports that could not be bound are tried again, and former programs looked after.
const UPKEEP: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Client {
    publisher: Publisher,
    assembler: Assembler,
    store: Option<Store>,
    /// While the server asks for figures.
    observation: Option<Observation>,
    undecodable: Findings,
}

impl Client {
    pub(crate) fn new(
        shared: Arc<Shared>,
        compiler: Arc<Mutex<Compiler>>,
        manager: Manager,
        disk: Option<Disk>,
    ) -> Self {
        let store = disk.and_then(|disk| {
            let failed =
                |error| tracing::error!(%error, "no thread for the state directory: configuration is not stored");
            Store::new(disk, Arc::clone(&compiler)).map_err(failed).ok()
        });
        Self {
            publisher: Publisher::new(shared, compiler, manager),
            assembler: Assembler::new(Limits::default()),
            store,
            observation: None,
            undecodable: Findings::default(),
        }
    }

    /// Serves until it was asked to drain and everything is over.
    pub(crate) async fn run(mut self, link: ConfigLink, draining: watch::Receiver<bool>) {
        let ConfigLink { mut incoming, outgoing } = link;
        self.restore().await;
        self.hello(&outgoing);
        // What is restored may be in force in part only, and a server that has never heard of us must know.
        self.answer(&outgoing);
        let mut upkeep = tokio::time::interval(UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::clone(self.publisher.shared());
        let stop = stop_accepting(Arc::clone(&shared), draining);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                Some(message) = incoming.recv() => self.receive(&message, &outgoing).await,
                _ = upkeep.tick(), if self.publisher.has_unbound() || self.publisher.has_retired() => {
                    self.publisher.free_retired();
                    if self.publisher.retry_binds().await {
                        self.answer(&outgoing);
                    }
                }
                () = interval_of(&mut self.observation) => self.report(&outgoing),
                issuers = shared.policy.auth.refetch.next() => {
                    let mut issuers: BTreeSet<_> = issuers.into_iter().collect();
                    while let Some(wanted) = Wanted::take(&mut issuers) {
                        send(&outgoing, &ClientMessage::Wanted(wanted));
                    }
                }
                () = &mut stop => break,
            }
        }
        self.drain(incoming, &outgoing).await;
    }

    /// Lets connections end while endpoints and certificates still move: requests in flight may still pick a backend.
    async fn drain(mut self, mut incoming: mpsc::Receiver<Vec<u8>>, outgoing: &mpsc::Sender<Vec<u8>>) {
        if let Some(mut manager) = self.publisher.take_manager() {
            // The workers end when the manager, who commands them, is gone.
            let drained = async move { manager.drain().await };
            tokio::pin!(drained);
            loop {
                tokio::select! {
                    () = &mut drained => break,
                    Some(message) = incoming.recv() => self.receive(&message, outgoing).await,
                }
            }
        }
        if let Some(store) = self.store {
            store.finish().await;
        }
    }

    /// Serves the newest stored configuration that can be read.
    async fn restore(&mut self) {
        let Some(store) = &self.store else { return };
        for (path, stored) in store.disk().candidates() {
            match restore(&stored) {
                Ok(Restored { assembler, version, digests, snapshot, findings, left_out }) => {
                    if let Some(why) = left_out {
                        tracing::warn!(path = %path.display(), why, "changes in it do not fit and are left out");
                    }
                    let kind = Kind::Snapshot(snapshot);
                    if self.publisher.publish(version, digests, kind, Source::Disk).await.is_err() {
                        store.disk().refuse(&path, "it could not be compiled");
                        continue;
                    }
                    tracing::warn!(%version, path = %path.display(), "serving the last good configuration from disk");
                    (self.assembler, self.undecodable) = (assembler, findings);
                    return;
                }
                Err(why) => store.disk().refuse(&path, &why),
            }
        }
    }

    fn hello(&self, outgoing: &mpsc::Sender<Vec<u8>>) {
        let settings = &self.publisher.shared().settings;
        let hello =
            Hello { node: settings.node.clone(), gateway: settings.gateway.clone(), held: self.assembler.held() };
        send(outgoing, &ClientMessage::Hello(hello));
    }

    async fn receive(&mut self, message: &[u8], outgoing: &mpsc::Sender<Vec<u8>>) {
        match self.assembler.receive(message) {
            Ok(Received::More) => {}
            Ok(Received::Observe(observe)) => {
                self.observation = Observation::begin(observe, &self.publisher.shared().metrics);
            }
            Ok(Received::Update(update)) => self.apply(*update, outgoing).await,
            Err(refused) => self.refuse(&refused, outgoing),
        }
    }

    async fn apply(&mut self, update: Update, outgoing: &mpsc::Sender<Vec<u8>>) {
        let Update { version, kind, digests, rejected, warnings } = update;
        self.undecodable.take(&kind, rejected, warnings);
        if let Err(error) = self.publisher.publish(version, digests, kind, Source::Live).await {
            tracing::error!(%version, %error, "configuration is not applied");
            self.publisher.shared().metrics.config_refused.increment();
            let nack = Nack {
                version: Some(version),
                held: self.publisher.held(),
                rejected: Vec::new(),
                warnings: Vec::new(),
                message: error.to_string(),
            };
            // What the assembler believes to be held is not what is served any more: only a snapshot can help.
            self.assembler = Assembler::new(Limits::default());
            send(outgoing, &ClientMessage::Nack(nack));
            return;
        }
        self.answer(outgoing);
        if let Some(store) = &self.store {
            store.changed();
        }
    }

    /// Ack or Nack for what is in force now.
    fn answer(&self, outgoing: &mpsc::Sender<Vec<u8>>) {
        let Some(State { version, .. }) = self.publisher.held() else { return };
        let (mut rejected, mut warnings) = self.publisher.findings();
        rejected.extend(self.undecodable.rejected.iter().cloned());
        warnings.extend(self.undecodable.warnings.iter().cloned());
        let metrics = &self.publisher.shared().metrics;
        metrics.config_rejected_resources.set(i64::try_from(rejected.len()).unwrap_or(i64::MAX));
        for Rejection { key, code, message } in &rejected {
            let key = key.as_ref().map_or_else(|| "a resource".to_owned(), ToString::to_string);
            tracing::warn!(%version, key, ?code, message, "resource is rejected");
        }
        tracing::info!(%version, rejected = rejected.len(), "configuration is in force");
        if let Some(held) = self.publisher.held() {
            send(outgoing, &answer(held, rejected, warnings));
        }
    }

    fn report(&mut self, outgoing: &mpsc::Sender<Vec<u8>>) {
        if let (Some(observation), Some(held)) = (&mut self.observation, self.publisher.held()) {
            send(outgoing, &ClientMessage::Health(observation.report(held.version)));
        }
    }

    fn refuse(&self, refused: &Refused, outgoing: &mpsc::Sender<Vec<u8>>) {
        self.publisher.shared().metrics.config_refused.increment();
        tracing::warn!(error = %refused, "configuration message is refused; what is served stays");
        send(outgoing, &refused.answer(self.assembler.held()));
    }
}

/// The end of the interval of an observation; never, if there is none.
async fn interval_of(observation: &mut Option<Observation>) {
    match observation {
        Some(observation) => observation.elapsed().await,
        None => std::future::pending().await,
    }
}

/// Not ready; then, when whoever routes to us has had time to notice, done.
async fn stop_accepting(shared: Arc<Shared>, mut draining: watch::Receiver<bool>) {
    // An error means that the handle is gone, and with it everybody who could ask.
    let _ = draining.wait_for(|draining| *draining).await;
    shared.state.drain();
    tracing::info!(delay = ?shared.settings.drain_delay, "draining");
    tokio::time::sleep(shared.settings.drain_delay).await;
}

/// A receiver that does not keep up loses answers, never configuration: each answer says everything, so the next one
/// makes up for it.
fn send(outgoing: &mpsc::Sender<Vec<u8>>, message: &ClientMessage) {
    if let Err(mpsc::error::TrySendError::Full(_)) = outgoing.try_send(message.encode_to_vec()) {
        tracing::warn!("nobody reads our answers to configuration; one is dropped");
    }
}
