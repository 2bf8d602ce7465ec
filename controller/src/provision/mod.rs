//! Makes the objects that Gateways need, keeps them so, and takes away what is no longer needed.
//!
//! Server-side apply, and only when what is desired has changed or what is there is no longer what was applied. What is
//! not ours is never written: ours is what carries our label and belongs to the Gateway by owner reference. What a
//! deleted Gateway leaves is Kubernetes' own to collect; [`collect`] takes the rest.

mod apply;
mod backoff;
mod collect;
mod error;
mod live;
mod ports;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use portcullis_ir::GatewayKey;
use portcullis_provision::{Desired, Object};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::metrics::Metrics;
use backoff::Backoff;
pub(crate) use error::ProvisionError;
use live::{Listing, ObjectKey, Stamp};

/// Gateways that are worked on at once.
const AT_ONCE: usize = 8;
/// What is there is listed no more often than this, however often something changes.
const BETWEEN_LISTS: Duration = Duration::from_millis(500);

/// Works for the lease holder alone.
pub(crate) struct Provisioner {
    client: Client,
    controller_name: String,
    metrics: Metrics,
    memory: Mutex<Memory>,
}

/// What was done so far; losing it costs one apply for each object, which then changes nothing.
#[derive(Debug, Default)]
struct Memory {
    applied: HashMap<ObjectKey, Applied>,
    failed: HashMap<GatewayKey, Backoff>,
    listed: Option<Instant>,
}

/// One object as it was when it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Applied {
    digest: u64,
    stamp: Stamp,
}

/// What came of one Gateway.
struct Outcome<'a> {
    gateway: &'a GatewayKey,
    applied: Vec<(ObjectKey, Applied)>,
    result: Result<(), ProvisionError>,
}

impl Provisioner {
    pub(crate) fn new(client: Client, controller_name: &str, metrics: Metrics) -> Self {
        let controller_name = controller_name.to_owned();
        Self { client, controller_name, metrics, memory: Mutex::default() }
    }

    /// Makes the cluster hold `wanted`. Gateways in `held` keep what they have. Of all others, those that have moved to
    /// another controller lose it. The answer names the Gateways that do not have what they should; they are tried
    /// again by later calls, ever less often unless something about them changes.
    pub(crate) async fn reconcile(
        &self,
        wanted: &BTreeMap<GatewayKey, Desired>,
        held: &BTreeSet<GatewayKey>,
    ) -> Vec<(GatewayKey, ProvisionError)> {
        let mut memory = self.memory.lock().await;
        if let Some(listed) = memory.listed {
            tokio::time::sleep_until(listed + BETWEEN_LISTS).await;
        }
        let listing = Listing::fetch(&self.client, &self.controller_name).await;
        memory.listed = Some(Instant::now());
        memory.failed.retain(|gateway, _| wanted.contains_key(gateway));

        let now = Instant::now();
        let digests: HashMap<&GatewayKey, u64> =
            wanted.iter().map(|(key, desired)| (key, digest_all(desired))).collect();
        let due =
            wanted.iter().filter(|(key, _)| memory.failed.get(*key).is_none_or(|one| one.is_due(digests[key], now)));
        let work: Vec<_> = due.map(|(key, desired)| self.provide(key, desired, &memory.applied, &listing)).collect();
        let outcomes: Vec<Outcome<'_>> = futures::stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
        for Outcome { gateway, applied, result } in outcomes {
            memory.applied.extend(applied);
            match result {
                Ok(()) => drop(memory.failed.remove(gateway)),
                Err(error) => {
                    let digest = digests[gateway];
                    memory.failed.entry(gateway.clone()).or_default().failed(digest, error, Instant::now());
                }
            }
        }
        let healthy = |key: &GatewayKey| !memory.failed.contains_key(key);
        let gone = self.collect(&listing, wanted, held, healthy).await;
        for key in &gone {
            memory.applied.remove(key);
        }
        // Gateways that are gone are forgotten with them.
        memory.applied.retain(|key, _| {
            listing.objects.contains_key(key)
                || wanted.get(&key.gateway).is_some_and(|desired| desired.objects.iter().any(|one| key.is(one)))
        });
        memory.failed.iter().filter_map(|(key, one)| Some((key.clone(), one.error()?))).collect()
    }

    /// Applies what has to be; the first failure ends it, as later objects need the earlier ones.
    async fn provide<'a>(
        &self,
        gateway: &'a GatewayKey,
        desired: &Desired,
        applied: &HashMap<ObjectKey, Applied>,
        listing: &Listing,
    ) -> Outcome<'a> {
        let mut done = Vec::new();
        for object in &desired.objects {
            let key = ObjectKey::of(gateway, object);
            let digest = digest(object);
            let live = listing.objects.get(&key);
            let stands = match (live, applied.get(&key)) {
                (Some(live), Some(before)) => {
                    before.digest == digest && before.stamp == live.stamp && live.carries(object.metadata())
                }
                // Not listed for want of an answer: as far as is known, it stands.
                (None, Some(before)) => before.digest == digest && !listing.complete.contains(&key.kind),
                _ => false,
            };
            if stands {
                continue;
            }
            let result = self.apply(&desired.owner, object, live).await;
            self.metrics.provisioned(key.kind.as_str(), result.is_ok());
            match result {
                Ok(stamp) => {
                    tracing::info!(%gateway, object = %key, "applied");
                    done.push((key, Applied { digest, stamp }));
                }
                Err(error) => return Outcome { gateway, applied: done, result: Err(error) },
            }
        }
        Outcome { gateway, applied: done, result: Ok(()) }
    }
}

impl fmt::Debug for Provisioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client: _, controller_name, metrics: _, memory: _ } = self;
        f.debug_struct("Provisioner").field("controller_name", controller_name).finish_non_exhaustive()
    }
}

fn digest_all(desired: &Desired) -> u64 {
    let mut hasher = DefaultHasher::new();
    desired.owner.uid.hash(&mut hasher);
    desired.objects.iter().map(digest).for_each(|digest| digest.hash(&mut hasher));
    hasher.finish()
}

fn digest(object: &Object) -> u64 {
    let mut hasher = DefaultHasher::new();
    // An object that cannot be written fails when it is applied.
    object.to_value().map(|value| value.to_string()).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
