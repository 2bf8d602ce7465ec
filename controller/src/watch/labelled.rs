//! API keys: Secrets that say by a label that they are meant to be read by policies. They are followed in pages and not
//! held one by one, for there can be very many.

use std::collections::HashSet;

use futures::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use portcullis_translate::{API_KEY, CREDENTIAL_LABEL, Kind};
use tokio::sync::mpsc;

use super::{Change, read, reference, resource};
use crate::metrics::Metrics;

/// What the label's objects are called in metrics and logs.
const NAME: &str = "Secret (API keys)";

/// Follows all Secrets that carry the label, until nobody takes changes any more.
pub(crate) async fn follow_labelled(client: Client, changes: mpsc::Sender<Change>, metrics: Metrics) {
    let api: Api<DynamicObject> = Api::all_with(client, &resource(Kind::Secret));
    let config = watcher::Config::default().labels(&format!("{CREDENTIAL_LABEL}={API_KEY}"));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.insert(reference(Kind::Secret, &object));
                labelled(object)
            }
            Ok(Event::InitDone) => {
                metrics.watch_synced_of(NAME, true);
                Change::LabelledListed(std::mem::take(&mut listed))
            }
            Ok(Event::Apply(object)) => labelled(object),
            Ok(Event::Delete(object)) => Change::Unlabelled(reference(Kind::Secret, &object)),
            Err(error) => {
                metrics.watch_errors_of(NAME);
                tracing::warn!(kind = NAME, %error, "watch is broken; what is known stays, and it is tried again");
                continue;
            }
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}

fn labelled(object: DynamicObject) -> Change {
    match read(Kind::Secret, object) {
        Change::Apply(object) => Change::Labelled(object),
        other => other,
    }
}
