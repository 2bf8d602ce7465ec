//! From what changed to the next program. Work grows with the change: routes whose backends' endpoints moved are not
//! looked at, and what survives a swap is handed on by key.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_auth::Vault;
use portcullis_ir as ir;
use portcullis_ir::{Change, Resource, ResourceKey};
use portcullis_router::{Router, Streams};
use portcullis_wire::{Digests, Version};

use super::lives::Lives;
use super::names::Names;
use super::rule::{compile_pick, compile_rule, compile_target, predecessors, references};
use super::slots::Slots;
use super::stream::Retained;
use super::{BackendSlot, Program, RuleState, StreamState, stream};
use crate::listen::{Facts, Inside, Life, Place, TlsTable, facts};
use crate::observe::Metrics;
use crate::policy::{self, ListenerPolicies, PolicyCompiler, RulePolicies, asked_by_listener, asked_by_route};
use crate::upstream::{BackendProgram, Upkeep, WeightedPick};

/// A resource that was decoded but cannot be honoured (fully), and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) key: ResourceKey,
    pub(crate) message: String,
}

/// Owns the configuration and everything that outlives a program. One per data plane, off the request path.
#[derive(Debug)]
pub(crate) struct Compiler {
    /// None before the first program.
    version: Option<Version>,
    snapshot: ir::Snapshot,
    names: Names,
    router: Router<RuleState>,
    streams: Streams<StreamState>,
    tls: TlsTable,
    policies: ListenerPolicies,
    policy_compiler: PolicyCompiler,
    vault: Vault,
    backends: imbl::Vector<Option<Arc<BackendProgram>>>,
    asked: Arc<BTreeMap<ir::BackendKey, BackendSlot>>,
    binds: Arc<BTreeMap<Place, Facts>>,
    lives: Lives,
    shown_lives: Arc<BTreeMap<ir::ListenerKey, Life>>,
    /// Listeners that contradict another one on their port.
    contradicting: BTreeMap<ir::ListenerKey, String>,
    slots: Slots,
    retained_streams: HashMap<ir::RouteKey, Retained>,
    /// Backends that refuse to connect because their TLS cannot be had as configured, and why.
    broken_tls: BTreeMap<ir::BackendKey, String>,
    /// Backends by the client certificate that they present.
    presenters: BTreeMap<ir::CertificateKey, BTreeSet<ir::BackendKey>>,
    /// The pick of every rule with one backend of weight 1: it has no state.
    single: Arc<WeightedPick>,
    metrics: Arc<Metrics>,
    upkeep: Arc<Upkeep>,
    workers: usize,
}

/// What a set of changes asks to be compiled, beside routes.
#[derive(Debug, Default)]
struct Dirty {
    backends: BTreeSet<ir::BackendKey>,
    listeners: BTreeSet<ir::ListenerKey>,
    any_listener: bool,
}

impl Compiler {
    pub(crate) fn new(workers: usize, metrics: Arc<Metrics>, upkeep: Arc<Upkeep>, policy: Arc<policy::State>) -> Self {
        Self {
            version: None,
            snapshot: ir::Snapshot::default(),
            names: Names::default(),
            router: Router::new(),
            streams: Streams::new(),
            tls: TlsTable::default(),
            policies: ListenerPolicies::default(),
            policy_compiler: PolicyCompiler::new(policy, Arc::clone(&metrics)),
            vault: Vault::default(),
            backends: imbl::Vector::new(),
            asked: Arc::default(),
            binds: Arc::default(),
            lives: Lives::default(),
            shown_lives: Arc::default(),
            contradicting: BTreeMap::new(),
            slots: Slots::default(),
            retained_streams: HashMap::new(),
            broken_tls: BTreeMap::new(),
            presenters: BTreeMap::new(),
            single: Arc::new(WeightedPick::new(&[1], workers)),
            metrics,
            upkeep,
            workers,
        }
    }

