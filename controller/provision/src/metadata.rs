//! Labels, annotations and the owner of what is made.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use crate::Plan;
use crate::name::{controller_label, label_value};

/// Names the Gateway ("implementations … SHOULD set these labels", GEP-1762).
pub const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// Names its class.
pub const CLASS_LABEL: &str = "gateway.networking.k8s.io/gateway-class-name";
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// What [`MANAGED_BY_LABEL`] says on what is ours; also the field manager.
pub const MANAGED_BY: &str = "portcullis";

/// Says which installation made it: several can share a cluster, each with a `controllerName` of its own.
pub const CONTROLLER_LABEL: &str = "portcullis.dev/controller";

const NAME_LABEL: &str = "app.kubernetes.io/name";
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
const APPLICATION: &str = "portcullis-dataplane";

/// Selects what the controller of this name has made, for any Gateway.
#[must_use]
pub fn made_by(controller_name: &str) -> String {
    format!("{MANAGED_BY_LABEL}={MANAGED_BY},{CONTROLLER_LABEL}={}", controller_label(controller_name))
}

pub(crate) type Map = BTreeMap<String, String>;

impl Plan<'_> {
    /// The labels of an object: the Gateway's `spec.infrastructure`, over them those that its parameters give this
    /// kind, and over all ours, which things are found by.
    pub(crate) fn labels(&self, own: Option<&Map>) -> Map {
        let mut labels = self.infrastructure(|infrastructure| infrastructure.labels.as_ref());
        labels.extend(own.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        labels.extend(self.selector());
        labels.insert(INSTANCE_LABEL.to_owned(), self.name.clone());
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
        labels.insert(CONTROLLER_LABEL.to_owned(), controller_label(&self.settings.controller_name));
        labels.insert(CLASS_LABEL.to_owned(), label_value(&self.gateway.spec.gateway_class_name));
        labels
    }

    pub(crate) fn annotations(&self, own: Option<&Map>) -> Option<Map> {
        let mut annotations = self.infrastructure(|infrastructure| infrastructure.annotations.as_ref());
        annotations.extend(own.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        (!annotations.is_empty()).then_some(annotations)
    }

    fn infrastructure(&self, of: impl Fn(&gateway_api::gateways::GatewayInfrastructure) -> Option<&Map>) -> Map {
        self.gateway.spec.infrastructure.as_ref().and_then(of).cloned().unwrap_or_default()
    }

    /// What the pods of this Gateway, and no others of its namespace, carry. A Deployment's selector can never change,
    /// so neither can this.
    pub(crate) fn selector(&self) -> Map {
        BTreeMap::from([
            (GATEWAY_LABEL.to_owned(), label_value(&self.owner.name)),
            (NAME_LABEL.to_owned(), APPLICATION.to_owned()),
        ])
    }

    pub(crate) fn label_selector(&self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selector()), match_expressions: None }
    }

    pub(crate) fn metadata(&self, labels: Option<&Map>, annotations: Option<&Map>) -> ObjectMeta {
        let owner = OwnerReference {
            api_version: "gateway.networking.k8s.io/v1".to_owned(),
            kind: "Gateway".to_owned(),
            name: self.owner.name.clone(),
            uid: self.owner.uid.clone(),
            controller: Some(true),
            // Blocking the Gateway's deletion would need the right to write its finalizers.
            block_owner_deletion: None,
        };
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.owner.namespace.clone()),
            labels: Some(self.labels(labels)),
            annotations: self.annotations(annotations),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        }
    }
}
