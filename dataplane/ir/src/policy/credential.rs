//! What clients and we ourselves prove identity with. Live: a rotation never waits, and never comes back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::Secret;

/// Names a Secret and what is read from it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialKey {
    pub purpose: CredentialUse,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CredentialUse {
    /// The API keys of one consumer.
    Consumer,
    /// A file of user names and password hashes.
    Users,
    /// What we ourselves prove identity with to an OpenID provider or an introspection endpoint, or the key that tokens are signed with
    /// symmetrically.
    Shared,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credential {
    pub key: CredentialKey,
    pub content: CredentialContent,
}

/// Of the same kind as the key's purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CredentialContent {
    Consumer {
        /// The API key methods that take it, ascending, each once. A consumer points up to them, so that one Secret of
        /// 100,000 is one small message.
        sets: Vec<ConsumerSetKey>,
        id: Box<str>,
        metadata: BTreeMap<Box<str>, Box<str>>,
        /// Each suffices, so that keys rotate without a gap. Never in plain text.
        keys: Vec<ApiKeyHash>,
    },
    /// htpasswd.
    Users(Secret),
    Shared(Secret),
}

/// Names an API key method: the policy that has it and its own name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerSetKey {
    pub namespace: Arc<str>,
    pub policy: Arc<str>,
    pub method: Arc<str>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiKeyHash {
    Sha256([u8; 32]),
    /// A PHC string (`$argon2id$…`).
    Argon2(Box<str>),
}

/// As in logs: a short key could be found by its hash.
impl Serialize for ApiKeyHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

/// A hash is no secret of the highest order, but nothing that belongs into a log either.
impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256(_) => "Sha256(<redacted>)",
            Self::Argon2(_) => "Argon2(<redacted>)",
        })
    }
}

impl fmt::Display for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}/{}", self.purpose, self.namespace, self.name)
    }
}

impl fmt::Display for ConsumerSetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.policy, self.method)
    }
}
