//! The client's side of one exchange: an HTTP/1 request on a connection, or an HTTP/2 stream.
//!
//! All knowledge of the sessions below is in this module. Sending is taken at once and done when there is room
//! ([`Downstream::poll_flush`]); the loop asks [`Downstream::pending`] before it takes more from the backend.

mod encode;
mod h1;
mod h2;
mod peek;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

pub(super) use h1::{Between, H1, RawTarget, parse_again};
pub(super) use h2::H2;
pub(super) use peek::Peeking;
use peek::Unread;

/// How a response body is delimited towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body follows, whatever the headers say (HEAD, 204, 304).
    None,
    Length(u64),
    /// A body of no bytes, of which no length was said.
    Empty,
    /// Chunked, or to the end of the connection for clients that do not know chunks.
    Unknown,
}

/// A response head on its way to the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseHead<'a> {
    pub(super) status: StatusCode,
    /// Only if it is not the usual one.
    pub(super) reason: Option<&'a str>,
    /// Names of one connection are left out when it is sent, and so are those in `Connection`.
    pub(super) headers: &'a HeaderMap,
    /// Sent in place of those of the same names, so that nobody copies a map to add one.
    pub(super) extra: &'a [(HeaderName, HeaderValue)],
    pub(super) framing: Framing,
}

/// What a client sent.
#[derive(Debug)]
pub(super) enum Incoming {
    Chunk(Bytes),
    End(Option<HeaderMap>),
}

/// Why no more comes from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientError {
    /// It left, or reset the stream.
    Gone,
    /// Its body breaks the protocol.
    Malformed,
}

/// One per exchange, never moved after it was made: the difference in size is no copy.
#[allow(clippy::large_enum_variant)]
pub(super) enum Downstream {
    H1(H1),
    H2(H2),
}

impl Downstream {
    /// Whether [`Downstream::raw_head`] has something to give.
    pub(super) fn keeps_head(&self) -> bool {
        matches!(self, Self::H1(_))
    }

    /// The head as the client sent it, where that is kept.
    pub(super) fn raw_head(&self) -> Option<Bytes> {
        match self {
            Self::H1(h1) => Some(h1.raw_head()),
            Self::H2(_) => None,
        }
    }

    /// Whether the request has no body, or all of it was read.
    pub(super) fn request_done(&self) -> bool {
        let done = match self {
            Self::H1(h1) => h1.request_done(),
            Self::H2(h2) => h2.request_done(),
        };
        done && self.unread().is_empty()
    }

    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, ClientError>> {
        if let Some(incoming) = self.unread_mut().next() {
            return Poll::Ready(Ok(incoming));
        }
        self.poll_client(cx)
    }

    /// What comes from the client now, behind what was peeked at.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, ClientError>> {
        match self {
            Self::H1(h1) => h1.poll_body(cx),
            Self::H2(h2) => h2.poll_body(cx),
        }
    }

    fn unread(&self) -> &Unread {
        match self {
            Self::H1(h1) => h1.peeked(),
            Self::H2(h2) => h2.peeked(),
        }
    }

    fn unread_mut(&mut self) -> &mut Unread {
        match self {
            Self::H1(h1) => h1.peeked_mut(),
            Self::H2(h2) => h2.peeked_mut(),
        }
    }

    /// Ready when the client has left. Only after the end of the request's body.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H1(h1) => h1.io().poll_gone(cx),
            Self::H2(h2) => h2.poll_gone(cx),
        }
    }

    /// A 1xx other than 101. Clients that do not know them get nothing.
    pub(super) fn send_informational(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<(), ClientError> {
        match self {
            Self::H1(h1) => h1.send_informational(status, headers),
            Self::H2(h2) => return h2.send_informational(status, headers),
        }
        Ok(())
    }

    pub(super) fn send_head(&mut self, head: &ResponseHead<'_>) -> Result<(), ClientError> {
        match self {
            Self::H1(h1) => h1.send_head(head),
            Self::H2(h2) => return h2.send_head(head),
        }
        Ok(())
    }

    /// Empty chunks are dropped: on HTTP/1 they would be the end of the body.
    pub(super) fn send_body(&mut self, cx: &mut Context<'_>, chunk: Bytes) -> Result<(), ClientError> {
        if chunk.is_empty() {
            return Ok(());
        }
        match self {
            Self::H1(h1) => h1.send_body(cx, chunk),
            Self::H2(h2) => {
                h2.send_body(chunk);
                Ok(())
            }
        }
    }

    /// The response is complete.
    pub(super) fn finish(&mut self, trailers: Option<HeaderMap>) {
        match self {
            Self::H1(h1) => h1.finish(),
            Self::H2(h2) => h2.finish(trailers),
        }
    }

    /// Bytes taken and not yet sent.
    pub(super) fn pending(&self) -> usize {
        match self {
            Self::H1(h1) => h1.io().pending(),
            Self::H2(h2) => h2.pending(),
        }
    }

    /// Ready when everything taken has been sent.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        match self {
            Self::H1(h1) => h1.io().poll_flush(cx).map_err(|_| ClientError::Gone),
            Self::H2(h2) => h2.poll_flush(cx),
        }
    }

    /// The response cannot be completed: the client must not take what it has for the whole.
    pub(super) fn abort(&mut self) {
        match self {
            Self::H1(h1) => h1.abort(),
            Self::H2(h2) => h2.abort(),
        }
    }

    /// The client got less than the whole response.
    pub(super) fn is_broken(&self) -> bool {
        match self {
            Self::H1(h1) => h1.is_spoiled(),
            Self::H2(h2) => h2.is_aborted(),
        }
    }

    /// The request broke the protocol; a connection that brings only such requests is closed.
    pub(super) fn note_malformed(&mut self) {
        if let Self::H2(h2) = self {
            h2.note_malformed();
        }
    }

    pub(super) fn was_malformed(&self) -> bool {
        matches!(self, Self::H2(h2) if h2.was_malformed())
    }

    /// Whether a client that is still sending must be read from, lest it miss our answer. HTTP/2 says "enough" itself.
    pub(super) fn must_be_read(&self) -> bool {
        matches!(self, Self::H1(_))
    }

    /// No further request is taken on this connection; the response head says so if it is still to be sent.
    pub(super) fn close_after(&mut self) {
        if let Self::H1(h1) = self {
            h1.close_after();
        }
    }
}
