//! Keeps a GatewayClass for as long as there are Gateways of it.
//!
//! "Whenever one or more Gateways are using a GatewayClass, implementations SHOULD add the
//! `gateway-exists-finalizer.gateway.networking.k8s.io` finalizer on the associated GatewayClass." (`GatewayClass`)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gateway_api::gatewayclasses::GatewayClass;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use portcullis_translate::{Inputs, Kind};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::pause::Pause;

const FINALIZER: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Classes of ours, by name, whose finalizers are not as they should be.
pub(crate) type Finalizers = BTreeMap<Arc<str>, Edit>;

/// What the finalizers should be, others' among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The version of the class that others' were taken from.
    resource_version: String,
    finalizers: Vec<String>,
}

pub(crate) fn finalizers(inputs: &Inputs, controller_name: &str) -> Finalizers {
    let used: BTreeSet<&str> =
        inputs.gateways.values().map(|gateway| gateway.spec.gateway_class_name.as_str()).collect();
    // One that does not parse could be of any class.
    let any = inputs.invalid.keys().any(|reference| reference.kind == Kind::Gateway);
    let ours = inputs.gateway_classes.iter().filter(|(_, class)| class.spec.controller_name == controller_name);
    let edits = ours.filter_map(|(name, class)| {
        let metadata = &class.metadata;
        let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
        let has = finalizers.iter().any(|one| one == FINALIZER);
        let is_used = used.contains(&**name);
        if is_used && !has && metadata.deletion_timestamp.is_none() {
            finalizers.push(FINALIZER.to_owned());
        } else if has && !is_used && !any {
            finalizers.retain(|one| one != FINALIZER);
        } else {
            return None;
        }
        Some((Arc::clone(name), Edit { resource_version: metadata.resource_version.clone()?, finalizers }))
    });
    edits.collect()
}

/// Writes them, on the lease holder alone. Nothing waits for it.
pub(crate) struct Keeper {
    api: Api<GatewayClass>,
    leadership: watch::Receiver<Leadership>,
    wanted: watch::Receiver<Arc<Finalizers>>,
    metrics: Metrics,
    /// What was written last, or was refused because the class has changed: the watch will tell how it is now.
    done: Finalizers,
}

impl Keeper {
    pub(crate) fn new(
        client: Client,
        leadership: watch::Receiver<Leadership>,
        wanted: watch::Receiver<Arc<Finalizers>>,
        metrics: Metrics,
    ) -> Self {
        Self { api: Api::all(client), leadership, wanted, metrics, done: Finalizers::new() }
    }

    /// Writes until nobody wants anything any more.
    pub(crate) async fn run(mut self) {
        let mut pause = Pause::default();
        loop {
            let wanted = Arc::clone(&self.wanted.borrow_and_update());
            self.done.retain(|name, _| wanted.contains_key(name));
            let mut failed = false;
            if self.leadership.borrow_and_update().is_leader {
                for (name, edit) in wanted.iter() {
                    if self.done.get(name) == Some(edit) {
                        continue;
                    }
                    match self.write(name, edit).await {
                        Ok(()) => drop(self.done.insert(Arc::clone(name), edit.clone())),
                        Err(error) => {
                            failed = true;
                            tracing::warn!(class = &**name, error, "finalizer cannot be written; it is tried again");
                        }
                    }
                }
            }
            let again = if failed { Some(pause.next()) } else { None };
            if again.is_none() {
                pause.reset();
            }
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { return },
                changed = self.leadership.changed() => if changed.is_err() { return },
                () = sleep(again.unwrap_or_default()), if again.is_some() => {}
            }
        }
    }

    /// Bound to the version that it was made from, so that nobody's finalizer is lost.
    async fn write(&self, name: &str, edit: &Edit) -> Result<(), String> {
        let Edit { resource_version, finalizers } = edit;
        let patch = json!({ "metadata": { "resourceVersion": resource_version, "finalizers": finalizers } });
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let written = match timeout(TIMEOUT, self.api.patch_metadata(name, &parameters, &patch)).await {
            Ok(Ok(_)) => Ok(()),
            // Somebody was faster, or it is gone: the watch brings what is there now.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 || status.code == 404 => return Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(format!(
                "{}; allow the controller to patch GatewayClasses (see docs/reference/rbac.md)",
                status.message
            )),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the API server did not answer in time".to_owned()),
        };
        self.metrics.provisioned(Kind::GatewayClass.as_str(), written.is_ok());
        written
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_translate::{CONTROLLER_NAME, NamespacedName, Object, ObjectRef};
    use serde_json::Value;

    use super::*;

    const OTHERS: &str = "example.com/theirs";

    fn world(class: &Value, gateways: &[&str]) -> Inputs {
        let mut inputs = Inputs::default();
        let mut metadata = json!({ "name": "c", "resourceVersion": "7" });
        metadata.as_object_mut().unwrap().extend(class.as_object().unwrap().clone());
        let mut objects = vec![json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": metadata, "spec": { "controllerName": CONTROLLER_NAME } })];
        objects.extend(gateways.iter().map(|of| {
            json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                "metadata": { "namespace": "ns", "name": of }, "spec": { "gatewayClassName": of, "listeners": [] } })
        }));
        for object in objects {
            inputs.insert(Object::parse(object).unwrap());
        }
        inputs
    }

    fn edited(inputs: &Inputs) -> Option<Vec<String>> {
        finalizers(inputs, CONTROLLER_NAME).remove("c").map(|edit| edit.finalizers)
    }

    #[test]
    fn a_class_has_it_while_it_has_gateways_and_others_stay() {
        let (with, without) = (json!({ "finalizers": [OTHERS, FINALIZER] }), json!({ "finalizers": [OTHERS] }));
        assert_eq!(edited(&world(&without, &["c"])).unwrap(), [OTHERS, FINALIZER]);
        assert_eq!(edited(&world(&with, &["c", "d"])), None);
        assert_eq!(edited(&world(&with, &["d"])).unwrap(), [OTHERS]);
        assert_eq!(edited(&world(&without, &["d"])), None);
        assert!(finalizers(&world(&without, &["c"]), "example.com/another").is_empty());
    }

    #[test]
    fn a_class_that_is_being_deleted_gets_none_and_loses_it_with_its_last_gateway() {
        let ending = json!({ "deletionTimestamp": "2027-01-01T00:00:00Z", "finalizers": [OTHERS] });
        assert_eq!(edited(&world(&ending, &["c"])), None);
        let ending = json!({ "deletionTimestamp": "2027-01-01T00:00:00Z", "finalizers": [FINALIZER] });
        assert_eq!(edited(&world(&ending, &["c"])), None);
        assert!(edited(&world(&ending, &[])).unwrap().is_empty());
    }

    #[test]
    fn a_gateway_that_does_not_parse_keeps_every_class() {
        let mut inputs = world(&json!({ "finalizers": [FINALIZER] }), &[]);
        let broken = ObjectRef::namespaced(Kind::Gateway, &NamespacedName::new("ns", "g"));
        inputs.insert_invalid(broken, "broken");
        assert_eq!(edited(&inputs), None);
    }
}
