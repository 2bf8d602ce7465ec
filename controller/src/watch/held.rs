//! Secrets and ConfigMaps: of all of them only names and versions pass by; those that are referred to are fetched, and
//! only they are held.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use portcullis_translate::{Kind, ObjectRef};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::{Change, is_not_found, read, resource};
use crate::metrics::Metrics;
use crate::pause::Pause;

/// Fetches at once.
const FETCHES: usize = 16;

type Meta = PartialObjectMeta<DynamicObject>;

/// Holds what of a kind is referred to. Each object that is wanted is answered once by [`Change::Apply`],
/// [`Change::Invalid`] or [`Change::Remove`], and again whenever it changes.
pub(crate) async fn hold(
    client: Client,
    kind: Kind,
    mut wanted: watch::Receiver<Arc<BTreeSet<ObjectRef>>>,
    changes: mpsc::Sender<Change>,
    metrics: Metrics,
) {
    let api: Api<Meta> = Api::all_with(client.clone(), &resource(kind));
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
    let mut holder =
        Holder { client, kind, wanted: BTreeSet::new(), versions: BTreeMap::new(), stale: BTreeSet::new() };
    let mut fetches = FuturesUnordered::new();
    let mut pause = Pause::default();
    let mut listed: HashSet<ObjectRef> = HashSet::new();
    loop {
        while fetches.len() < FETCHES
            && let Some(reference) = holder.stale.pop_first()
        {
            fetches.push(fetch(holder.client.clone(), reference));
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
                    holder.seen(&meta);
                }
                Some(Ok(Event::InitDone)) => {
                    pause.reset();
                    metrics.watch_synced(kind, true);
                    outcome = holder.only(&listed);
                    listed.clear();
                }
                Some(Ok(Event::Apply(meta))) => holder.seen(&meta),
                Some(Ok(Event::Delete(meta))) => outcome.extend(holder.gone(reference(kind, &meta))),
                Some(Err(error)) => {
                    metrics.watch_errors(kind);
                    tracing::warn!(%kind, %error, "watch is broken; what is known stays, and it is tried again");
                    sleep(pause.next()).await;
                }
                None => return,
            },
            Some((reference, fetched)) = fetches.next(), if !fetches.is_empty() => match fetched {
                Ok(change) => {
                    pause.reset();
                    outcome.extend(holder.fetched(&reference, change));
                }
                Err(error) => {
                    metrics.watch_errors(kind);
                    tracing::warn!(object = %reference, %error, "cannot be fetched; it is tried again");
                    sleep(pause.next()).await;
                    holder.stale.insert(reference);
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

struct Holder {
    client: Client,
    kind: Kind,
    wanted: BTreeSet<ObjectRef>,
    /// Of what is held: the version that was fetched.
    versions: BTreeMap<ObjectRef, Option<String>>,
    /// Wanted, and not fetched since it changed.
    stale: BTreeSet<ObjectRef>,
}

impl Holder {
    fn want(&mut self, all: &BTreeSet<ObjectRef>) -> Vec<Change> {
        let now: BTreeSet<ObjectRef> = all.iter().filter(|one| one.kind == self.kind).cloned().collect();
        self.stale.extend(now.difference(&self.wanted).cloned());
        let dropped: Vec<ObjectRef> = self.wanted.difference(&now).cloned().collect();
        self.wanted = now;
        dropped.into_iter().filter_map(|reference| self.gone(reference)).collect()
    }

    fn seen(&mut self, meta: &Meta) {
        let reference = reference(self.kind, meta);
        let known = self.versions.get(&reference).and_then(Option::as_ref);
        if self.wanted.contains(&reference) && (known.is_none() || known != meta.metadata.resource_version.as_ref()) {
            self.stale.insert(reference);
        }
    }

    /// Takes an object away; nothing to tell of one that is not held.
    fn gone(&mut self, reference: ObjectRef) -> Option<Change> {
        self.stale.remove(&reference);
        self.versions.remove(&reference).map(|_| Change::Remove(reference))
    }

    fn only(&mut self, listed: &HashSet<ObjectRef>) -> Vec<Change> {
        let gone: Vec<ObjectRef> = self.versions.keys().filter(|one| !listed.contains(one)).cloned().collect();
        gone.into_iter().filter_map(|reference| self.gone(reference)).collect()
    }

    /// The answer to a fetch: kept if it is still wanted.
    fn fetched(&mut self, reference: &ObjectRef, found: Option<DynamicObject>) -> Option<Change> {
        if !self.wanted.contains(reference) {
            return None;
        }
        match found {
            None => {
                self.versions.remove(reference);
                Some(Change::Remove(reference.clone()))
            }
            Some(object) => {
                self.versions.insert(reference.clone(), object.metadata.resource_version.clone());
                Some(read(self.kind, object))
            }
        }
    }
}

async fn fetch(client: Client, reference: ObjectRef) -> (ObjectRef, kube::Result<Option<DynamicObject>>) {
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
