//! Writes statuses: one task, on the lease holder only, each object by itself, only what differs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use portcullis_translate::{Kind, ObjectRef};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::merge::{Write, Writes};
use super::pace::Paces;
use crate::lease::Leadership;
use crate::metrics::{Metrics, Outcome};
use crate::pause::Pause;
use crate::watch::resource;

/// Writes at once.
const CONCURRENT: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Writer {
    client: Client,
    leadership: watch::Receiver<Leadership>,
    wanted: watch::Receiver<Arc<Writes>>,
    metrics: Metrics,
    /// The newest attempt for each object that is still wanted: nothing is gained by the same one again, the watch will
    /// tell how the object is now.
    attempted: HashMap<ObjectRef, Arc<Write>>,
    under_way: HashSet<ObjectRef>,
    paces: Paces,
    /// After an error: not before.
    pauses: HashMap<ObjectRef, (Pause, Instant)>,
}

impl Writer {
    pub(crate) fn new(
        client: Client,
        leadership: watch::Receiver<Leadership>,
        wanted: watch::Receiver<Arc<Writes>>,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            leadership,
            wanted,
            metrics,
            attempted: HashMap::new(),
            under_way: HashSet::new(),
            paces: Paces::default(),
            pauses: HashMap::new(),
        }
    }

    /// Writes until nobody wants anything any more.
    pub(crate) async fn run(mut self) {
        let mut writes = FuturesUnordered::new();
        let mut wanted = Arc::new(Writes::new());
        let mut queue = Queue::default();
        loop {
            let now = Instant::now();
            if !self.leadership.borrow_and_update().is_leader {
                queue = Queue::default();
            } else if queue.is_stale(now) {
                wanted = Arc::clone(&self.wanted.borrow_and_update());
                self.forget(&wanted);
                queue = self.due(&wanted, now);
            }
            while writes.len() < CONCURRENT
                && let Some((reference, write)) = queue.due.pop_front()
            {
                self.under_way.insert(reference.clone());
                self.paces.wrote(&reference, now);
                writes.push(send(self.client.clone(), reference, write));
            }
            let wake = queue.wake;
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { return } else { queue.stale = true },
                changed = self.leadership.changed() => if changed.is_err() { return } else { queue.stale = true },
                Some((reference, write, result)) = writes.next(), if !writes.is_empty() => {
                    self.done(reference.clone(), write, &result);
                    // What was wanted meanwhile, or has failed.
                    if let Some(write) = wanted.get(&reference) {
                        self.consider(&reference, write, Instant::now(), &mut queue);
                    }
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// What may be written now, and when to look again for the rest.
    fn due(&self, wanted: &Writes, now: Instant) -> Queue {
        let mut queue = Queue { stale: false, ..Queue::default() };
        wanted.iter().for_each(|(reference, write)| self.consider(reference, write, now, &mut queue));
        queue
    }

    fn consider(&self, reference: &ObjectRef, write: &Arc<Write>, now: Instant, queue: &mut Queue) {
        if self.under_way.contains(reference) || self.attempted.get(reference) == Some(write) {
            return;
        }
        let paused = self.pauses.get(reference).map(|(_, until)| *until).filter(|until| *until > now);
        match paused.max(self.paces.not_before(reference, now)) {
            Some(next) => queue.wake = Some(queue.wake.map_or(next, |wake| wake.min(next))),
            None => queue.due.push_back((reference.clone(), Arc::clone(write))),
        }
    }

    fn done(&mut self, reference: ObjectRef, write: Arc<Write>, result: &Result<(), Refused>) {
        self.under_way.remove(&reference);
        let outcome = match result {
            Ok(()) => Outcome::Written,
            // Somebody was faster: the watch brings the newer version, and with it the next attempt.
            Err(Refused::Conflict) => Outcome::Conflict,
            Err(Refused::Gone) => Outcome::Gone,
            Err(Refused::Failed(error)) => {
                tracing::warn!(object = %reference, error, "status cannot be written; it is tried again");
                let (pause, until) = self.pauses.entry(reference.clone()).or_insert((Pause::default(), Instant::now()));
                *until = Instant::now() + pause.next();
                self.metrics.status_write(reference.kind, Outcome::Failed);
                return;
            }
        };
        self.metrics.status_write(reference.kind, outcome);
        self.pauses.remove(&reference);
        self.attempted.insert(reference, write);
    }

    fn forget(&mut self, wanted: &Writes) {
        self.attempted.retain(|reference, _| wanted.contains_key(reference));
        self.pauses.retain(|reference, _| wanted.contains_key(reference));
    }
}

/// What is due. Made once for what is wanted, and then used up: of thousands not each is looked at again after every write.
struct Queue {
    due: VecDeque<(ObjectRef, Arc<Write>)>,
    /// When more may be.
    wake: Option<Instant>,
    /// Something else is wanted.
    stale: bool,
}

impl Queue {
    fn is_stale(&self, now: Instant) -> bool {
        self.stale || self.wake.is_some_and(|wake| wake <= now)
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { due: VecDeque::new(), wake: None, stale: true }
    }
}

enum Refused {
    Conflict,
    Gone,
    Failed(String),
}

/// A merge patch of the status alone, bound to the version that it was merged with.
async fn send(client: Client, reference: ObjectRef, write: Arc<Write>) -> (ObjectRef, Arc<Write>, Result<(), Refused>) {
    let ObjectRef { kind, namespace, name } = &reference;
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource(*kind)),
        None => Api::all_with(client, &resource(*kind)),
    };
    let patch = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": { "resourceVersion": write.resource_version },
        "status": write.status,
    });
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let result = match timeout(TIMEOUT, api.patch_status(name, &parameters, &patch)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Refused::Conflict),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(Refused::Gone),
        Ok(Err(error)) => Err(Refused::Failed(hint(*kind, &error))),
        Err(_) => Err(Refused::Failed("the API server did not answer in time".to_owned())),
    };
    (reference, write, result)
}

fn hint(kind: Kind, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("{}; allow the controller to patch {kind} status (see docs/reference/rbac.md)", status.message)
        }
        other => other.to_string(),
    }
}
