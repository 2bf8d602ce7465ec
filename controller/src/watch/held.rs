//! Secrets and ConfigMaps: of all of them only names and versions pass by; those that are referred to are fetched, and
//! only they are held.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use portcullis_translate::{Kind, ObjectRef};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::holder::Holder;
use super::{Change, is_not_found, read, resource};
use crate::metrics::Metrics;
use crate::pause::Pause;

/// Fetches at once, beside those that wait because they failed.
const FETCHES: usize = 16;

type Meta = PartialObjectMeta<DynamicObject>;

/// Holds what of a kind is referred to. Each object that is wanted is answered once by [`Change::Apply`],
/// [`Change::Invalid`] or [`Change::Remove`], and again whenever it changes. One that cannot be fetched holds up no
/// other.
pub(crate) async fn hold(
    client: Client,
    kind: Kind,
    mut wanted: watch::Receiver<Arc<BTreeSet<ObjectRef>>>,
    changes: mpsc::Sender<Change>,
    metrics: Metrics,
) {
    let api: Api<Meta> = Api::all_with(client.clone(), &resource(kind));
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut holder = Holder::new(kind);
    let mut fetches = FuturesUnordered::new();
    let mut failed: HashMap<ObjectRef, Pause> = HashMap::new();
    let mut listed: HashSet<ObjectRef> = HashSet::new();
    loop {
        while fetches.len() < FETCHES + failed.len()
            && let Some(reference) = holder.next_fetch()
        {
            fetches.push(fetch(client.clone(), reference, Duration::ZERO));
        }
        let mut outcome = Vec::new();
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = Arc::clone(&wanted.borrow_and_update());
                outcome = holder.want(&now);
            }
            event = events.next() => match event {
                Some(Ok(Event::Init)) => listed.clear(),
                Some(Ok(Event::InitApply(meta))) => {
                    listed.insert(reference(kind, &meta));
                    holder.seen(reference(kind, &meta), meta.metadata.resource_version.as_deref());
                }
                Some(Ok(Event::InitDone)) => {
                    metrics.watch_synced(kind, true);
                    outcome = holder.only(&listed);
                    listed.clear();
                }
                Some(Ok(Event::Apply(meta))) => {
                    holder.seen(reference(kind, &meta), meta.metadata.resource_version.as_deref());
                }
                Some(Ok(Event::Delete(meta))) => outcome.extend(holder.deleted(reference(kind, &meta))),
                Some(Err(error)) => {
                    metrics.watch_errors(kind);
                    tracing::warn!(%kind, %error, "watch is broken; what is known stays, and it is tried again");
                }
                None => return,
            },
            Some((reference, fetched)) = fetches.next(), if !fetches.is_empty() => match fetched {
                Ok(found) => {
                    failed.remove(&reference);
                    let version = found.as_ref().map(|object| object.metadata.resource_version.clone());
                    if holder.fetched(&reference, version) {
                        outcome.push(found.map_or(Change::Remove(reference), |object| read(kind, object)));
                    }
                }
                Err(error) => {
                    metrics.watch_errors(kind);
                    tracing::warn!(object = %reference, %error, "cannot be fetched; it is tried again");
                    let pause = failed.entry(reference.clone()).or_default().next();
                    fetches.push(fetch(client.clone(), reference, pause));
                }
            },
        }
        for change in outcome {
            if changes.send(change).await.is_err() {
                return;
            }
        }
    }
}

/// The object, or none if it does not exist.
async fn fetch(
    client: Client,
    reference: ObjectRef,
    pause: Duration,
) -> (ObjectRef, kube::Result<Option<DynamicObject>>) {
    sleep(pause).await;
    let namespace = reference.namespace.as_deref().unwrap_or("default");
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource(reference.kind));
    let found = match api.get(&reference.name).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    };
    (reference, found)
}

fn reference(kind: Kind, meta: &Meta) -> ObjectRef {
    let name = meta.metadata.name.clone().unwrap_or_default();
    ObjectRef { kind, namespace: meta.metadata.namespace.clone().map(Into::into), name: name.into() }
}
