//! One exchange on an HTTP/1.1 connection, over pingora-core's client session.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use pingora_core::protocols::Stream as BoxedStream;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::{Error, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};

use super::error::{Stage, UpstreamError, UpstreamErrorKind};
use super::gate::Gate;
use super::pool::as_stream;
use super::stream::{Progress, Stream};
use super::upgraded::Upgraded;

pub(super) struct Http1 {
    session: HttpSession,
    gate: Arc<Gate>,
    /// The request is written, its end too.
    request_done: bool,
    /// The final response head is read.
    head_read: bool,
    /// The body came to its end without an error.
    body_done: bool,
}

/// A connection fit for another request.
pub(super) struct Reusable {
    pub(super) stream: BoxedStream,
    /// Seconds for which the backend promises to keep it (`Keep-Alive: timeout=5`).
    pub(super) promised: Option<u32>,
}

impl Http1 {
    /// None for a stream that is not ours, which no caller has.
    pub(super) fn new(stream: BoxedStream) -> Option<Self> {
        let ours = as_stream(&stream)?;
        ours.begin();
        let gate = Arc::clone(ours.gate());
        Some(Self { session: HttpSession::new(stream), gate, request_done: false, head_read: false, body_done: false })
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Held until the response is awaited, so that the first piece of body leaves with it.
    pub(super) async fn write_head(&mut self, head: Box<RequestHeader>, end: bool) -> Result<(), UpstreamError> {
        self.session.write_request_header(head).await.map_err(|_| self.error(UpstreamErrorKind::InvalidRequest))?;
        if end { self.finish().await } else { Ok(()) }
    }

    pub(super) async fn write_body(&mut self, chunk: &[u8]) -> Result<(), UpstreamError> {
        // An empty chunk is the last one under chunked framing: `finish` would then write a second, which the next
        // request on the connection would begin with.
        if chunk.is_empty() || self.request_done {
            return Ok(());
        }
        match self.session.write_body(chunk).await {
            Ok(Some(written)) if written == chunk.len() => Ok(()),
            // More than the Content-Length announced.
            _ => Err(self.error(UpstreamErrorKind::InvalidRequest)),
        }
    }

    /// Trailers have no way through pingora-core's HTTP/1 writer; the caller has dropped them.
    pub(super) async fn finish(&mut self) -> Result<(), UpstreamError> {
        if self.request_done {
            return Ok(());
        }
        self.session.finish_body().await.map_err(|_| self.error(UpstreamErrorKind::InvalidRequest))?;
        self.request_done = true;
        Ok(())
    }

    /// Cancel-safe: what was read of the head is kept.
    pub(super) async fn await_head(&mut self) -> Result<(), UpstreamError> {
        if let Err(error) = self.session.read_response().await {
            return Err(self.head_error(&error));
        }
        let Some(head) = self.session.resp_header() else {
            return Err(self.error(UpstreamErrorKind::Malformed));
        };
        if !head.status.is_informational() || head.status == http::StatusCode::SWITCHING_PROTOCOLS {
            self.head_read = true;
            if let Some(stream) = self.stream() {
                stream.head_complete();
            }
        }
        Ok(())
    }

    pub(super) fn head(&self) -> Option<&ResponseHeader> {
        self.session.resp_header()
    }

    pub(super) async fn read_head(&mut self) -> Result<Box<ResponseHeader>, UpstreamError> {
        self.await_head().await?;
        let Some(head) = self.session.resp_header() else {
            return Err(self.error(UpstreamErrorKind::Malformed));
        };
        // Without the map of header cases, which nobody asks for; a reason phrase of the backend's own is kept.
        let mut copy = Box::new(ResponseHeader::from(head.as_owned_parts()));
        copy.set_version(head.version);
        if let Some(reason) = head.get_reason_phrase()
            && head.status.canonical_reason() != Some(reason)
        {
            // It was parsed from a head, so it is a valid phrase.
            let _ = copy.set_reason_phrase(Some(reason));
        }
        Ok(copy)
    }

    /// Cancel-safe, as [`Http1::await_head`] is.
    pub(super) async fn read_body(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            match self.session.read_body_ref().await {
                Ok(Some([])) => {}
                Ok(Some(bytes)) => return Ok(Some(Bytes::copy_from_slice(bytes))),
                Ok(None) => {
                    self.body_done = true;
                    return Ok(None);
                }
                Err(error) => return Err(self.body_error(&error)),
            }
        }
    }

