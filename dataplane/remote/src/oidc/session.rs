//! What cookies hold: a session, or a login under way.

use std::fmt;
use std::sync::Arc;

use portcullis_expressions::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Claims that matter to the login alone.
const OF_THE_LOGIN: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// Whoever has logged in. Times are milliseconds since 1970.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Session {
    /// The host that it was made for, without a port; empty for all hosts of the cookie's domain.
    #[serde(rename = "h")]
    pub(super) host: String,
    #[serde(rename = "u")]
    pub(super) until: u64,
    /// When the provider is to be asked whether it still holds.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub(super) fresh_until: Option<u64>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    #[serde(rename = "c")]
    pub(super) claims: Map<String, Value>,
}

/// A login under way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) state: String,
    pub(super) nonce: String,
    /// Of PKCE (RFC 7636).
    pub(super) verifier: String,
    /// Path and query on the host that the login began at.
    pub(super) back_to: String,
    pub(super) host: String,
    /// Milliseconds since 1970.
    pub(super) begun: u64,
}

impl Session {
    pub(super) fn identity(&self, method: &str) -> Arc<Identity> {
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str).map(Box::from);
        Arc::new(Identity {
            method: method.into(),
            subject: text("sub"),
            username: text("preferred_username"),
            claims: self.claims.clone().into(),
            ..Identity::default()
        })
    }
}

pub(super) fn kept(mut claims: Map<String, Value>) -> Map<String, Value> {
    for name in OF_THE_LOGIN {
        claims.remove(name);
    }
    claims
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("host", &self.host).field("until", &self.until).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("host", &self.host).field("begun", &self.begun).finish_non_exhaustive()
    }
}
