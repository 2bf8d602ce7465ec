//! Making a configuration the one that is served: compile off the request path, bind, swap, and only then close what is
//! not wanted any more.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use portcullis_ir as ir;
use portcullis_wire::{Digests, Kind, Rejection, RejectionCode, State, Version};

use crate::listen::{BindError, Manager, Place};
use crate::program::{Compiler, Program, Rejected};
use crate::shared::Shared;
use crate::state::Source;

#[derive(Debug)]
pub(super) struct Publisher {
    shared: Arc<Shared>,
    compiler: Arc<Mutex<Compiler>>,
    /// Gone once the process drains: ports open no more.
    manager: Option<Manager>,
    unbound: BTreeMap<Place, BindError>,
    /// Former programs that requests still run by. They are freed here, not on a worker, when the last one has ended.
    retired: Vec<Arc<Program>>,
}

/// A defect: the compiler panicked. What was served goes on being served.
#[derive(Debug, thiserror::Error)]
#[error("the configuration could not be compiled; this is a defect of the data plane, please report it")]
pub(super) struct CompileFailed;

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>, compiler: Arc<Mutex<Compiler>>, manager: Manager) -> Self {
        Self { shared, compiler, manager: Some(manager), unbound: BTreeMap::new(), retired: Vec::new() }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What is in force; none before the first program.
    pub(super) fn held(&self) -> Option<State> {
        let program = self.shared.program.load();
        program.complete.then(|| State { version: program.version, digests: program.digests })
    }

    /// Compiles on the caller's thread, which must not be one that serves requests.
    pub(super) async fn publish(
        &mut self,
        version: Version,
        digests: Digests,
        content: Kind,
        source: Source,
    ) -> Result<(), CompileFailed> {
        let begun = Instant::now();
        let compiled = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut compiler = self.lock_compiler();
            let delta = content.into_delta(compiler.snapshot());
            compiler.apply(version, digests, delta)
        }));
        let program = compiled.map_err(|_| {
            // Half applied is worse than nothing: the next snapshot is compiled from scratch.
            self.lock_compiler().reset();
            CompileFailed
        })?;
        self.serve(program, source).await;
        let metrics = &self.shared.metrics;
        metrics.config_applies.increment();
        metrics.config_apply_micros.add(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Tries again to bind what could not be bound. True if something changed.
    pub(super) async fn retry_binds(&mut self) -> bool {
        if self.unbound.is_empty() {
            return false;
        }
        let before = self.unbound.clone();
        let program = self.shared.program.load_full();
        self.bind(&program, None).await;
        before != self.unbound
    }

    pub(super) fn has_unbound(&self) -> bool {
        !self.unbound.is_empty()
    }

    /// Frees former programs that no request uses any more.
    pub(super) fn free_retired(&mut self) {
        self.retired.retain(|program| Arc::strong_count(program) > 1);
    }

    pub(super) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// From now on no port is opened or closed by a configuration.
    pub(super) fn take_manager(&mut self) -> Option<Manager> {
        self.manager.take()
    }

    /// What of the configuration is not in force, and what is in force in part.
    pub(super) fn findings(&self) -> (Vec<Rejection>, Vec<Rejection>) {
        let program = self.shared.program.load();
        let mut rejected = Vec::new();
        for (place, error) in &self.unbound {
            let listeners = program.binds.get(place).map_or(&[][..], |facts| &facts.listeners);
            rejected.extend(listeners.iter().map(|key| Rejection {
                key: Some(ir::ResourceKey::Listener(key.clone())),
                code: RejectionCode::Unbindable,
                message: error.to_string(),
            }));
        }
        let mut warnings = Vec::new();
        for Rejected { key, message } in self.lock_compiler().rejected() {
            let list = if matches!(key, ir::ResourceKey::Listener(_)) { &mut rejected } else { &mut warnings };
            list.push(Rejection { key: Some(key), code: RejectionCode::Unusable, message });
        }
        for Rejected { key, message } in self.lock_compiler().degraded() {
            warnings.push(Rejection { key: Some(key), code: RejectionCode::Unusable, message });
        }
        (rejected, warnings)
    }

    /// Binds first, so that nothing is promised that cannot be kept; swaps; then lets go of what is not wanted.
    async fn serve(&mut self, program: Arc<Program>, source: Source) {
        let version = program.version;
        self.bind(&program, Some(source)).await;
        let metrics = &self.shared.metrics;
        metrics.config_epoch.set(version.epoch.cast_signed());
        metrics.config_version.set(version.number.cast_signed());
        metrics.config_stale.set(i64::from(source == Source::Disk));
        self.free_retired();
    }

    async fn bind(&mut self, program: &Arc<Program>, swap: Option<Source>) {
        let prepared = match &mut self.manager {
            Some(manager) => Some(manager.prepare(program.binds.keys()).await),
            None => None,
        };
        if let Some(source) = swap {
            let former = self.shared.program.swap(Arc::clone(program));
            self.retired.push(former);
            self.shared.state.applied(source);
        }
        let (Some(manager), Some(mut prepared)) = (&mut self.manager, prepared) else { return };
        let unbound = std::mem::take(&mut prepared.failures);
        for (place, error) in unbound.iter().filter(|(place, error)| self.unbound.get(place) != Some(error)) {
            tracing::error!(port = place.bind.port, transport = ?place.transport, %error, "listener is not served");
        }
        self.unbound = unbound;
        manager.commit(prepared, |place| program.binds.contains_key(place)).await;
        self.shared.bound.store(Arc::new(manager.bound()));
        self.shared.state.set_unbound(self.unbound.values().map(ToString::to_string).collect());
    }

    fn lock_compiler(&self) -> MutexGuard<'_, Compiler> {
        self.compiler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
