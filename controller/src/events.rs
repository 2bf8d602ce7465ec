//! Events, where a person should look: on the object, beside its conditions, for `kubectl describe`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use portcullis_translate::{Downgrade, Kind, NamespacedName, ObjectRef};
use tokio::sync::watch;

use crate::fleets::Failures;
use crate::lease::Leadership;

/// The name under which Events are reported.
const REPORTER: &str = "portcullis.dev/gateway-controller";

/// What Events are about, each with the text of the newest.
type Told = BTreeMap<ObjectRef, (&'static str, String)>;

/// Where what is told comes from.
pub(crate) struct News {
    pub(crate) failures: watch::Receiver<Arc<Failures>>,
    pub(crate) invalid: watch::Receiver<Arc<OrdMap<ObjectRef, String>>>,
    /// Policies that drop an authentication requirement.
    pub(crate) downgrades: watch::Receiver<Arc<BTreeSet<Downgrade>>>,
}

/// Tells of Gateways whose data planes cannot be provided, of objects that do not parse, and of policies that ask less of
/// clients than they would inherit; once for each reason.
pub(crate) struct Events {
    recorder: Recorder,
    leadership: watch::Receiver<Leadership>,
    news: News,
}

impl Events {
    pub(crate) fn new(client: Client, pod: String, leadership: watch::Receiver<Leadership>, news: News) -> Self {
        let reporter = Reporter { controller: REPORTER.to_owned(), instance: Some(pod) };
        Self { recorder: Recorder::new(client, reporter), leadership, news }
    }

    pub(crate) async fn run(mut self) {
        let mut told = Told::new();
        loop {
            let now = self.news();
            if self.leadership.borrow_and_update().is_leader {
                for (reference, (reason, why)) in now.iter().filter(|(key, news)| told.get(*key) != Some(*news)) {
                    self.tell(reference, reason, why).await;
                }
                told = now;
            }
            tokio::select! {
                changed = self.news.failures.changed() => if changed.is_err() { return },
                changed = self.news.invalid.changed() => if changed.is_err() { return },
                changed = self.news.downgrades.changed() => if changed.is_err() { return },
                changed = self.leadership.changed() => if changed.is_err() { return },
            }
        }
    }

    fn news(&mut self) -> Told {
        let News { failures, invalid, downgrades } = &mut self.news;
        let failures = failures.borrow_and_update();
        let failed = failures.iter().map(|(key, why)| {
            let reference = ObjectRef::namespaced(Kind::Gateway, &NamespacedName::from(key));
            (reference, ("ProvisioningFailed", why.clone()))
        });
        let mut news: Told = failed.collect();
        let downgrades = downgrades.borrow_and_update();
        news.extend(downgrades.iter().map(|Downgrade { policy, target, gateway: _, inherited }| {
            let note =
                format!("at {target} it lets requests pass that AuthPolicy {inherited} would ask to authenticate");
            (ObjectRef::namespaced(Kind::AuthPolicy, policy), ("AuthenticationDowngraded", note))
        }));
        let invalid = invalid.borrow_and_update();
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
