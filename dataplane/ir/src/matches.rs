//! What a rule asks of a request.

use http::{HeaderName, Method};
use serde::Serialize;

use crate::{PathMatch, Pattern};

/// One of a rule's `matches`; all its parts must hold (Gateway API `HTTPRouteMatch`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    pub path: PathMatch,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::serialize::method")]
    pub method: Option<Method>,
    /// At most one entry per name; the first of equal names counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<QueryMatch>,
}

/// A header that must be there. Several values of one name are joined by `,` before they are compared (RFC 9110, 5.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderMatch {
    #[serde(serialize_with = "crate::serialize::header_name")]
    pub name: HeaderName,
    pub value: StringMatch,
}

/// A query parameter that must be there; names and values are compared after percent-decoding, case-sensitively.
/// Of a parameter that occurs several times the first value counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueryMatch {
    pub name: Box<str>,
    pub value: StringMatch,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    Exact(Box<str>),
    Regex(Pattern),
}

impl Default for Match {
    /// Gateway API's default: prefix `/`.
    fn default() -> Self {
        Self { path: PathMatch::Prefix("/".into()), method: None, headers: Vec::new(), query: Vec::new() }
    }
}

impl StringMatch {
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(expected) => **expected == *value,
            Self::Regex(pattern) => pattern.matches(value),
        }
    }
}