    /// Forgets the configuration. Programs that are held stay as they are.
    pub(crate) fn reset(&mut self) {
        // Connections are there whatever became of the configuration: the next one says whose listeners stay.
        let lives = std::mem::take(&mut self.lives);
        let policy = Arc::clone(self.policy_compiler.state());
        let (metrics, upkeep) = (Arc::clone(&self.metrics), Arc::clone(&self.upkeep));
        *self = Self { lives, ..Self::new(self.workers, metrics, upkeep, policy) };
    }

    /// Of the newest program; none before the first.
    pub(crate) fn version(&self) -> Option<Version> {
        self.version
    }

    pub(crate) fn snapshot(&self) -> &ir::Snapshot {
        &self.snapshot
    }

    /// The next program. The former ones stay as they are. `digests` are those of everything once the delta is applied;
    /// whoever assembled it knows them.
    pub(crate) fn apply(&mut self, version: Version, digests: Digests, mut delta: ir::Delta) -> Arc<Program> {
        self.names.share(&mut delta.upserts);
        let changes = self.snapshot.apply(delta);
        self.move_references(&changes);
        self.vault.apply(&changes);
        let dirty = self.dirty(&changes);
        for key in &dirty.backends {
            self.compile_backend(key);
        }
        for key in &dirty.listeners {
            self.compile_tls(key);
            self.compile_policies(key);
        }
        if dirty.any_listener {
            let (binds, contradicting) = facts(self.snapshot.config.listeners.values());
            self.binds = Arc::new(binds);
            self.contradicting = contradicting;
            self.shown_lives = self.lives.follow(&self.snapshot.config.listeners);
        }
        self.note_asked(&changes);
        self.compile_routes(&changes);
        self.compile_streams(&changes);
        let program = Arc::new(Program {
            version,
            digests,
            router: self.router.clone(),
            streams: self.streams.clone(),
            tls: self.tls.clone(),
            policies: self.policies.clone(),
            vault: self.vault.clone(),
            binds: Arc::clone(&self.binds),
            lives: Arc::clone(&self.shown_lives),
            backends: self.backends.clone(),
            asked: Arc::clone(&self.asked),
            complete: true,
        });
        self.slots.published(&program);
        self.policy_compiler.published(&self.snapshot.live.stores);
        self.version = Some(version);
        program
    }

    /// What of the current configuration is in force in part, or denied by itself: nothing else suffers from it.
    pub(crate) fn degraded(&self) -> Vec<Rejected> {
        let roots = self.snapshot.config.listeners.keys().flat_map(|listener| {
            let of = |why: &String| Rejected { key: ResourceKey::Listener(listener.clone()), message: why.clone() };
            self.tls.unusable_roots(listener).iter().map(of)
        });
        let backends = self
            .broken_tls
            .iter()
            .map(|(key, why)| Rejected { key: ResourceKey::Backend(key.clone()), message: why.clone() });
        roots.chain(backends).collect()
    }

    /// What of the current configuration cannot be honoured.
    pub(crate) fn rejected(&self) -> Vec<Rejected> {
        let contradicting = self
            .contradicting
            .iter()
            .map(|(key, message)| Rejected { key: ResourceKey::Listener(key.clone()), message: message.clone() });
        let certificates = self.snapshot.config.listeners.keys().flat_map(|listener| {
            self.tls.unusable(listener).iter().map(move |(certificate, why)| Rejected {
                key: ResourceKey::Certificate(certificate.clone()),
                message: format!("listener {listener} cannot use it: {why}"),
            })
        });
        let rootless = self.snapshot.config.listeners.keys().filter_map(|listener| {
            let why = self.tls.no_client_roots(listener)?.to_string();
            Some(Rejected { key: ResourceKey::Listener(listener.clone()), message: why })
        });
        contradicting.chain(rootless).chain(certificates).collect()
    }