    pub(super) fn is_body_done(&mut self) -> bool {
        // After an error the session calls its body done as well; `read_body` has returned that error.
        self.head_read && (self.body_done || self.session.is_body_done())
    }

    pub(super) fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream().map_or(Poll::Ready(()), |stream| stream.poll_drained(cx))
    }

    /// The connection, if the exchange ended cleanly on both sides and the backend keeps it open.
    pub(super) fn into_reusable(mut self) -> Option<Reusable> {
        let clean = self.request_done
            && self.head_read
            && self.session.is_body_done()
            && self.stream().is_some_and(Stream::is_settled);
        if !clean {
            // One try to say goodbye; nothing to wait for.
            let _ = self.session.shutdown().now_or_never();
            return None;
        }
        self.session.respect_keepalive();
        let promised = self.promised();
        // Without keep-alive it closes the connection; surplus bytes do too. Never waits on our streams.
        let stream = self.session.reuse().now_or_never().flatten()?;
        Some(Reusable { stream, promised })
    }

    /// The raw connection after a 101, with what the backend sent behind its head.
    pub(super) fn into_upgraded(mut self) -> Option<Upgraded> {
        // What came with the head is handed out without touching the network; anything else it reads now is the
        // beginning of the same bytes.
        let early = match self.session.read_body_ref().now_or_never() {
            Some(Ok(Some(bytes))) => Bytes::copy_from_slice(bytes),
            _ => Bytes::new(),
        };
        let stream = self.session.into_inner().into_any().downcast::<Stream>().ok()?;
        Some(Upgraded::new(early, *stream))
    }

    fn stream(&self) -> Option<&Stream> {
        as_stream(self.session.stream())
    }

    fn promised(&self) -> Option<u32> {
        // A head is short: to walk through it is cheaper than to hash a name that is hardly ever there.
        let headers = &self.session.resp_header()?.headers;
        let value = headers.iter().find(|(name, _)| name.as_str() == "keep-alive")?.1.to_str().ok()?;
        let timeout = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
        timeout.trim().parse().ok()
    }

    fn progress(&self) -> Progress {
        let none = Progress { sent: 0, received: 0, over_budget: false };
        self.stream().map_or(none, Stream::progress)
    }

    fn error(&self, kind: UpstreamErrorKind) -> UpstreamError {
        let stage = if self.progress().received > 0 { Stage::InResponse } else { Stage::BeforeResponse };
        UpstreamError::new(kind, stage)
    }

    fn head_error(&self, error: &Error) -> UpstreamError {
        let progress = self.progress();
        let kind = match error.etype() {
            _ if progress.over_budget => UpstreamErrorKind::TooLarge,
            ErrorType::ReadError | ErrorType::ConnectionClosed if progress.received == 0 => {
                if progress.sent == 0 {
                    UpstreamErrorKind::UnsentReset
                } else {
                    UpstreamErrorKind::Reset
                }
            }
            ErrorType::ReadError | ErrorType::ConnectionClosed => UpstreamErrorKind::Truncated,
            _ => UpstreamErrorKind::Malformed,
        };
        self.error(kind)
    }

    fn body_error(&self, error: &Error) -> UpstreamError {
        self.error(match error.etype() {
            ErrorType::ReadError | ErrorType::ConnectionClosed => UpstreamErrorKind::Truncated,
            _ => UpstreamErrorKind::Malformed,
        })
    }
}
