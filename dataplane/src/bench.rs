//! What the benches measure of an apply, without sockets: decode, assemble, compile. Not part of the API.

use std::sync::Arc;

use portcullis_ir::Snapshot;
use portcullis_wire::{Assembler, Limits, Received, Refused, Version};

use crate::listen::install_provider;
use crate::observe::Metrics;
use crate::policy::State;
use crate::program::{Compiler, Program};
use crate::upstream::Upkeep;

/// A data plane's configuration without its listeners.
#[derive(Debug)]
pub struct ApplyBench {
    assembler: Assembler,
    compiler: Compiler,
    /// The program in force, as a worker would hold it.
    program: Option<Arc<Program>>,
    /// Names of backends are resolved here.
    _runtime: tokio::runtime::Runtime,
}

impl ApplyBench {
    /// # Errors
    /// When no runtime can be had.
    pub fn new(workers: usize) -> std::io::Result<Self> {
        install_provider();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let upkeep = Upkeep::new(runtime.handle().clone());
        let compiler = Compiler::new(workers, Arc::new(Metrics::default()), upkeep, Arc::new(State::new(workers)));
        Ok(Self { assembler: Assembler::new(Limits::default()), compiler, program: None, _runtime: runtime })
    }

    /// Takes encoded messages until the last is applied. Returns how many updates were.
    ///
    /// # Errors
    /// What the assembler refuses.
    pub fn apply(&mut self, messages: &[Vec<u8>]) -> Result<usize, Refused> {
        let mut updates = 0;
        for message in messages {
            if let Received::Update(update) = self.assembler.receive(message)? {
                let delta = update.kind.into_delta(self.compiler.snapshot());
                self.program = Some(self.compiler.apply(update.version, update.digests, delta));
                updates += 1;
            }
        }
        Ok(updates)
    }

    pub fn version(&self) -> Option<Version> {
        self.program.as_ref().map(|program| program.version)
    }

    pub fn snapshot(&self) -> &Snapshot {
        self.compiler.snapshot()
    }
}
