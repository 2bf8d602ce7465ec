//! Turning somebody away: one status, one log line, one count.

use portcullis_wire::InvalidMessage;
use tonic::{Code, Status};

use super::accept::Peer;
use crate::{Denied, DeniedReason, Stats};

/// Why a call is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    reason: DeniedReason,
    message: String,
}

impl Refusal {
    pub(super) fn new(reason: DeniedReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Tells everybody but the peer, who gets the status.
    pub(super) fn tell(self, stats: &Stats, peer: &Peer, who: &str) -> Status {
        let Self { reason, message } = self;
        stats.deny(reason);
        tracing::warn!(peer = %peer.address, who, reason = reason.label(), message, "a peer is turned away");
        let code = match reason {
            DeniedReason::Token | DeniedReason::NoCertificate | DeniedReason::Certificate => Code::Unauthenticated,
            DeniedReason::Gateway | DeniedReason::Mismatch => Code::PermissionDenied,
            DeniedReason::Schema => Code::FailedPrecondition,
            DeniedReason::Protocol => Code::InvalidArgument,
            DeniedReason::Limit => Code::ResourceExhausted,
            DeniedReason::Unavailable => Code::Unavailable,
        };
        Status::new(code, message)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let reason = match &denied {
            Denied::Token(_) => DeniedReason::Token,
            Denied::Gateway(_) => DeniedReason::Gateway,
            Denied::Unavailable(_) => DeniedReason::Unavailable,
        };
        Self::new(reason, denied.to_string())
    }
}

impl From<InvalidMessage> for Refusal {
    fn from(invalid: InvalidMessage) -> Self {
        let reason = match &invalid {
            InvalidMessage::Schema { .. } => DeniedReason::Schema,
            _ => DeniedReason::Protocol,
        };
        Self::new(reason, invalid.to_string())
    }
}
