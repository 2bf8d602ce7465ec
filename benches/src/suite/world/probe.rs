//! gateway-api-bench's "probe": routes one at a time, each asked for from the moment it is applied until it answers 200, and an independent
//! watcher that stamps the API server's own event of the same object.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::TryStreamExt;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, WatchEvent, WatchParams};
use tokio::task::JoinHandle;

use super::{World, objects};
use crate::load::sequential::{Connection, until};
use crate::stats::{greatest, mean, percentile};

const PATIENCE: Duration = Duration::from_secs(60);
/// Routes at each end whose means are set against each other.
const END: usize = 100;

/// What probing found. Times are in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Probed {
    /// From before apply to the first 200.
    pub(crate) total: Vec<f64>,
    /// The same, less what the API server took until any watcher had the event.
    pub(crate) own: Vec<f64>,
    /// Answers that were neither 404 nor, after it, 200.
    pub(crate) wrong: u64,
}

impl Probed {
    pub(crate) fn mean(&self) -> Option<f64> {
        mean(&self.own)
    }

    pub(crate) fn p99(&self) -> Option<f64> {
        percentile(&self.own, 0.99)
    }

    /// The last hundred beside the first; of fewer routes than two hundred nothing can be said.
    pub(crate) fn slope(&self) -> Option<f64> {
        let count = self.own.len();
        let last = self.own.get(count.checked_sub(END)?..)?;
        (count >= 2 * END).then(|| Some(mean(last)? / mean(&self.own[..END])?))?
    }

    /// As [`Self::slope`], of medians: what grows with the table is in these too, and a pause of the machine is not.
    pub(crate) fn steady_slope(&self) -> Option<f64> {
        let last = self.own.get(self.own.len().checked_sub(END)?..)?;
        let first = self.own.get(..END)?;
        Some(percentile(last, 0.5)? / percentile(first, 0.5)?)
    }

    pub(crate) fn describe(&self) -> String {
        let total = |share| percentile(&self.total, share).unwrap_or_default();
        format!(
            "apply to 200: mean {:.1}, p50 {:.1}, p99 {:.1} ms; without the API server: p50 {:.2}, longest {:.1} ms",
            mean(&self.total).unwrap_or_default(),
            total(0.5),
            total(0.99),
            percentile(&self.own, 0.5).unwrap_or_default(),
            greatest(&self.own)
        )
    }
}

/// Stamps events as they come.
pub(crate) struct Watcher {
    stamps: Arc<Mutex<HashMap<String, Instant>>>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Of all objects of one kind in a namespace: the last event of each, by name.
    pub(crate) async fn start(world: &World, namespace: &str, kind: &str) -> anyhow::Result<Self> {
        let api = world.api(Some(namespace), &objects::resource(kind)?);
        let version = api.list(&Default::default()).await?.metadata.resource_version.context("a list has a version")?;
        let stamps = Arc::new(Mutex::new(HashMap::new()));
        let kept = Arc::clone(&stamps);
        let task = tokio::spawn(async move { follow(api, version, &kept).await });
        Ok(Self { stamps, task })
    }

    /// Forgets an object, to hear of its next event.
    pub(crate) fn forget(&self, name: &str) {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// When the event came.
    pub(crate) async fn seen(&self, name: &str) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.stamps.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
                return Ok(*at);
            }
            anyhow::ensure!(Instant::now() < deadline, "the API server tells nobody of {name}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A watch ends after some minutes; the next one goes on where it stopped. Of an object's events the first counts until it is forgotten:
/// what comes later is the status.
async fn follow(api: Api<DynamicObject>, mut version: String, stamps: &Mutex<HashMap<String, Instant>>) {
    loop {
        let Ok(events) = api.watch(&WatchParams::default(), &version).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = events.try_next().await {
            let at = Instant::now();
            let object = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => object,
                WatchEvent::Deleted(object) => {
                    version = object.resource_version().unwrap_or(version);
                    continue;
                }
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(_) => break,
            };
            version = object.resource_version().unwrap_or(version);
            stamps.lock().unwrap_or_else(PoisonError::into_inner).entry(object.name_any()).or_insert(at);
        }
    }
}

/// Adds `count` routes named `prefix-N` to a Service, one at a time.
pub(crate) async fn probe(
    world: &World,
    listen: SocketAddr,
    namespace: &str,
    service: &str,
    prefix: &str,
    count: usize,
) -> anyhow::Result<Probed> {
    let watcher = Watcher::start(world, namespace, "HTTPRoute").await?;
    let mut probed = Probed::default();
    let mut connection = Connection::new(listen);
    for number in 0..count {
        let name = format!("{prefix}-{number}");
        let request = objects::request(&name);
        let began = Instant::now();
        // From before apply on, on a thread of its own: an answer may come before the API server's.
        let asking = tokio::task::spawn_blocking(move || {
            let found = until(&mut connection, &request, began, PATIENCE, |answer| answer.status == 200);
            (connection, found)
        });
        let created = world.create(objects::route(namespace, &name, service)).await;
        let (back, found) = asking.await?;
        connection = back;
        created?;
        let (took, wrong) = found.with_context(|| format!("route {name} is not served"))?;
        let event = watcher.seen(&name).await?;
        let own = (began + took).saturating_duration_since(event);
        probed.total.push(milliseconds(took));
        probed.own.push(milliseconds(own));
        probed.wrong += wrong;
        if (number + 1) % 500 == 0 {
            super::super::say(&format!("{} of {count} routes", number + 1));
        }
    }
    Ok(probed)
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_sets_the_last_hundred_against_the_first() {
        let mut probed = Probed { own: vec![2.0; 150], ..Probed::default() };
        assert_eq!(probed.slope(), None);
        probed.own.extend(vec![3.0; 150]);
        assert_eq!(probed.slope(), Some(1.5));
    }
}
