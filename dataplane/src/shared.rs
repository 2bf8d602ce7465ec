//! What all workers share. The root pointer is the only way to the configuration.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;

use crate::observe::{AccessLogSink, Metrics};
use crate::policy;
use crate::program::Program;
use crate::settings::Settings;
use crate::state::State;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// Loaded once per request and once per handshake.
    pub(crate) program: ArcSwap<Program>,
    pub(crate) metrics: Arc<Metrics>,
    /// What policies remember between requests.
    pub(crate) policy: Arc<policy::State>,
    pub(crate) access_log: AccessLogSink,
    /// Off the request path.
    pub(crate) control: tokio::runtime::Handle,
    /// Open downstream connections, all workers together (bounded by `HttpLimits::max_connections`).
    pub(crate) connections: AtomicUsize,
    /// What the admin pages tell about the configuration.
    pub(crate) state: State,
    /// Every address that is bound.
    pub(crate) bound: ArcSwap<Vec<SocketAddr>>,
}
