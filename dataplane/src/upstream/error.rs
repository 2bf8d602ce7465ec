//! What may go wrong with a backend, by kind and never by text: nothing a peer or a library says leaves this module,
//! so no answer to a client can repeat it.

use std::fmt;

/// Why there is no connection. Nothing of the request was sent, so every kind may be tried on another endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the endpoint refused the connection; check that something listens there")]
    Refused,
    #[error("the connection was not ready in time; check the network or raise the connect timeout")]
    Timeout,
    #[error("TLS with the endpoint failed: {0}")]
    Tls(TlsReason),
    #[error("too many upstream connections are open on this worker; add replicas")]
    Overloaded,
    #[error("the backend's TLS material is broken; see the condition of the object that names it")]
    Misconfigured,
    #[error("the endpoint does not speak the protocol that the backend names; check its appProtocol")]
    Protocol,
}

/// Classes of TLS failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TlsReason {
    /// No chain to a trusted root.
    UntrustedIssuer,
    /// A valid certificate for another name.
    WrongName,
    /// Expired, not yet valid, revoked or malformed.
    BadCertificate,
    /// The backend asked for a certificate that we do not have, or refused ours.
    ClientCertificate,
    /// No common protocol version, cipher or ALPN.
    Negotiation,
    /// The handshake broke off.
    Broken,
}

impl ConnectError {
    /// Whether the endpoint itself failed (as opposed to our configuration or our limits): counts towards its back-off.
    pub(crate) fn blames_endpoint(self) -> bool {
        match self {
            Self::Refused | Self::Timeout | Self::Tls(_) | Self::Protocol => true,
            Self::Overloaded | Self::Misconfigured => false,
        }
    }
}

impl fmt::Display for TlsReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UntrustedIssuer => "its certificate has no chain to a trusted root; check the CA bundle",
            Self::WrongName => "its certificate carries another name; check hostname and subjectAltNames",
            Self::BadCertificate => "its certificate is expired or malformed; renew it",
            Self::ClientCertificate => "it wants another client certificate; check the one configured",
            Self::Negotiation => "no common version, cipher or protocol; check what it offers",
            Self::Broken => "the handshake broke off; check that the port speaks TLS",
        })
    }
}

/// Why an exchange on a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub(crate) struct UpstreamError {
    kind: UpstreamErrorKind,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum UpstreamErrorKind {
    #[error("the backend cannot have seen the request; it may be sent again")]
    UnsentReset,
    #[error("the backend closed the connection before its answer; check its log for a crash")]
    Reset,
    #[error("the backend's answer stopped half way; check its log for a crash")]
    Truncated,
    #[error("the backend's answer breaks the protocol; check what listens on its port")]
    Malformed,
    #[error("the backend's answer has a head larger than is accepted; shorten its headers")]
    TooLarge,
    #[error("the request cannot be written in the backend's protocol; check its headers")]
    InvalidRequest,
}

/// How far the exchange had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// No byte of a response had come.
    BeforeResponse,
    /// Part of the response was read.
    InResponse,
}

impl UpstreamError {
    pub(super) fn new(kind: UpstreamErrorKind, stage: Stage) -> Self {
        Self { kind, stage }
    }

    pub(crate) fn kind(&self) -> UpstreamErrorKind {
        self.kind
    }

    /// The backend cannot have acted on the request: resending is safe whatever the method.
    pub(crate) fn provably_unsent(&self) -> bool {
        self.kind == UpstreamErrorKind::UnsentReset
    }

    /// Nothing of a response was seen: what an idempotent request on a reused connection may be resent on.
    pub(crate) fn before_response(&self) -> bool {
        self.stage == Stage::BeforeResponse
    }
}
