//! What the lease holder has fetched, as every replica reads it.

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use portcullis_ir::Table;
use tokio::sync::mpsc;

use super::Place;
use crate::metrics::Metrics;
use crate::watch::Change;

/// What metrics call them.
const KIND: &str = "Issuer";

/// Follows the ConfigMaps of this installation's issuers, until nobody takes changes any more.
pub(crate) async fn follow(client: Client, place: Place, changes: mpsc::Sender<Change>, metrics: Metrics) {
    let api: Api<ConfigMap> = Api::namespaced(client, &place.namespace);
    let config = watcher::Config::default().labels(&place.selector());
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut listed = Table::new();
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.extend(place.read(&object).map(|kept| (kept.issuer.key.clone(), kept.issuer)));
                continue;
            }
            Ok(Event::InitDone) => {
                metrics.watch_synced_of(KIND, true);
                Change::Issuers(std::mem::take(&mut listed))
            }
            Ok(Event::Apply(object)) => match place.read(&object) {
                Some(kept) => Change::Issuer(kept.issuer.key.clone(), Some(kept.issuer)),
                // What is known stays, and the lease holder writes it anew.
                None => continue,
            },
            Ok(Event::Delete(object)) => match place.read(&object) {
                Some(kept) => Change::Issuer(kept.issuer.key.clone(), None),
                None => continue,
            },
            Err(error) => {
                metrics.watch_errors_of(KIND);
                tracing::warn!(%error, "the watch of issuers is broken; what is known stays, and it is tried again");
                continue;
            }
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}
