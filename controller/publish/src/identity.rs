//! Who asks: pods by their ServiceAccount token first, by a certificate of ours afterwards.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use portcullis_ir::GatewayKey;

/// A pod that a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodIdentity {
    pub namespace: Arc<str>,
    pub pod: Arc<str>,
}

/// Says which pod a token speaks for. The controller asks the API server (TokenReview).
#[async_trait]
pub trait Identify: Send + Sync + 'static {
    /// The pod behind `token`, if it may have the configuration of `gateway`.
    async fn identify(&self, token: &str, gateway: &GatewayKey) -> Result<PodIdentity, Denied>;
}

/// Why somebody gets nothing. The text goes to the peer and to the log: no secrets in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token is wrong, expired or for another audience.
    #[error("the token is refused: {0}; mount a ServiceAccount token with the audience portcullis.dev/controller")]
    Token(String),
    /// A good token, but not of a pod of this Gateway.
    #[error("the token's pod may not have this Gateway: {0}")]
    Gateway(String),
    /// Nobody can say now; worth trying again.
    #[error("the token cannot be reviewed now: {0}; try again")]
    Unavailable(String),
}

/// Whom a client certificate of ours names, as its one URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A data plane: `spiffe://portcullis/ns/<ns>/gateway/<name>/pod/<pod>`.
    Pod { gateway: GatewayKey, pod: Arc<str> },
    /// Another replica of this controller: `spiffe://portcullis/controller/<pod>`.
    Controller { replica: Arc<str> },
}

const TRUST_DOMAIN: &str = "spiffe://portcullis/";

impl Subject {
    /// None: not a URI that we write.
    pub(crate) fn parse(uri: &str) -> Option<Self> {
        let segments: Vec<&str> = uri.strip_prefix(TRUST_DOMAIN)?.split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        match segments[..] {
            ["ns", namespace, "gateway", name, "pod", pod] => {
                Some(Self::Pod { gateway: GatewayKey::new(namespace, name), pod: pod.into() })
            }
            ["controller", replica] => Some(Self::Controller { replica: replica.into() }),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { gateway: GatewayKey { namespace, name }, pod } => {
                write!(f, "{TRUST_DOMAIN}ns/{namespace}/gateway/{name}/pod/{pod}")
            }
            Self::Controller { replica } => write!(f, "{TRUST_DOMAIN}controller/{replica}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_as_it_was_written_and_nothing_else_is() {
        for subject in [
            Subject::Pod { gateway: GatewayKey::new("team", "web"), pod: "portcullis-web-7d9-x".into() },
            Subject::Controller { replica: "portcullis-controller-0".into() },
        ] {
            assert_eq!(Subject::parse(&subject.to_string()), Some(subject));
        }
        for wrong in [
            "spiffe://other/ns/a/gateway/b/pod/c",
            "spiffe://portcullis/ns/a/gateway/b",
            "spiffe://portcullis/ns//gateway/b/pod/c",
            "spiffe://portcullis/ns/a/gateway/b/pod/c/d",
            "spiffe://portcullis/controller/",
            "https://portcullis/controller/a",
        ] {
            assert_eq!(Subject::parse(wrong), None, "{wrong}");
        }
    }
}
