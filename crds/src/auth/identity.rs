//! What backends learn of who sends a request.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What backends learn.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// Headers. Each is taken from every request that comes in before it is set, so that no client can set it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub headers: Vec<IdentityHeader>,

    /// What becomes of the credential itself; `Strip` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_credential: Option<CredentialForwarding>,

    /// What becomes of `X-Forwarded-Client-Cert`; `SanitizeSet` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xfcc: Option<XfccMode>,
}

/// A header and its value.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.claim) != has(self.expression)").message("give exactly one of claim and expression")
)]
pub struct IdentityHeader {
    /// The header's name.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    #[x_kube(
        validation = Rule::new("!(self.lowerAscii() in ['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'upgrade', 'trailer', 'keep-alive'])")
            .message("this header belongs to the protocol; choose another")
    )]
    pub name: String,

    /// A claim; `.` leads into objects, and lists are joined by `,`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub claim: Option<String>,

    /// A CEL expression that comes to a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expression: Option<String>,
}

/// What becomes of a credential.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CredentialForwarding {
    /// The backend never sees it.
    #[default]
    Strip,
    /// It goes on.
    Keep,
}

/// What becomes of `X-Forwarded-Client-Cert`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XfccMode {
    /// It is taken from the request, and set to what was verified.
    #[default]
    SanitizeSet,
    /// It is taken from the request.
    Sanitize,
    /// It goes on as it came: only behind proxies that are trusted with it.
    Forward,
}
