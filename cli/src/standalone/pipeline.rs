//! Everything between a folder and a program, in one value without clocks, sockets or threads.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use portcullis_ir::{GatewayKey, Issuer, IssuerKey, ListenerKey, ResourceKey, Snapshot, Table};
use portcullis_translate::{
    Acks, GatewayAck, IssuerSource, Memo, Settings, Statuses, Timestamp, programmed, translate,
};
use portcullis_wire::Rejection;

use super::diagnose::diagnose;
use super::report::Report;
use crate::load::{Changes, Loaded, Loader, Look, Problem};

/// Keeps what one pass leaves for the next.
#[derive(Debug)]
pub struct Pipeline {
    loader: Loader,
    settings: Settings,
    memo: Memo,
    /// Of the newest pass, without the data plane's word.
    translated: Statuses,
    /// With it, as far as it has been given.
    completed: Statuses,
    /// The listeners that the data plane is to serve.
    listeners: BTreeMap<GatewayKey, Vec<ListenerKey>>,
    problems: Vec<Problem>,
    /// What was read last.
    loaded: Option<Loaded>,
    issuers: Table<IssuerKey, Issuer>,
}

/// What a pass came to.
#[derive(Debug)]
pub struct Pass {
    /// All of our Gateways in one.
    pub snapshot: Snapshot,
    /// What is to be fetched for its policies.
    pub issuers: BTreeMap<IssuerKey, IssuerSource>,
    /// From the files and from what they mean, in reading order.
    pub problems: Vec<Problem>,
    pub changes: Changes,
    pub objects: usize,
    pub files: usize,
}

impl Pipeline {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            loader: Loader::new(root),
            settings: Settings { bind_addresses: true, ..Settings::default() },
            memo: Memo::default(),
            translated: Statuses::default(),
            completed: Statuses::default(),
            listeners: BTreeMap::new(),
            problems: Vec::new(),
            loaded: None,
            issuers: Table::new(),
        }
    }

    /// Reads what has changed; see [`Loader::load`].
    ///
    /// # Errors
    /// When the folder is gone.
    pub fn load(&mut self, is_open: &dyn Fn(&Path) -> bool) -> io::Result<Look> {
        self.loader.load(is_open)
    }

    /// Translates what was read.
    pub fn translate(&mut self, loaded: Loaded, now: Timestamp) -> Pass {
        self.pass(loaded, now)
    }

    /// Takes in what was fetched of issuers, and translates what was read before once more; none if nothing was.
    pub fn fetched(&mut self, issuers: Table<IssuerKey, Issuer>, now: Timestamp) -> Option<Pass> {
        self.issuers = issuers;
        let loaded = self.loaded.take()?;
        Some(self.pass(loaded, now))
    }

    fn pass(&mut self, mut loaded: Loaded, now: Timestamp) -> Pass {
        loaded.inputs.now = now;
        loaded.inputs.issuers.clone_from(&self.issuers);
        let changes = std::mem::take(&mut loaded.changes);
        let output = translate(&loaded.inputs, &self.settings, &mut self.memo);
        let mut statuses = output.statuses;
        statuses.settle(&self.completed);
        let mut problems = loaded.problems.clone();
        problems.extend(diagnose(&loaded.inputs, &statuses, &loaded.sources));
        problems.sort();
        self.listeners = BTreeMap::new();
        let mut snapshot = Snapshot::default();
        for (gateway, of_gateway) in output.snapshots {
            self.listeners.insert(gateway, of_gateway.config.listeners.keys().cloned().collect());
            if snapshot.config.listeners.is_empty() && snapshot.config.routes.is_empty() {
                snapshot = of_gateway;
            } else {
                snapshot.merge(of_gateway);
            }
        }
        add_addresses(&mut statuses, &snapshot);
        self.translated = statuses.clone();
        self.completed = statuses;
        self.problems.clone_from(&problems);
        let (objects, files) = (loaded.sources.len(), loaded.files);
        self.loaded = Some(loaded);
        Pass { snapshot, issuers: output.issuers, problems, changes, objects, files }
    }

    /// Completes the statuses by what the data plane said of the newest snapshot. It may change its mind: a port may
    /// become free later.
    pub fn acknowledge(&mut self, rejected: &[Rejection], now: Timestamp) {
        let mut acks = Acks { now, gateways: BTreeMap::new() };
        for (gateway, listeners) in &self.listeners {
            let mut ack = GatewayAck::default();
            for listener in listeners {
                let refused = rejected.iter().find(|rejection| match &rejection.key {
                    Some(ResourceKey::Listener(key)) => key == listener,
                    _ => false,
                });
                let outcome = refused.map_or(Ok(()), |rejection| Err(rejection.message.clone()));
                ack.listeners.insert(listener.clone(), outcome);
            }
            acks.gateways.insert(gateway.clone(), ack);
        }
        let mut statuses = self.translated.clone();
        statuses.settle(&self.completed);
        programmed(&mut statuses, &acks);
        self.completed = statuses;
    }

    pub fn report(&self) -> Report {
        Report { statuses: self.completed.clone(), problems: self.problems.clone() }
    }
}

/// Where a Gateway can be reached: the addresses that its listeners are bound to.
fn add_addresses(statuses: &mut Statuses, snapshot: &Snapshot) {
    for (gateway, status) in &mut statuses.gateways {
        let listeners = snapshot.config.listeners.values().filter(|listener| listener.key.gateway == *gateway);
        let addresses: BTreeSet<_> = listeners.flat_map(|listener| listener.addresses.iter().copied()).collect();
        if !addresses.is_empty() {
            let status_of = |address: std::net::IpAddr| gateway_api::gateways::GatewayStatusAddresses {
                r#type: Some("IPAddress".to_owned()),
                value: address.to_string(),
            };
            status.addresses = Some(addresses.into_iter().map(status_of).collect());
        }
    }
}