    /// Gives slots to what is named now before it takes those of what is not named any more, so that an edited rule's
    /// backend keeps its slot.
    fn move_references(&mut self, changes: &[Change]) {
        for change in changes {
            match &change.after {
                Some(Resource::Route(route)) => references(route).for_each(|key| {
                    self.slots.acquire(key);
                }),
                Some(Resource::StreamRoute(route)) => stream::references(route).for_each(|key| {
                    self.slots.acquire(key);
                }),
                Some(Resource::Backend(backend)) => {
                    self.slots.acquire(&backend.key);
                }
                Some(Resource::Listener(listener)) => asked_by_listener(listener).for_each(|key| {
                    self.slots.acquire(key);
                }),
                _ => {}
            }
        }
        let mut freed = Vec::new();
        for change in changes {
            match &change.before {
                Some(Resource::Route(route)) => {
                    freed.extend(references(route).filter_map(|key| self.slots.release(key)));
                }
                Some(Resource::StreamRoute(route)) => {
                    freed.extend(stream::references(route).filter_map(|key| self.slots.release(key)));
                }
                Some(Resource::Backend(backend)) => freed.extend(self.slots.release(&backend.key)),
                Some(Resource::Listener(listener)) => {
                    freed.extend(asked_by_listener(listener).filter_map(|key| self.slots.release(key)));
                }
                _ => {}
            }
        }
        for slot in freed {
            if let Some(place) = self.backends.get_mut(slot.0 as usize) {
                *place = None;
            }
        }
    }

    /// Which slots are those of the services that policies ask, if that may have changed.
    fn note_asked(&mut self, changes: &[Change]) {
        let asks = |resource: &Option<Resource>| match resource {
            Some(Resource::Route(route)) => asked_by_route(route).next().is_some(),
            Some(Resource::Listener(listener)) => asked_by_listener(listener).next().is_some(),
            _ => false,
        };
        if !changes.iter().any(|change| asks(&change.before) || asks(&change.after)) {
            return;
        }
        let config = &self.snapshot.config;
        let routes = config.routes.values().flat_map(|route| asked_by_route(route));
        let listeners = config.listeners.values().flat_map(|listener| asked_by_listener(listener));
        let slot = |key: &ir::BackendKey| Some((key.clone(), self.slots.get(key)?));
        self.asked = Arc::new(routes.chain(listeners).filter_map(slot).collect());
    }

    fn dirty(&mut self, changes: &[Change]) -> Dirty {
        let mut dirty = Dirty::default();
        for change in changes {
            match change.key() {
                Some(ResourceKey::Backend(key)) => {
                    self.note_presenter(change);
                    dirty.backends.insert(key);
                }
                Some(ResourceKey::Endpoints(key)) => {
                    dirty.backends.insert(key);
                }
                Some(ResourceKey::Listener(key)) => {
                    dirty.any_listener = true;
                    dirty.listeners.insert(key);
                }
                Some(ResourceKey::Certificate(key)) => {
                    dirty.backends.extend(self.presenters.get(&key).into_iter().flatten().cloned());
                    dirty.listeners.extend(self.serving(&key).cloned());
                }
                Some(
                    ResourceKey::Route(_)
                    | ResourceKey::StreamRoute(_)
                    | ResourceKey::Store(_)
                    | ResourceKey::Credential(_)
                    | ResourceKey::Issuer(_),
                )
                | None => {}
            }
        }
        dirty
    }

    fn note_presenter(&mut self, change: &Change) {
        let presented = |resource: &Option<Resource>| match resource {
            Some(Resource::Backend(backend)) => {
                let tls = backend.tls.as_ref()?;
                Some((tls.client_certificate.clone()?, backend.key.clone()))
            }
            _ => None,
        };
        if let Some((certificate, backend)) = presented(&change.before)
            && let Some(backends) = self.presenters.get_mut(&certificate)
        {
            backends.remove(&backend);
            if backends.is_empty() {
                self.presenters.remove(&certificate);
            }
        }
        if let Some((certificate, backend)) = presented(&change.after) {
            self.presenters.entry(certificate).or_default().insert(backend);
        }
    }

