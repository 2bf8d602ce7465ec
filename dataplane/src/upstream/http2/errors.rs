//! What an `h2` error means for a request.

use h2::{Error, Reason};

use crate::upstream::error::{Stage, UpstreamError, UpstreamErrorKind};

pub(super) fn classify(error: &Error, stage: Stage) -> UpstreamError {
    let before = stage == Stage::BeforeResponse;
    let broken_off = if before { UpstreamErrorKind::Reset } else { UpstreamErrorKind::Truncated };
    let kind = if is_unprocessed(error) && before {
        UpstreamErrorKind::UnsentReset
    } else if error.is_io() || error.is_remote() {
        broken_off
    } else if error.is_library() {
        // Our side of the protocol found fault with what came.
        UpstreamErrorKind::Malformed
    } else if error.reason().is_some() {
        broken_off
    } else {
        UpstreamErrorKind::InvalidRequest
    };
    UpstreamError::new(kind, stage)
}

/// Whether the connection can take no more streams.
pub(super) fn ends_connection(error: &Error) -> bool {
    error.is_go_away() || error.is_io()
}

/// REFUSED_STREAM, and streams above the last one that a GOAWAY names (`h2` fails no others with it), were not
/// processed in any way (RFC 9113, 8.7).
fn is_unprocessed(error: &Error) -> bool {
    error.is_remote() && (error.is_go_away() || (error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM)))
}
