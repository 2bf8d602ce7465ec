//! `XBackend` of the Gateway API's experimental group, as far as it is read. Its two releases differ in how they write
//! the port and whom they report to; what a CRD does not know, its API server drops, so an object tells its release.

use gateway_api::backendtlspolicies::{
    BackendTlsPolicyStatus, BackendTlsPolicyStatusAncestors as PolicyAncestor,
    BackendTlsPolicyStatusAncestorsAncestorRef as AncestorRef, BackendTlsPolicyValidation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The group of the Gateway API's experimental kinds.
pub(crate) const GROUP: &str = "gateway.networking.x-k8s.io";

/// Words that later releases may add to (types, protocols, modes) stay text: an unknown one is refused by name.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "gateway.networking.x-k8s.io",
    version = "v1alpha1",
    kind = "XBackend",
    plural = "xbackends",
    namespaced,
    schema = "disabled",
    status = "XBackendStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct XBackendSpec {
    pub r#type: String,
    #[serde(default)]
    pub port: XBackendPort,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_hostname: Option<ExternalHostname>,
    /// Not served: only that it is there is of account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<XBackendTls>,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XBackendPort {
    /// As 1.7 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i32>,
    /// As 1.6 does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalHostname {
    pub hostname: String,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct XBackendTls {
    pub mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<BackendTlsPolicyValidation>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct XBackendStatus {
    /// As 1.7 calls the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<XBackendAncestor>,
    /// As 1.6 does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<XBackendAncestor>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct XBackendAncestor {
    pub controller_name: String,
    #[serde(alias = "parentRef")]
    pub ancestor_ref: AncestorRef,
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

impl XBackend {
    /// The entries of its status, whatever its release calls them.
    pub fn ancestors(&self) -> Vec<PolicyAncestor> {
        let entry = |one: &XBackendAncestor| {
            let XBackendAncestor { controller_name, ancestor_ref, conditions } = one.clone();
            PolicyAncestor { ancestor_ref, conditions, controller_name }
        };
        let lists = self.status.iter().flat_map(|status| status.ancestors.iter().chain(&status.parents));
        lists.map(entry).collect()
    }

    /// A status as the release of this object writes it.
    pub fn status_as_written(&self, status: &BackendTlsPolicyStatus) -> Value {
        let (list, reference) =
            if self.spec.port.port.is_some() { ("parents", "parentRef") } else { ("ancestors", "ancestorRef") };
        let entry = |one: &PolicyAncestor| {
            let PolicyAncestor { ancestor_ref, conditions, controller_name } = one;
            json!({ reference: ancestor_ref, "conditions": conditions, "controllerName": controller_name })
        };
        json!({ list: status.ancestors.iter().map(entry).collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Object;

    fn backend(port: &Value, status: &Value) -> XBackend {
        let Ok(Object::XBackend(object)) = Object::parse(json!({
            "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackend", "metadata": { "name": "b" },
            "spec": { "type": "ExternalHostname", "port": port, "externalHostname": { "hostname": "a.example" } },
            "status": status,
        })) else {
            panic!("{port}")
        };
        XBackend::clone(&object)
    }

    #[test]
    fn the_status_is_read_and_written_as_the_release_of_the_object_has_it() {
        let gateway = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" });
        for (port, list, reference) in [
            (json!({ "number": 443 }), "ancestors", "ancestorRef"),
            (json!({ "name": "", "port": 443 }), "parents", "parentRef"),
        ] {
            // Others may leave out their conditions.
            let there = json!({ list: [{ "controllerName": "example.com/other", reference: gateway }] });
            let object = backend(&port, &there);
            let entries = object.ancestors();
            assert_eq!((entries.len(), &*entries[0].ancestor_ref.name), (1, "g"));
            let written = object.status_as_written(&BackendTlsPolicyStatus { ancestors: entries });
            let whole = json!({ "controllerName": "example.com/other", "conditions": [], reference: gateway });
            assert_eq!(written, json!({ list: [whole] }));
            let nothing = object.status_as_written(&BackendTlsPolicyStatus { ancestors: Vec::new() });
            assert_eq!(nothing, json!({ list: [] }), "what is gone must be said");
        }
    }
}
