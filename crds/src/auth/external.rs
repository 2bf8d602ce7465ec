//! A service that is asked about requests; the fields are those of GEP-1494.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::AuthBackendRef;
use crate::policy::KeyPart;

/// An authorization service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.grpc) || self.protocol == 'GRPC'").message("grpc goes with protocol GRPC"),
    validation = Rule::new("!has(self.http) || self.protocol == 'HTTP'").message("http goes with protocol HTTP")
)]
pub struct ExternalAuth {
    /// What is spoken to it.
    pub protocol: ExternalAuthProtocol,

    /// The service.
    pub backend_ref: AuthBackendRef,

    /// What it is told by gRPC (`envoy.service.auth.v3.Authorization`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<ExternalAuthGrpc>,

    /// What it is told by HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<ExternalAuthHttp>,

    /// Sends the request's body along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBody>,

    /// How long it is waited for, 1ms to 10s; 200ms where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('10s')")
            .message("timeout must be from 1ms to 10s")
    )]
    pub timeout: Option<String>,

    /// What becomes of requests while it is away.
    #[serde(default)]
    pub failure_mode: ExternalAuthFailureMode,

    /// Keeps its answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<ExternalAuthCache>,
}

/// What is spoken to the service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExternalAuthProtocol {
    /// A request like the client's; 200 is a yes.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// `envoy.service.auth.v3.Authorization/Check`.
    #[serde(rename = "GRPC")]
    Grpc,
}

/// What the service is told by gRPC.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalAuthGrpc {
    /// Headers that are sent along; all of them where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_headers: Vec<String>,
}

/// What the service is told by HTTP, and what of its answer is taken over.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalAuthHttp {
    /// Stands before the request's own path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[^\s?#]*$"))]
    pub path: Option<String>,

    /// Headers that are sent along beside `Host`, method, path, `Content-Length` and `Authorization`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_headers: Vec<String>,

    /// Headers of a yes that go into the request; all of them where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_response_headers: Vec<String>,
}

/// Sends the request's body along.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardBody {
    /// Bytes at the most; 0 sends none. A longer body is cut.
    #[schemars(range(min = 0, max = 1_048_576))]
    pub max_size: i32,
}

/// What becomes of requests while the service is away.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExternalAuthFailureMode {
    /// They are turned away.
    #[default]
    Deny,
    /// They are let pass, without having been judged.
    Allow,
}

/// Keeps a service's answers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalAuthCache {
    /// What the answer depends on. It must hold everything that the service looks at: requests that agree in it are one.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub key: Vec<KeyPart>,

    /// How long an answer counts, 1ms to 1h.
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('1h')")
            .message("ttl must be from 1ms to 1h")
    )]
    pub ttl: String,

    /// How many, in each replica; 10,000 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_entries: Option<i32>,
}
