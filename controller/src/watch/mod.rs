//! One kind of object, followed: paged lists, then a watch, with backoff; every event becomes a [`Change`].
//!
//! ```text
//! list (pages) ─► Apply… ─► Listed ─► watch ─► Apply / Invalid / Remove … ─► (410, error: list again)
//!      └─ 404: the kind is not installed ─► Missing, and look again
//! ```

mod definitions;
mod held;
mod holder;
mod kind;
mod labelled;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::DynamicObject;
use kube::core::Status;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use portcullis_ir::{Issuer, IssuerKey, Table};
use portcullis_translate::{Definition, InvalidObject, Kind, Object, ObjectRef};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

pub(crate) use definitions::follow_definitions;
pub(crate) use held::hold;
use kind::resources;
pub(crate) use kind::{FOLLOWED, is_optional, resource};
pub(crate) use labelled::follow_labelled;

use crate::metrics::Metrics;
use crate::pause::Pause;

/// What `kubectl apply` keeps for itself; as large as the object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How long a kind that was there must be unknown to the API server before its objects count as gone. A server that is
/// starting may not know yet what it serves.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// What happened to the world.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Apply(Object),
    /// It exists and does not parse; its former self is gone.
    Invalid(ObjectRef, String),
    Remove(ObjectRef),
    /// A list is complete: what is not in it is gone.
    Listed(Kind, HashSet<ObjectRef>),
    /// The kind is not installed.
    Missing(Kind),
    /// What the definition of a kind of the Gateway API says of itself, or that there is none.
    Defined(Kind, Option<Definition>),
    /// A Secret that carries the label of API keys is there.
    Labelled(Object),
    /// It is gone, or carries the label no more.
    Unlabelled(ObjectRef),
    /// Of these the list is complete.
    LabelledListed(HashSet<ObjectRef>),
    /// The definitions may not be read, and why.
    Unreadable(Arc<str>),
    /// All that was fetched of issuers.
    Issuers(Table<IssuerKey, Issuer>),
    /// What was fetched of one; none: it is not kept any more.
    Issuer(IssuerKey, Option<Arc<Issuer>>),
}

/// Follows all objects of a kind, until nobody takes changes any more.
pub(crate) async fn follow(client: Client, kind: Kind, changes: mpsc::Sender<Change>, metrics: Metrics) {
    let resources = resources(kind);
    let mut version = 0;
    let mut pause = Pause::default();
    let mut unknown_since: Option<Instant> = None;
    let mut known = false;
    loop {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resources[version]);
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            let sent = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    Ok(())
                }
                Ok(Event::InitApply(object)) => {
                    let change = read(kind, object);
                    listed.extend(change.reference());
                    changes.send(change).await
                }
                Ok(Event::InitDone) => {
                    pause.reset();
                    (known, unknown_since) = (true, None);
                    metrics.watch_synced(kind, true);
                    changes.send(Change::Listed(kind, std::mem::take(&mut listed))).await
                }
                Ok(Event::Apply(object)) => {
                    pause.reset();
                    changes.send(read(kind, object)).await
                }
                Ok(Event::Delete(object)) => changes.send(Change::Remove(reference(kind, &object))).await,
                Err(error) if is_unknown(&error) => {
                    version = (version + 1) % resources.len();
                    if version != 0 {
                        break;
                    }
                    let since = *unknown_since.get_or_insert_with(Instant::now);
                    if known && since.elapsed() < GONE_AFTER {
                        sleep(pause.next()).await;
                        break;
                    }
                    known = false;
                    metrics.watch_synced(kind, false);
                    if changes.send(Change::Missing(kind)).await.is_err() {
                        return;
                    }
                    sleep(pause.next()).await;
                    break;
                }
                Err(error) => {
                    metrics.watch_errors(kind);
                    tracing::warn!(%kind, %error, "watch is broken; what is known stays, and it is tried again");
                    sleep(pause.next()).await;
                    Ok(())
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

impl Change {
    /// The object that changed; none if many did.
    fn reference(&self) -> Option<ObjectRef> {
        match self {
            Self::Apply(object) | Self::Labelled(object) => Some(object.reference()),
            Self::Invalid(reference, _) | Self::Remove(reference) | Self::Unlabelled(reference) => {
                Some(reference.clone())
            }
            Self::Listed(..)
            | Self::Missing(_)
            | Self::Defined(..)
            | Self::LabelledListed(_)
            | Self::Unreadable(_)
            | Self::Issuers(_)
            | Self::Issuer(..) => None,
        }
    }
}

/// An object as it came, or why it is none.
fn read(kind: Kind, mut object: DynamicObject) -> Change {
    let reference = reference(kind, &object);
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    let value = serde_json::to_value(object).map(|value| typed(kind, value));
    match value.map_err(|error| error.to_string()).and_then(|value| {
        Object::parse(value).map_err(|error| match error {
            InvalidObject::Malformed { why, .. } => why,
            other => other.to_string(),
        })
    }) {
        Ok(object) => Change::Apply(object),
        Err(why) => {
            tracing::warn!(object = %reference, why, "does not parse; it counts as invalid until it is corrected");
            Change::Invalid(reference, why)
        }
    }
}

/// Items of lists carry no type.
fn typed(kind: Kind, mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.insert("apiVersion".to_owned(), kind.api_version().into());
        fields.insert("kind".to_owned(), kind.as_str().into());
    }
    value
}

fn reference(kind: Kind, object: &DynamicObject) -> ObjectRef {
    let name = object.metadata.name.clone().unwrap_or_default();
    let namespace = object.metadata.namespace.clone().filter(|_| kind.is_namespaced());
    ObjectRef { kind, namespace: namespace.map(Into::into), name: name.into() }
}

/// Whether the API server does not serve the kind.
fn is_unknown(error: &watcher::Error) -> bool {
    status_of(error).is_some_and(|status| status.code == 404)
}

/// The API server's own answer, if it was that.
fn status_of(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_item_of_a_list_is_read_without_what_nobody_needs() {
        let metadata = json!({ "name": "n", "namespace": "ns", "annotations": { LAST_APPLIED: "{}", "mine": "1" },
            "managedFields": [{ "manager": "kubectl" }] });
        let change = read(Kind::Service, object(json!({ "metadata": metadata, "spec": { "clusterIP": "10.0.0.1" } })));
        let Change::Apply(Object::Service(service)) = change else { panic!("{change:?}") };
        assert_eq!(service.metadata.annotations.as_ref().unwrap().keys().collect::<Vec<_>>(), ["mine"]);
        assert_eq!(service.metadata.managed_fields, None);
    }

    #[test]
    fn what_does_not_parse_is_invalid_by_its_name() {
        let bad = json!({ "metadata": { "name": "n", "namespace": "ns" }, "spec": { "rules": "none" } });
        let change = read(Kind::HttpRoute, object(bad));
        let Change::Invalid(reference, why) = change else { panic!("{change:?}") };
        assert_eq!(reference.to_string(), "HTTPRoute ns/n");
        assert!(why.contains("rules") || why.contains("invalid type"), "{why}");
    }
}
