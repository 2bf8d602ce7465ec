//! The definitions of the Gateway API: of each its annotations alone, which say its release and its channel.
//!
//! One watch for each name, so that the right to read them can be limited to them.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream::select_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use portcullis_translate::{Definition, GATEWAY_API, Kind};
use tokio::sync::mpsc;

use super::kind::definition_name;
use super::{Change, status_of};
use crate::metrics::Metrics;

/// What metrics call the kind, which is none of those that are translated.
const KIND: &str = "CustomResourceDefinition";

type Meta = PartialObjectMeta<CustomResourceDefinition>;

/// Follows each definition, until nobody takes changes any more.
pub(crate) async fn follow_definitions(client: Client, changes: mpsc::Sender<Change>, metrics: Metrics) {
    let api: Api<Meta> = Api::all(client);
    let streams = GATEWAY_API.map(|kind| {
        let one = watcher::Config::default().fields(&format!("metadata.name={}", definition_name(kind)));
        watcher(api.clone(), one).default_backoff().map(move |event| (kind, event)).boxed()
    });
    let mut events = select_all(streams);
    // Of lists that are not complete yet.
    let mut listed: BTreeMap<Kind, Definition> = BTreeMap::new();
    while let Some((kind, event)) = events.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listed.remove(&kind);
                continue;
            }
            Ok(Event::InitApply(meta)) => {
                listed.insert(kind, read(&meta));
                continue;
            }
            Ok(Event::InitDone) => {
                metrics.watch_synced_of(KIND, true);
                Change::Defined(kind, listed.remove(&kind))
            }
            Ok(Event::Apply(meta)) => Change::Defined(kind, Some(read(&meta))),
            Ok(Event::Delete(_)) => Change::Defined(kind, None),
            Err(error) => {
                metrics.watch_errors_of(KIND);
                tracing::warn!(definition = definition_name(kind), %error, "watch is broken; what is known stays, and it is tried again");
                // Whoever may not read them is not held up for it. Anything else passes.
                match status_of(&error) {
                    Some(status) if status.code == 403 => Change::Unreadable(status.message.as_str().into()),
                    _ => continue,
                }
            }
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}

fn read(meta: &Meta) -> Definition {
    Definition::of(meta.metadata.annotations.as_ref())
}
