//! The methods of authentication.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::{SecretRef, TokenSource};
use super::token::{Introspection, Jwt, Oidc};

/// One method: exactly one of the fields beside the name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.jwt), has(self.apiKey), has(self.basic), has(self.clientCertificate), has(self.oidc), has(self.introspection), has(self.anonymous)].filter(x, x).size() == 1")
        .message("give exactly one of jwt, apiKey, basic, clientCertificate, oidc, introspection and anonymous")
)]
pub struct AuthMethod {
    /// Labels metrics, is what methods are merged by, and `auth.method` of expressions.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// A signed token (JSON Web Token).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Box<Jwt>>,

    /// A key out of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,

    /// A user name and a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<Basic>,

    /// A certificate that the listener verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,

    /// A login at an OpenID provider, for browsers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Box<Oidc>>,

    /// A token that its issuer is asked about (RFC 7662).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection: Option<Box<Introspection>>,

    /// Nothing: everybody succeeds, as nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
}

/// No settings.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anonymous {}

/// Keys out of Secrets of the policy's namespace. Every entry of such a Secret is a key, each of which suffices: one
/// whose name ends in `.sha256` or `.argon2` is a hash, all others are plain.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.secretSelector) != has(self.secretRefs)")
        .message("give exactly one of secretSelector and secretRefs")
)]
pub struct ApiKey {
    /// Secrets by their labels. They must also carry `portcullis.dev/credential: api-key`, so that no other is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_selector: Option<SecretSelector>,

    /// Secrets by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub secret_refs: Vec<SecretRef>,

    /// Where the key is looked for; the first that is there counts. The header `X-API-Key` where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub from: Vec<TokenSource>,
}

/// Objects by their labels; all that is given must hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.matchLabels) || has(self.matchExpressions)")
        .message("give matchLabels or matchExpressions")
)]
pub struct SecretSelector {
    /// Labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = crate::parameters::schema::labels)]
    pub match_labels: BTreeMap<String, String>,

    /// What else is asked of labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub match_expressions: Vec<SelectorRequirement>,
}

/// What is asked of one label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)")
        .message("values go with In and NotIn, which need some")
)]
pub struct SelectorRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,

    /// How it is judged.
    pub operator: SelectorOperator,

    /// The values, for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub values: Vec<String>,
}

/// How a label is judged.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelectorOperator {
    /// It has one of the values.
    #[default]
    In,
    /// It has none of them, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// `Basic` authentication (RFC 7617).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Basic {
    /// A Secret whose key `.htpasswd` holds a line for each user: bcrypt, argon2 or `{SHA}`.
    pub secret_ref: SecretRef,

    /// What clients show beside the prompt.
    #[serde(default = "Basic::restricted")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[ !#-\[\]-~]+$"))]
    pub realm: String,
}

impl Basic {
    fn restricted() -> String {
        "restricted".to_owned()
    }
}

/// Rules over the certificate that the listener verified (Gateway `tls.frontend`). One of them must hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificate {
    /// The rules; without any, every certificate that was verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<CertificateRule>,
}

/// All parts that are given must hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.subjectAltNames) || has(self.issuers) || has(self.fingerprints)")
        .message("give subjectAltNames, issuers or fingerprints")
)]
pub struct CertificateRule {
    /// The certificate carries one of these names: a DNS name (`*.` for one label), a URI, an e-mail or an address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub subject_alt_names: Vec<String>,

    /// It was issued by one of these, as RFC 4514 writes names (`CN=partners,O=Example`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 1024)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub issuers: Vec<String>,

    /// It is one of these, by the SHA-256 of its DER in hexadecimal digits, with or without colons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 64, max = 95), regex(pattern = r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub fingerprints: Vec<String>,
}
