//! Names of backends, resolved.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use portcullis_ir as ir;

use super::endpoints::EndpointSet;

#[derive(Debug)]
pub(crate) struct Dns {
    runtime: tokio::runtime::Handle,
}

#[derive(Debug)]
pub(crate) struct NamedSet {
    names: Box<[(ir::Host, u16)]>,
    set: ArcSwap<EndpointSet>,
}

impl Dns {
    pub(crate) fn new(runtime: tokio::runtime::Handle) -> Self {
        Self { runtime }
    }

    pub(crate) fn follow(&self, names: &[(ir::Host, u16)]) -> Arc<NamedSet> {
        Arc::new(NamedSet { names: names.into(), set: ArcSwap::default() })
    }
}

impl NamedSet {
    pub(crate) fn is_for(&self, names: &[(ir::Host, u16)]) -> bool {
        *self.names == *names
    }

    pub(crate) fn current(&self) -> Guard<Arc<EndpointSet>> {
        self.set.load()
    }

    pub(crate) fn current_full(&self) -> Arc<EndpointSet> {
        self.set.load_full()
    }

    pub(crate) async fn resolved_once(&self) {}
}
