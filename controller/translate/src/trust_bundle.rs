//! `ClusterTrustBundle` of Kubernetes: trusted certificates for a whole cluster, which every account may read (GEP-5075).
//! Its versions, `v1alpha1` to `v1`, differ in nothing that is read.

use std::sync::Arc;

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::condition::Reason;
use crate::tls::{InvalidPem, trusted_roots};

/// The group of a reference to one.
pub(crate) const GROUP: &str = "certificates.k8s.io";
/// The field that holds the certificates.
const FIELD: &str = "spec.trustBundle";

#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "certificates.k8s.io",
    version = "v1",
    kind = "ClusterTrustBundle",
    plural = "clustertrustbundles",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTrustBundleSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer_name: Option<String>,
    /// PEM.
    #[serde(default)]
    pub trust_bundle: String,
}

/// Why a reference to one is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidBundle {
    #[error("ClusterTrustBundles are not served in this cluster; use a ConfigMap, or Kubernetes 1.37")]
    NotServed,
    #[error("ClusterTrustBundle {0:?} is in no namespace; leave namespace out")]
    Namespace(String),
    #[error("ClusterTrustBundle {0:?} does not exist; create it or correct the name")]
    NotFound(String),
    #[error("ClusterTrustBundle {name:?} cannot be read: {why}")]
    Unreadable { name: String, why: String },
    #[error("ClusterTrustBundle {name:?} is invalid: {error}")]
    Content { name: String, error: InvalidPem },
}

impl InvalidBundle {
    /// "This keeps `InvalidKind` as the single reason for 'kind not available'": `kind` is what the place of the reference
    /// calls that.
    pub(crate) fn reason(&self, kind: Reason) -> Reason {
        match self {
            Self::NotServed => kind,
            _ => Reason::InvalidCaCertificateRef,
        }
    }
}

/// What is known under a name.
pub(crate) enum Found {
    Bundle(Arc<ClusterTrustBundle>),
    Unreadable(String),
    Nothing,
    /// The API server does not have the kind.
    NotServed,
}

/// The certificates of a bundle, as DER.
pub(crate) fn roots(name: &str, found: &Found) -> Result<Vec<Box<[u8]>>, InvalidBundle> {
    let name = name.to_owned();
    match found {
        Found::NotServed => Err(InvalidBundle::NotServed),
        Found::Nothing => Err(InvalidBundle::NotFound(name)),
        Found::Unreadable(why) => Err(InvalidBundle::Unreadable { name, why: why.clone() }),
        Found::Bundle(bundle) => trusted_roots(bundle.spec.trust_bundle.as_bytes(), FIELD)
            .map_err(|error| InvalidBundle::Content { name, error }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::tls_policy;
    use crate::world::{Reader, World};
    use crate::{Inputs, Kind, NamespacedName, Object};

    /// The reasons of `ResolvedRefs` and `Accepted` of a policy that names the bundle.
    fn reasons(inputs: &Inputs) -> (Option<Reason>, Option<Reason>) {
        let world = World::new(inputs, crate::recent::Recent::default());
        let plan = tls_policy::compile(&Reader::new(&world), &NamespacedName::new("ns", "p"));
        (plan.unresolved.first().map(tls_policy::InvalidCaRef::reason), plan.tls.err().map(|error| error.reason()))
    }

    #[test]
    fn a_kind_that_is_not_served_is_told_from_a_bundle_that_is_missing_or_wrong() {
        let mut inputs = Inputs::default();
        let reference = json!({ "group": GROUP, "kind": "ClusterTrustBundle", "name": "example.com:a:b" });
        let policy = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
            "metadata": { "namespace": "ns", "name": "p" }, "spec": { "targetRefs": [{ "group": "", "kind": "Service", "name": "s" }],
            "validation": { "hostname": "a.example", "caCertificateRefs": [reference] } } });
        inputs.insert(Object::parse(policy).unwrap());
        let none_left = Some(Reason::NoValidCaCertificate);
        inputs.absent.insert(Kind::ClusterTrustBundle);
        assert_eq!(reasons(&inputs), (Some(Reason::InvalidKind), none_left));
        inputs.absent.clear();
        assert_eq!(reasons(&inputs), (Some(Reason::InvalidCaCertificateRef), none_left));
        let pem = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap().cert.pem();
        for (text, expected) in [
            ("", (Some(Reason::InvalidCaCertificateRef), none_left)),
            ("rubbish", (Some(Reason::InvalidCaCertificateRef), none_left)),
            (&*pem, (None, None)),
        ] {
            let bundle = json!({ "apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle",
                "metadata": { "name": "example.com:a:b" }, "spec": { "trustBundle": text } });
            inputs.insert(Object::parse(bundle).unwrap());
            assert_eq!(reasons(&inputs), expected, "{text}");
        }
    }
}