    /// Listeners that serve a certificate.
    fn serving(&self, certificate: &ir::CertificateKey) -> impl Iterator<Item = &ir::ListenerKey> {
        self.snapshot.config.listeners.values().filter_map(move |listener| {
            listener.protocol.termination()?.certificates.contains(certificate).then_some(&listener.key)
        })
    }

    fn compile_backend(&mut self, key: &ir::BackendKey) {
        self.broken_tls.remove(key);
        // Endpoints of a backend that nobody names yet have no slot, and need none.
        let Some(slot) = self.slots.get(key) else { return };
        let slot = slot.0 as usize;
        while self.backends.len() <= slot {
            self.backends.push_back(None);
        }
        let compiled = self.snapshot.config.backends.get(key).map(|backend| {
            let previous = self.backends.get(slot).and_then(Option::as_ref);
            let endpoints = self.snapshot.live.endpoints.get(key);
            let certificate = |key: &ir::CertificateKey| self.snapshot.live.certificates.get(key).cloned();
            BackendProgram::compile(backend, endpoints, &certificate, previous, &self.upkeep)
        });
        if let Some(broken) = compiled.as_ref().and_then(|backend| backend.broken_tls()) {
            self.broken_tls.insert(key.clone(), broken.to_string());
        }
        self.backends.set(slot, compiled);
    }

    fn compile_policies(&mut self, key: &ir::ListenerKey) {
        match self.snapshot.config.listeners.get(key) {
            Some(listener) => self.policies.put(listener, &mut self.policy_compiler),
            None => self.policies.remove(key, &mut self.policy_compiler),
        }
    }

    fn compile_tls(&mut self, key: &ir::ListenerKey) {
        let (inside, termination) = match self.snapshot.config.listeners.get(key).map(|listener| &listener.protocol) {
            Some(ir::ListenerProtocol::Https(termination)) => (Inside::Http, termination),
            Some(ir::ListenerProtocol::TlsTerminate(termination)) => (Inside::Bytes, termination),
            _ => return self.tls.remove(key),
        };
        let certificates = &self.snapshot.live.certificates;
        self.tls.put(key, inside, termination, &|key| certificates.get(key).cloned());
    }

    fn compile_routes(&mut self, changes: &[Change]) {
        let Self { router, slots, single, metrics, workers, policy_compiler, .. } = self;
        let before = predecessors(router, changes);
        router.apply(changes, &mut |route| {
            let kept = before.get(&route.key).map(|rule| &rule.payload);
            compile_rule(route, kept, slots, single, metrics, policy_compiler, *workers)
        });
        for change in changes {
            if let (Some(Resource::Route(route)), None) = (&change.before, &change.after)
                && let Some(gone) = before.get(&route.key)
            {
                metrics.remove_rule(&route.key, &gone.payload.metrics);
            }
        }
    }

    fn compile_streams(&mut self, changes: &[Change]) {
        let Self { streams, slots, retained_streams, single, metrics, workers, policy_compiler, .. } = self;
        streams.apply(changes, &mut |route| {
            let kept = retained_streams.remove(&route.key);
            let weights: Vec<u32> = route.backends.iter().map(|backend| backend.weight).collect();
            let state = StreamState {
                metrics: kept
                    .as_ref()
                    .map_or_else(|| metrics.streams.rule(&route.key), |kept| Arc::clone(&kept.metrics)),
                pick: compile_pick(&weights, kept.as_ref().map(|kept| &kept.pick), single, *workers),
                targets: route.backends.iter().map(|backend| compile_target(&backend.target, slots)).collect(),
                policies: RulePolicies::of(&route.attachments, policy_compiler),
            };
            let keep = Retained { metrics: Arc::clone(&state.metrics), pick: Arc::clone(&state.pick) };
            retained_streams.insert(route.key.clone(), keep);
            state
        });
        for change in changes {
            if let (Some(Resource::StreamRoute(route)), None) = (&change.before, &change.after) {
                retained_streams.remove(&route.key);
                metrics.streams.remove_rule(&route.key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
