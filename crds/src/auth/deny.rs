//! What those who are turned away are answered.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Answers. What is not given is 401 with `WWW-Authenticate`, and 403.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deny {
    /// To those who did not prove who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unauthenticated: Option<DenyResponse>,

    /// To those who may not do what they ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unauthorized: Option<DenyResponse>,
}

/// An answer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.redirect) || !has(self.body)").message("a redirect has no body"),
    validation = Rule::new("!has(self.status) || (has(self.redirect) ? self.status in [302, 303, 307] : self.status >= 400)")
        .message("status must be 302, 303 or 307 with redirect, and 400 to 599 without")
)]
pub struct DenyResponse {
    /// The status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 300, max = 599))]
    pub status: Option<i32>,

    /// Headers that are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub headers: Vec<DenyHeader>,

    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub body: Option<String>,

    /// Sends the client there (302 unless `status` says otherwise): an absolute address or a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^(/|https?://)[^\s]*$"))]
    pub redirect: Option<String>,
}

/// A header of an answer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DenyHeader {
    /// The header's name.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub name: String,

    /// Its value.
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^[ -~]*$"))]
    pub value: String,
}
