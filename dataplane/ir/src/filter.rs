//! What a rule does to a request on its way, and to the response on its way back.

use http::{HeaderName, HeaderValue};
use serde::Serialize;

use crate::{ExternalAuth, Host, Target};

/// One filter. The same type for rules and for their backends, whatever object it was written on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    RequestHeaders(HeaderEdits),
    ResponseHeaders(HeaderEdits),
    UrlRewrite(UrlRewrite),
    Mirror(Mirror),
    Cors(Cors),
    /// Asked before anything is sent to a backend; only among a rule's own filters (Gateway API `ExternalAuth`).
    ExternalAuth(Box<ExternalAuth>),
}

/// Header edits, applied as set, then add, then remove; names are unique across the three lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeaderEdits {
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "crate::serialize::headers")]
    pub set: Vec<(HeaderName, HeaderValue)>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "crate::serialize::headers")]
    pub add: Vec<(HeaderName, HeaderValue)>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "crate::serialize::header_names")]
    pub remove: Vec<HeaderName>,
}

/// A new host and path for the upstream request (Gateway API `HTTPURLRewriteFilter`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UrlRewrite {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Host>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathRewrite {
    /// The whole path. The query is kept.
    Full(Box<str>),
    /// What the match's prefix covered, cut at an element boundary. Only on rules whose every match is a prefix.
    Prefix(Box<str>),
}

/// A copy of the request for another backend, whose answer is thrown away (Gateway API `HTTPRequestMirrorFilter`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mirror {
    pub target: Target,
    pub share: Fraction,
}

/// The share of requests that a mirror copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fraction {
    pub numerator: u32,
    /// Never 0.
    pub denominator: u32,
}

/// The answer of a rule that redirects (Gateway API `HTTPRequestRedirectFilter`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// `http` or `https`; none keeps the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Host>,
    /// None: the well-known port of `scheme` if that is given, else the listener's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Which pages of other origins may read answers (Gateway API `HTTPCORSFilter`; Fetch standard, CORS protocol).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// Any of them suffices; none allows nobody.
    pub allow_origins: Vec<CorsOrigin>,
    pub allow_methods: CorsNames,
    pub allow_headers: CorsNames,
    pub expose_headers: CorsNames,
    pub allow_credentials: bool,
    /// Seconds that a preflight's answer may be kept; never 0.
    pub max_age: u32,
}

/// An origin as a route writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CorsOrigin {
    Any,
    /// `scheme://host[:port]`, in lower case, without the scheme's own port.
    Exact(Box<str>),
    /// `scheme://*.suffix[:port]` or `scheme://*[:port]`, in lower case, without the scheme's own port: one label or
    /// more in place of the `*`, and never a port.
    Wildcard {
        /// `scheme://`
        prefix: Box<str>,
        /// `.suffix[:port]`, `:port` or nothing.
        suffix: Box<str>,
    },
}

/// Methods or header names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CorsNames {
    Any,
    List(Vec<Box<str>>),
}

impl Fraction {
    pub const ALL: Self = Self { numerator: 1, denominator: 1 };
}

impl HeaderEdits {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}
