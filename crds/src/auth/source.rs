//! Where credentials stand, and how others are reached.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::backend::{CaCertificateRef, WellKnownCaCertificates};

/// Where a token or a key is looked for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.header), has(self.cookie), has(self.query)].filter(x, x).size() == 1")
        .message("give exactly one of header, cookie and query")
)]
pub struct TokenSource {
    /// A header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderSource>,

    /// A cookie's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub cookie: Option<String>,

    /// The name of a query parameter. Addresses end up in logs: prefer the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub query: Option<String>,
}

/// A header and what stands before the token.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderSource {
    /// The header's name.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub name: String,

    /// What stands before the token, compared without regard to case (`Bearer `).
    #[serde(default)]
    #[schemars(length(max = 64), regex(pattern = r"^[ -~]*$"))]
    pub prefix: String,
}

/// Names a Secret of the policy's own namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A Service or Backend. One of another namespace needs a ReferenceGrant there.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.kind == 'Backend' || has(self.port)").message("a Service needs a port")
)]
pub struct AuthBackendRef {
    /// The kind's group; empty for Service, `portcullis.dev` for Backend.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub group: String,

    /// `Service` or `Backend`.
    #[serde(default = "AuthBackendRef::service")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// The name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The namespace; the policy's own where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,

    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

impl AuthBackendRef {
    fn service() -> String {
        "Service".to_owned()
    }
}

/// Whom an https address is trusted by. There is no setting that skips verification.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.caCertificateRefs) != has(self.wellKnownCACertificates)")
        .message("give exactly one of caCertificateRefs and wellKnownCACertificates")
)]
pub struct AuthTls {
    /// ConfigMaps of the same namespace whose key `ca.crt` holds trusted certificates in PEM form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ca_certificate_refs: Vec<CaCertificateRef>,

    /// `System`: trust what the system trusts, as where nothing is said.
    #[serde(default, rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<WellKnownCaCertificates>,
}
