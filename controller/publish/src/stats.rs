//! What the exporter of metrics reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one publisher, by relaxed atomics; whoever exports them reads them when asked.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections whose TLS handshake ended well.
    pub connections: AtomicU64,
    /// Handshakes that failed or took too long.
    pub handshakes_failed: AtomicU64,
    /// Client certificates given.
    pub certificates_issued: AtomicU64,
    /// Streams of data planes begun, and those open now.
    pub streams: AtomicU64,
    pub streams_open: AtomicU64,
    /// Updates sent, by kind.
    pub snapshots_sent: AtomicU64,
    pub deltas_sent: AtomicU64,
    /// Answers that refused an update as a whole.
    pub updates_refused: AtomicU64,
    /// Reports of peers that were merged.
    pub reports: AtomicU64,
    denied: [AtomicU64; DeniedReason::ALL.len()],
}

/// Why a peer was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedReason {
    /// No token, or no one of ours.
    Token,
    /// A good token or certificate, but of another Gateway.
    Gateway,
    /// No client certificate where one is needed.
    NoCertificate,
    /// Expired, of another CA, or without a name of ours.
    Certificate,
    /// Token and certificate name different pods.
    Mismatch,
    /// Speaks another schema.
    Schema,
    /// A message that cannot be read or is out of turn.
    Protocol,
    /// Too many streams.
    Limit,
    /// The token could not be reviewed.
    Unavailable,
}

impl DeniedReason {
    pub const ALL: [Self; 9] = [
        Self::Token,
        Self::Gateway,
        Self::NoCertificate,
        Self::Certificate,
        Self::Mismatch,
        Self::Schema,
        Self::Protocol,
        Self::Limit,
        Self::Unavailable,
    ];

    /// For a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Gateway => "gateway",
            Self::NoCertificate => "no_certificate",
            Self::Certificate => "certificate",
            Self::Mismatch => "mismatch",
            Self::Schema => "schema",
            Self::Protocol => "protocol",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Stats {
    pub fn denied(&self, why: DeniedReason) -> u64 {
        self.denied[why as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn deny(&self, why: DeniedReason) {
        count(&self.denied[why as usize]);
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
