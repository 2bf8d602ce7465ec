//! Authentication and authorization.

use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use serde::Serialize;

use super::{AuthMethod, Expression, KeyPart, PolicyOrigin, Require};
use crate::{Match, PathMatch, Target};

/// What is in force at one place. "None attached" is the absence of this value: never an error in disguise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Auth {
    Enforce(Box<AuthPolicy>),
    /// Denied (503): a policy of this place cannot be honoured and there is no good version of it to go on with.
    Broken(BrokenAuth),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokenAuth {
    pub origin: PolicyOrigin,
    /// The field and the fix.
    pub message: Box<str>,
    /// Still taken from every request that comes in.
    #[serde(serialize_with = "crate::serialize::header_names")]
    pub identity_headers: Vec<HeaderName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthPolicy {
    /// The policies that this one is merged from, the most general first; at least one.
    pub origins: Vec<PolicyOrigin>,
    /// Decides, counts and logs, and lets pass.
    pub shadow: bool,
    /// Requests that any of them takes are let pass; only their path and method count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exempt: Vec<Match>,
    pub require: Require,
    /// Empty: nobody is asked who they are (then there is authorization or an external service).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<AuthMethod>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalAuth>,
    pub identity: IdentityOutput,
    pub unauthenticated: DenyResponse,
    pub unauthorized: DenyResponse,
}

/// Order-free: any Deny that matches wins, then any Allow, then the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Authorization {
    /// By name in ascending order, each once.
    pub rules: Vec<AuthorizationRule>,
    pub default: AuthorizationAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthorizationAction {
    Allow,
    Deny,
}

/// All parts that are given must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthorizationRule {
    pub name: Box<str>,
    pub action: AuthorizationAction,
    /// All of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimMatch>,
    /// All of them, from `scope` or `scp`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Box<str>>,
    /// Any of them.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "crate::serialize::displayed")]
    pub client_cidrs: Vec<IpNet>,
    /// Any of them.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "crate::serialize::methods")]
    pub methods: Vec<Method>,
    /// Any of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathMatch>,
    /// All of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expressions: Vec<Expression>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimMatch {
    /// `.` leads into objects.
    pub name: Box<str>,
    /// The claim, or one of its elements, is one of them. Empty: it is there.
    pub values: Vec<Box<str>>,
}

/// An authorization service (GEP-1494).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExternalAuth {
    pub protocol: ExternalAuthProtocol,
    pub backend: Target,
    /// Up to how many bytes of the request's body are sent along; 0: none.
    pub max_body_bytes: u32,
    pub timeout: Duration,
    /// What is done when the service is away: never true unless it was asked for.
    pub fail_open: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<ExternalAuthCache>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ExternalAuthProtocol {
    Http {
        /// Stands before the request's own path.
        path_prefix: Box<str>,
        /// Sent along beside `Host`, method, path, `Content-Length` and `Authorization`.
        #[serde(serialize_with = "crate::serialize::header_names")]
        allowed_request_headers: Vec<HeaderName>,
        /// Taken from a yes into the request. Empty: all of them (GEP-1494).
        #[serde(serialize_with = "crate::serialize::header_names")]
        allowed_response_headers: Vec<HeaderName>,
    },
    /// `envoy.service.auth.v3.Authorization/Check`.
    Grpc {
        /// Sent along. Empty: all of them (GEP-1494).
        #[serde(serialize_with = "crate::serialize::header_names")]
        allowed_request_headers: Vec<HeaderName>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExternalAuthCache {
    pub key: Vec<KeyPart>,
    pub ttl: Duration,
    pub max_entries: u32,
}

/// What the backend learns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IdentityOutput {
    /// By name in ascending order, each once. Taken from every request that comes in before they are set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<IdentityHeader>,
    /// The credential itself goes on to the backend.
    pub keep_credential: bool,
    pub xfcc: Xfcc,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdentityHeader {
    #[serde(serialize_with = "crate::serialize::header_name")]
    pub name: HeaderName,
    pub value: IdentityValue,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum IdentityValue {
    /// `.` leads into objects; lists are joined by `,`.
    Claim(Box<str>),
    Expression(Expression),
}

/// `X-Forwarded-Client-Cert`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Xfcc {
    /// Taken from the request, and set to what was verified.
    #[default]
    SanitizeSet,
    Sanitize,
    Forward,
}

/// How a request is turned away. What is not given is our own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DenyResponse {
    /// 302, 303, 307 or 400 to 599.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Box<str>, Box<str>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<str>>,
    /// `Location`; an absolute address or a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Box<str>>,
}
