//! A real kube-apiserver and etcd without a node: what kubelets and controllers would write (endpoints, a pod) the bench writes itself. Everything
//! runs in a network of its own, because the API server takes no endpoint on loopback.
//!
//! ```text
//! bench ─► kube-apiserver ◄─ portcullis-controller ◄─ relay, counting ◄─ portcullis-dataplane ─► nginx (upstreams)
//!   │            ▲                                                              ▲
//!   │ watch      └─ traefik (kubernetesGateway), in a world of its own           │
//!   └──────────────────────────────────── probes ──────────────────────────────┘
//! ```

pub(super) mod edits;
pub(super) mod objects;
mod ours;
pub(super) mod probe;
mod scrape;
pub(super) mod subscribers;
mod traefik;

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::{Client, Config};
use portcullis_apiserver::{ApiServer, Bundle, CrdSet, install};
use serde_json::Value;

use super::upstream::Upstreams;
use crate::peers::Programs;

pub(super) use ours::OurSide;
pub(super) use scrape::{metric, page, series, sum};
pub(super) use traefik::TraefikSide;

/// Given to the loopback device of the network by `scripts/bench.sh`.
const ADDRESS: [u8; 4] = [10, 255, 0, 1];
/// Where Gateways are; routes have namespaces of their own.
pub(super) const NAMESPACE: &str = "bench";
pub(super) const GATEWAY: &str = "gw";
/// Writes in flight at once while a world is filled.
const AT_ONCE: usize = 16;

pub(super) struct World {
    server: ApiServer,
    pub(super) client: Client,
    pub(super) upstreams: Upstreams,
}

impl World {
    /// Starts the API server, with our kinds and the Gateway API's, and two upstreams.
    pub(super) async fn start(programs: &Programs) -> anyhow::Result<Self> {
        ensure!(
            programs.cluster,
            "it needs a network namespace of its own, which this account or kernel does not give"
        );
        let upstreams = Upstreams::start_on(IpAddr::from(ADDRESS), &["a", "b"], None).await?;
        // It brings a runtime of its own, and panics where a test would.
        let server = tokio::task::spawn_blocking(ApiServer::start).await.context("the API server did not start")?;
        let client = Client::try_from(server.config())?;
        let installing = install(&client, &[CrdSet::Standard(Bundle::V1_6_3), CrdSet::Portcullis]);
        installing.await;
        let world = Self { server, client, upstreams };
        world.create(objects::namespace(NAMESPACE)).await?;
        Ok(world)
    }

    pub(super) fn config(&self) -> Config {
        self.server.config()
    }

    pub(super) fn upstream(&self, index: usize) -> SocketAddr {
        self.upstreams.all[index].address
    }

    pub(super) fn api(&self, namespace: Option<&str>, kind: &ApiResource) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, kind),
            None => Api::all_with(self.client.clone(), kind),
        }
    }

    /// Creates an object.
    pub(super) async fn create(&self, object: Value) -> anyhow::Result<DynamicObject> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let kind = objects::resource(object.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default())?;
        let api = self.api(object.metadata.namespace.as_deref(), &kind);
        let created = api.create(&PostParams::default(), &object).await;
        created.with_context(|| format!("{} {:?} is not taken", kind.kind, object.metadata.name))
    }

    /// Creates objects, some at once; the order among them is not kept.
    pub(super) async fn create_all(&self, objects: Vec<Value>) -> anyhow::Result<()> {
        let creating = futures::stream::iter(objects).map(|object| self.create(object)).buffer_unordered(AT_ONCE);
        creating.try_for_each(|_| std::future::ready(Ok(()))).await
    }

    /// Deletes objects of one kind, some at once.
    pub(super) async fn delete_all(&self, kind: &ApiResource, names: Vec<(String, String)>) -> anyhow::Result<()> {
        let deleting = futures::stream::iter(names).map(|(namespace, name)| async move {
            let api = self.api(Some(&namespace), kind);
            api.delete(&name, &DeleteParams::background()).await.map(drop)
        });
        Ok(deleting.buffer_unordered(AT_ONCE).try_for_each(|()| std::future::ready(Ok(()))).await?)
    }
}
