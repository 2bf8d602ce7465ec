//! `AuthPolicy`: who may send requests, and what backends learn of them.

mod access;
mod deny;
mod external;
mod identity;
mod method;
mod source;
mod token;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{MergeStrategy, PathMatch, PolicyStatus, PolicyTargetRef, RequestMethod};

pub use access::{Authorization, AuthorizationAction, AuthorizationRule, ClaimMatch};
pub use deny::{Deny, DenyHeader, DenyResponse};
pub use external::{
    ExternalAuth, ExternalAuthCache, ExternalAuthFailureMode, ExternalAuthGrpc, ExternalAuthHttp, ExternalAuthProtocol,
    ForwardBody,
};
pub use identity::{CredentialForwarding, Identity, IdentityHeader, XfccMode};
pub use method::{
    Anonymous, ApiKey, AuthMethod, Basic, CertificateRule, ClientCertificate, SecretSelector, SelectorOperator,
    SelectorRequirement,
};
pub use source::{AuthBackendRef, AuthTls, HeaderSource, SecretRef, TokenSource};
pub use token::{CachedAnswers, Introspection, Jwks, Jwt, JwtAlgorithm, Oidc, RemoteJwks, SessionCookie};

/// Authentication and authorization for the requests of Gateways, listeners, ListenerSets, routes or rules. An inherited
/// policy (GEP-713).
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "AuthPolicy",
    plural = "authpolicies",
    shortname = "pauth",
    category = "portcullis",
    namespaced,
    status = "PolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    doc = "Authentication and authorization for the requests of Gateways, listeners, ListenerSets, routes or rules.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[0].name"),
    printcolumn(name = "Strategy", type_ = "string", json_path = ".spec.strategy"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.ancestors[0].conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = r#".status.ancestors[0].conditions[?(@.type=="Programmed")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.strategy in ['AtomicDefaults', 'PatchDefaults'] || self.targetRefs.all(t, t.kind in ['Gateway', 'ListenerSet'])")
        .message("overrides are for Gateways and ListenerSets: nothing is below a route that could be overridden"),
    validation = Rule::new("has(self.authentication) || has(self.authorization) || has(self.externalAuth) || has(self.exempt) || has(self.identity) || has(self.deny) || has(self.mode)")
        .message("a policy must ask for something: give authentication, authorization or externalAuth")
)]
pub struct AuthPolicySpec {
    /// What the policy is attached to, in its own namespace.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["group".to_owned(), "kind".to_owned(), "name".to_owned(), "sectionName".to_owned()]))]
    pub target_refs: Vec<PolicyTargetRef>,

    /// What counts where this policy meets one of a more specific place.
    #[serde(default)]
    pub strategy: MergeStrategy,

    /// Whether requests are refused; `Enforce` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,

    /// Requests that nothing is asked of: health checks, well-known paths. Only path and method can be given, so that
    /// no expression that fails lets anybody through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub exempt: Vec<Exemption>,

    /// Who is asked for what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,

    /// Who may do what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,

    /// A service that is asked about each request, after authentication and authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<ExternalAuth>,

    /// What backends learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,

    /// What those who are turned away are answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Deny>,
}

/// Whether requests are refused.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// They are.
    #[default]
    Enforce,
    /// It is decided, counted and logged, and they are let pass; headers of identity are taken from them all the same.
    Shadow,
}

/// Requests by path and method; both must hold where both are given.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exemption {
    /// The path.
    pub path: PathMatch,

    /// The method; every one where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<RequestMethod>,
}

/// Methods by which clients prove who they are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authentication {
    /// How many of the methods must succeed; `Any` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Require>,

    /// The methods. With `Any` they are tried in this order.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub methods: Vec<AuthMethod>,
}

/// How many of the methods must succeed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Require {
    /// One of them.
    #[default]
    Any,
    /// All of them.
    All,
}
