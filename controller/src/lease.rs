//! Who may write: the holder of one Lease. Taken when it is free or has not been renewed for its duration, renewed while
//! held, released at the end. Losing it ends the process: whoever wrote a moment ago must not go on beside another.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

#[derive(Clone, Debug)]
pub(crate) struct LeaseSettings {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Who we are: unique among the replicas, and where they reach us.
    pub(crate) identity: String,
    /// How long a holder that says nothing is believed. At least twice `renew`.
    pub(crate) duration: Duration,
    pub(crate) renew: Duration,
}

/// What is known of the lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    pub is_leader: bool,
    /// The identity of the holder, as far as it is known.
    pub holder: Option<String>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Released,
    Lost,
}

/// Runs for the lease until `shutdown` says so, or until it is lost.
pub(crate) async fn run(
    client: Client,
    settings: LeaseSettings,
    leadership: watch::Sender<Leadership>,
    mut shutdown: watch::Receiver<bool>,
) -> End {
    let api: Api<Lease> = Api::namespaced(client, &settings.namespace);
    let mut runner = Runner { api, settings, seen: None };
    // While we hold it: when it was renewed last.
    let mut renewed: Option<Instant> = None;
    loop {
        let tried = Instant::now();
        let attempt = timeout(runner.settings.renew, runner.attempt()).await;
        match attempt {
            Ok(Ok(holder)) => {
                let is_leader = holder.as_deref() == Some(&*runner.settings.identity);
                if !is_leader && renewed.is_some() {
                    tracing::error!(holder = holder.as_deref(), "another replica holds the lease; ending");
                    leadership.send_replace(Leadership { is_leader: false, holder });
                    return End::Lost;
                }
                renewed = is_leader.then_some(tried);
                announce(&leadership, Leadership { is_leader, holder });
            }
            Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be read or written; it is tried again"),
            Err(_) => tracing::warn!("the API server does not answer about the lease; it is tried again"),
        }
        // Another replica may take it at `duration` after our last renewal as it saw it; we must have stopped before.
        let deadline = runner.settings.duration.saturating_sub(runner.settings.renew / 2);
        if renewed.is_some_and(|renewed| renewed.elapsed() >= deadline) {
            tracing::error!("the lease could not be renewed in time; ending");
            leadership.send_replace(Leadership::default());
            return End::Lost;
        }
        // A holder that fails tries again sooner.
        let fails = renewed.is_some_and(|renewed| renewed < tried);
        let pause = if fails { runner.settings.renew / 4 } else { runner.settings.renew };
        tokio::select! {
            () = sleep(pause) => {}
            () = stopped(&mut shutdown) => {
                leadership.send_replace(Leadership::default());
                if renewed.is_some() {
                    let _ = timeout(runner.settings.renew, runner.release()).await;
                }
                return End::Released;
            }
        }
    }
}

/// Works for the holder alone: from when this replica holds the lease, and not for a moment after it does no more. What is
/// under way then is dropped where it stands.
pub(crate) async fn while_leading(mut leadership: watch::Receiver<Leadership>, work: impl Future<Output = ()>) {
    if leadership.wait_for(|leadership| leadership.is_leader).await.is_err() {
        return;
    }
    tokio::select! {
        biased;
        _ = leadership.wait_for(|leadership| !leadership.is_leader) => {}
        () = work => {}
    }
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that nobody can ask any more, which ends it as well.
    let _ = shutdown.wait_for(|shutdown| *shutdown).await;
}

fn announce(leadership: &watch::Sender<Leadership>, now: Leadership) {
    leadership.send_if_modified(|before| {
        if *before == now {
            return false;
        }
        tracing::info!(is_leader = now.is_leader, holder = now.holder.as_deref(), "lease");
        *before = now;
        true
    });
}

struct Runner {
    api: Api<Lease>,
    settings: LeaseSettings,
    /// The version of another's lease, and since when it has not changed: clocks of machines are not compared.
    seen: Option<(String, Instant)>,
}

impl Runner {
    /// Takes or renews the lease if that is allowed; returns its holder.
    async fn attempt(&mut self) -> kube::Result<Option<String>> {
        let Some(lease) = self.api.get_opt(&self.settings.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return match self.api.create(&PostParams::default(), &lease).await {
                Ok(lease) => Ok(holder(&lease)),
                Err(error) if is_conflict(&error) => Ok(None),
                Err(error) => Err(error),
            };
        };
        let current = holder(&lease);
        let is_ours = current.as_deref() == Some(&*self.settings.identity);
        if !is_ours && current.is_some() && !self.is_expired(&lease) {
            return Ok(current);
        }
        let next = Lease { spec: Some(self.spec(lease.spec.as_ref())), metadata: lease.metadata };
        // Bound to the version that was read: of two who want it, one gets it.
        match self.api.replace(&self.settings.name, &PostParams::default(), &next).await {
            Ok(lease) => Ok(holder(&lease)),
            Err(error) if is_conflict(&error) => {
                Ok(self.api.get_opt(&self.settings.name).await?.as_ref().and_then(holder))
            }
            Err(error) => Err(error),
        }
    }

    fn spec(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let old_holder = old.and_then(|old| old.holder_identity.as_deref());
        let same = old_holder == Some(&*self.settings.identity);
        let transitions = old.and_then(|old| old.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.settings.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.settings.duration.as_secs()).unwrap_or(i32::MAX).max(1)),
            acquire_time: old.filter(|_| same).and_then(|old| old.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if same || old.is_none() { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }

    fn is_expired(&mut self, lease: &Lease) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let declared = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let declared = declared.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed() >= declared.unwrap_or(self.settings.duration),
            _ => {
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }

    /// Leaves it to the next one without a wait.
    async fn release(&self) -> kube::Result<()> {
        let Some(mut lease) = self.api.get_opt(&self.settings.name).await? else { return Ok(()) };
        if holder(&lease).as_deref() != Some(&*self.settings.identity) {
            return Ok(());
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        self.api.replace(&self.settings.name, &PostParams::default(), &lease).await?;
        tracing::info!("lease released");
        Ok(())
    }
}

fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty())
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn work_begins_with_the_lease_and_ends_with_it() {
        let (leadership, watched) = watch::channel(Leadership::default());
        let steps = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&steps);
        let working = tokio::spawn(while_leading(watched, async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        }));
        yield_now().await;
        assert_eq!(steps.load(Ordering::Relaxed), 0, "the lease is another's");
        leadership.send_replace(Leadership { is_leader: true, holder: None });
        while steps.load(Ordering::Relaxed) == 0 {
            yield_now().await;
        }
        leadership.send_replace(Leadership::default());
        working.await.unwrap_or_else(|error| panic!("{error}"));
    }
}
