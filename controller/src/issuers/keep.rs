//! The lease holder's part: fetch, and write what came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use portcullis_ir::IssuerKey;
use portcullis_issuers::{Fetcher, Handle, Stats};
use portcullis_publish::Publisher;
use portcullis_translate::IssuerSource;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Place;
use super::object::{Kept, MAX_KEYS};
use crate::lease::{Leadership, while_leading};
use crate::metrics::Metrics;
use crate::pause::Pause;

/// What is to be fetched; none before the reconciler's first pass.
pub(crate) type Sources = Option<Arc<BTreeMap<IssuerKey, IssuerSource>>>;

const FIELD_MANAGER: &str = "portcullis-issuers";
/// How often what was written is compared with what is there, although nothing changed.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(10);
/// Keys that did not change are written again when what is written has this share of the age that it may have: whoever
/// leads next knows how old they are from there.
const RENEW: u32 = 4;

pub(crate) struct Keeper {
    pub(crate) client: Client,
    pub(crate) place: Place,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) sources: watch::Receiver<Sources>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) metrics: Metrics,
    /// The counters of the fetcher, once there is one.
    pub(crate) stats: watch::Sender<Option<Arc<Stats>>>,
}

/// What is there, by name.
type Written = BTreeMap<String, Option<Kept>>;

impl Keeper {
    pub(crate) async fn run(self) {
        while_leading(self.leadership.clone(), self.work()).await;
    }

    async fn work(mut self) {
        // Before the first pass nothing is known to be wanted, and nothing may be taken away.
        if self.sources.wait_for(Option::is_some).await.is_err() {
            return;
        }
        let mut pause = Pause::default();
        let mut written = loop {
            match self.list().await {
                Ok(written) => break written,
                Err(error) => {
                    tracing::warn!(error, "the keys of issuers cannot be listed; it is tried again");
                    sleep(pause.next()).await;
                }
            }
        };
        let now = SystemTime::now();
        let seed = |kept: &Kept| {
            let age = now.duration_since(kept.fetched).unwrap_or_default();
            (kept.issuer.key.clone(), (Arc::clone(&kept.issuer), age))
        };
        let (fetcher, handle) = Fetcher::new(written.values().flatten().map(seed).collect());
        self.stats.send_replace(Some(handle.stats()));
        tokio::join!(fetcher.run(), self.keep(handle, &mut written));
    }

    async fn keep(&mut self, handle: Handle, written: &mut Written) {
        let mut found = handle.found();
        let mut wanted = self.publisher.wanted();
        wanted.mark_changed();
        let mut pause = Pause::default();
        loop {
            let sources = self.sources.borrow_and_update().clone().unwrap_or_default();
            handle.set_sources(&sources);
            found.borrow_and_update();
            let wait = match self.write(&handle, &sources, written).await {
                Ok(()) => {
                    pause.reset();
                    LOOK_AGAIN
                }
                Err(error) => {
                    tracing::warn!(error, "the keys of an issuer cannot be written; it is tried again");
                    pause.next()
                }
            };
            let looked = sleep(wait);
            tokio::pin!(looked);
            loop {
                tokio::select! {
                    changed = self.sources.changed() => if changed.is_err() { return } else { break },
                    changed = found.changed() => if changed.is_err() { return } else { break },
                    changed = wanted.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        for key in self.publisher.take_wanted() {
                            handle.wanting().want(key);
                        }
                    }
                    () = &mut looked => {
                        match self.list().await {
                            Ok(now) => *written = now,
                            Err(error) => tracing::warn!(error, "the keys of issuers cannot be listed"),
                        }
                        break;
                    }
                }
            }
        }
    }

    /// What is there becomes what was found, and no more. The first error is told after everything was tried.
    async fn write(
        &self,
        handle: &Handle,
        sources: &BTreeMap<IssuerKey, IssuerSource>,
        written: &mut Written,
    ) -> Result<(), String> {
        let mut failed = None;
        let found = handle.found().borrow().clone();
        for (key, one) in found.iter() {
            let Some(source) = sources.get(key) else { continue };
            let kept = Kept { issuer: Arc::clone(&one.issuer), fetched: handle.moment(one) };
            let name = self.place.name(key);
            if written.get(&name).and_then(Option::as_ref).is_some_and(|there| is_enough(there, &kept, source)) {
                continue;
            }
            if one.issuer.keys.as_ref().is_some_and(|keys| keys.len() > MAX_KEYS) {
                tracing::error!(issuer = %key, "its keys are too many for a ConfigMap; its tokens cannot be judged");
            }
            match self.apply(&name, &kept).await {
                Ok(()) => drop(written.insert(name, Some(kept))),
                Err(error) => failed = Some(error),
            }
        }
        let names: BTreeSet<String> = sources.keys().map(|key| self.place.name(key)).collect();
        let gone: Vec<String> = written.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            match self.delete(&name).await {
                Ok(()) => drop(written.remove(&name)),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.place.namespace)
    }

    async fn list(&self) -> Result<Written, String> {
        let params = ListParams::default().labels(&self.place.selector());
        let listed = answered(self.api().list(&params)).await?;
        let named = |object: ConfigMap| Some((object.metadata.name.clone()?, self.place.read(&object)));
        Ok(listed.items.into_iter().filter_map(named).collect())
    }

    async fn apply(&self, name: &str, kept: &Kept) -> Result<(), String> {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let object = self.place.write(kept);
        let applied = answered(self.api().patch(name, &params, &Patch::Apply(&object))).await;
        self.metrics.provisioned("ConfigMap", applied.is_ok());
        applied.map(drop)
    }

    async fn delete(&self, name: &str) -> Result<(), String> {
        // Exactly what is ours now: a label may have been taken off meanwhile.
        let Some(there) = answered(self.api().get_opt(name)).await? else { return Ok(()) };
        let labels = there.metadata.labels.unwrap_or_default();
        if !self.place.is_ours(&labels) {
            return Ok(());
        }
        let exactly = Preconditions { uid: there.metadata.uid, resource_version: there.metadata.resource_version };
        let deleted = answered(self.api().delete(name, &DeleteParams::default().preconditions(exactly))).await;
        self.metrics.provisioned("ConfigMap", deleted.is_ok());
        deleted.map(drop)
    }
}

/// Whether what is written says enough of what was found.
fn is_enough(there: &Kept, found: &Kept, source: &IssuerSource) -> bool {
    let older = found.fetched.duration_since(there.fetched).unwrap_or_default();
    there.issuer == found.issuer && older < source.max_stale / RENEW
}

async fn answered<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match timeout(PATIENCE, call).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("the API server does not answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_ir::Issuer;
    use portcullis_translate::IssuerLocation;

    use super::*;

    #[test]
    fn keys_are_written_when_they_change_and_seldom_otherwise() {
        let source = IssuerSource::new(IssuerLocation::Keys("https://a.example".into()), Vec::new());
        let kept = |keys: &str, seconds: u64| Kept {
            issuer: Arc::new(Issuer { key: source.key.clone(), keys: Some(keys.into()), discovery: None }),
            fetched: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        };
        let hours = |hours: u64| hours * 3600;
        assert!(is_enough(&kept("one", 0), &kept("one", hours(5)), &source));
        assert!(!is_enough(&kept("one", 0), &kept("one", hours(6)), &source), "a quarter of a day");
        assert!(!is_enough(&kept("one", 0), &kept("two", 1), &source));
    }
}
