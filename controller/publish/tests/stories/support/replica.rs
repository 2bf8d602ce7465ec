//! A replica of the controller: publisher, server, certificates.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_ir::GatewayKey;
use portcullis_publish::{Ca, CaMaterial, Denied, Identify, Pki, PodIdentity, Publisher, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The server's name. Resolved, so that the data plane's own resolver is part of the story.
pub(crate) const HOST: &str = "localhost";

pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) pki: Arc<Pki>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

/// Tokens are `namespace/gateway/pod`; whatever else it is, it is none.
struct Tokens;

#[async_trait]
impl Identify for Tokens {
    async fn identify(&self, token: &str, gateway: &GatewayKey) -> Result<PodIdentity, Denied> {
        let [namespace, name, pod] = token.split('/').collect::<Vec<_>>()[..] else {
            return Err(Denied::Token("it is expired".to_owned()));
        };
        if *gateway != GatewayKey::new(namespace, name) {
            return Err(Denied::Gateway(format!("it is of a pod of {namespace}/{name}")));
        }
        Ok(PodIdentity { namespace: namespace.into(), pod: pod.into() })
    }
}

pub(crate) fn token(pod: &str) -> String {
    format!("team/web/{pod}")
}

pub(crate) fn ca() -> CaMaterial {
    Ca::generate(SystemTime::now()).unwrap()
}

pub(crate) fn pki(material: &CaMaterial) -> Arc<Pki> {
    Pki::new(Ca::from_pem(material, SystemTime::now()).unwrap(), vec![HOST.to_owned()])
}

impl Replica {
    pub(crate) async fn start(epoch: u64, material: &CaMaterial) -> Self {
        Self::start_with(Publisher::new(epoch), pki(material)).await
    }

    pub(crate) async fn start_with(publisher: Arc<Publisher>, pki: Arc<Pki>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = serve(listener, Arc::clone(&publisher), Arc::clone(&pki), Arc::new(Tokens), async {
            let _ = stopped.await;
        });
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, publisher, pki, stop: Some(stop), server }
    }

    /// Ends as a controller does on SIGTERM.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        super::within("the server's end", self.server).await.unwrap();
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let stats = self.publisher.stats();
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("snapshots", of(&stats.snapshots_sent)),
            ("deltas", of(&stats.deltas_sent)),
            ("refused", of(&stats.updates_refused)),
            ("streams", of(&stats.streams)),
        ]
        .into()
    }

    /// Snapshots and deltas sent.
    pub(crate) fn sent(&self) -> (u64, u64) {
        let counts = self.counts();
        (counts["snapshots"], counts["deltas"])
    }
}
