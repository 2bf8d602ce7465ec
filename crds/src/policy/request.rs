//! Which requests are meant, in the words of `HTTPRouteMatch`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All parts that are given must hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestMatch {
    /// The request's path; every path where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,

    /// The request's method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<RequestMethod>,

    /// Headers that must be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub headers: Vec<HeaderMatch>,

    /// Query parameters that must be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub query_params: Vec<QueryMatch>,
}

/// A path as routes are matched by it: decoded where that is without ambiguity, without dot segments.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.type == 'RegularExpression' || self.value.startsWith('/')")
        .message("a path starts with /")
)]
pub struct PathMatch {
    /// How the value is compared.
    #[serde(default, rename = "type")]
    pub kind: PathMatchType,

    /// What it is compared with.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// How a path is compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathMatchType {
    /// The path and all below it, by whole segments.
    #[default]
    PathPrefix,
    /// This path alone.
    Exact,
    /// The whole path matches the expression.
    RegularExpression,
}

/// Methods of HTTP.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum RequestMethod {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

/// A header that must be there.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// How the value is compared.
    #[serde(default, rename = "type")]
    pub kind: ValueMatchType,

    /// The header's name.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub name: String,

    /// What it is compared with.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// A query parameter that must be there.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryMatch {
    /// How the value is compared.
    #[serde(default, rename = "type")]
    pub kind: ValueMatchType,

    /// The parameter's name, case-sensitive.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,

    /// What it is compared with.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// How a value is compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueMatchType {
    /// It is the same.
    #[default]
    Exact,
    /// The whole of it matches the expression.
    RegularExpression,
}

impl RequestMethod {
    /// As requests write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}
