//! What was fetched about who signs tokens. Live: one fetcher per address for all policies brings it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Names what is fetched: the address, and behind a space whatever else makes it another fetch (trusted roots).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerKey(pub Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issuer {
    pub key: IssuerKey,
    /// The newest good JSON Web Key Set (RFC 7517), at most 1 MiB. None: none was ever obtained, or the last one is
    /// older than it may be: then nobody can be judged (503).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
}

/// Endpoints of an OpenID provider (OpenID Connect Discovery 1.0, section 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Discovery {
    pub authorization_endpoint: Box<str>,
    pub token_endpoint: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_session_endpoint: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<Box<str>>,
}

impl fmt::Display for IssuerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
