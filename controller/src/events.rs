//! Events, where a person should look: on the object, beside its conditions, for `kubectl describe`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use portcullis_translate::{Kind, NamespacedName, ObjectRef};
use tokio::sync::watch;

use crate::fleets::Failures;
use crate::lease::Leadership;

/// The name under which Events are reported.
const REPORTER: &str = "portcullis.dev/gateway-controller";

/// What Events are about, each with the text of the newest.
type News = BTreeMap<ObjectRef, (&'static str, String)>;

/// Tells of Gateways whose data planes cannot be provided and of objects that do not parse, once for each reason.
pub(crate) struct Events {
    recorder: Recorder,
    leadership: watch::Receiver<Leadership>,
    failures: watch::Receiver<Arc<Failures>>,
    invalid: watch::Receiver<Arc<BTreeMap<ObjectRef, String>>>,
}

impl Events {
    pub(crate) fn new(
        client: Client,
        pod: String,
        leadership: watch::Receiver<Leadership>,
        failures: watch::Receiver<Arc<Failures>>,
        invalid: watch::Receiver<Arc<BTreeMap<ObjectRef, String>>>,
    ) -> Self {
        let reporter = Reporter { controller: REPORTER.to_owned(), instance: Some(pod) };
        Self { recorder: Recorder::new(client, reporter), leadership, failures, invalid }
    }

    pub(crate) async fn run(mut self) {
        let mut told = News::new();
        loop {
            let now = self.news();
            if self.leadership.borrow_and_update().is_leader {
                for (reference, (reason, why)) in now.iter().filter(|(key, news)| told.get(*key) != Some(*news)) {
                    self.tell(reference, reason, why).await;
                }
                told = now;
            }
            tokio::select! {
                changed = self.failures.changed() => if changed.is_err() { return },
                changed = self.invalid.changed() => if changed.is_err() { return },
                changed = self.leadership.changed() => if changed.is_err() { return },
            }
        }
    }

    fn news(&mut self) -> News {
        let failures = self.failures.borrow_and_update();
        let failed = failures.iter().map(|(key, why)| {
            let reference = ObjectRef::namespaced(Kind::Gateway, &NamespacedName::from(key));
            (reference, ("ProvisioningFailed", why.clone()))
        });
        let mut news: News = failed.collect();
        let invalid = self.invalid.borrow_and_update();
        news.extend(invalid.iter().map(|(reference, why)| {
            let note = format!("does not parse, and counts as invalid until it is corrected: {why}");
            (reference.clone(), ("Invalid", note))
        }));
        news
    }

    async fn tell(&self, about: &ObjectRef, reason: &str, why: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            // At most 1 KiB.
            note: Some(why.chars().take(250).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let ObjectRef { kind, namespace, name } = about;
        let regarding = ObjectReference {
            api_version: Some(kind.api_version().to_owned()),
            kind: Some(kind.as_str().to_owned()),
            namespace: namespace.as_deref().map(str::to_owned),
            name: Some(name.to_string()),
            ..ObjectReference::default()
        };
        if let Err(error) = self.recorder.publish(&event, &regarding).await {
            tracing::warn!(object = %about, %error, "an Event cannot be written");
        }
    }
}
