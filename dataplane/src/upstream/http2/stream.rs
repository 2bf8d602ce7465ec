//! One exchange on a shared HTTP/2 connection.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Uri, Version, header};
use pingora_http::{RequestHeader, ResponseHeader};

use super::connection::Slot;
use super::errors::{classify, ends_connection};
use super::outgoing::Outgoing;
use crate::upstream::error::{Stage, UpstreamError, UpstreamErrorKind};
use crate::upstream::gate::Gate;

/// What HTTP/2 has no place for (RFC 9113, 8.2.2), `host` because `:authority` says it.
static NOT_IN_HTTP2: [HeaderName; 5] = [
    header::HOST,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

#[derive(Debug)]
pub(in crate::upstream) struct Http2 {
    slot: Slot,
    tls: bool,
    outgoing: Option<Outgoing>,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    /// The body came to its end; trailers may follow.
    body_done: bool,
    stage: Stage,
    gate: Arc<Gate>,
}

impl Http2 {
    pub(super) fn new(slot: Slot, tls: bool) -> Self {
        Self {
            slot,
            tls,
            outgoing: None,
            response: None,
            body: None,
            body_done: false,
            stage: Stage::BeforeResponse,
            gate: Arc::default(),
        }
    }

    pub(in crate::upstream) fn reused(&self) -> bool {
        self.slot.reused
    }

    pub(in crate::upstream) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(in crate::upstream) async fn write_head(
        &mut self,
        head: RequestHeader,
        end: bool,
    ) -> Result<(), UpstreamError> {
        let request = self.request(head)?;
        let ready = poll_fn(|cx| self.slot.send.poll_ready(cx)).await;
        ready.map_err(|error| self.unsent(&error))?;
        let (response, send) = self.slot.send.send_request(request, end).map_err(|error| self.unsent(&error))?;
        self.response = Some(response);
        self.outgoing = Some(Outgoing::new(send, end, Arc::clone(&self.gate)));
        Ok(())
    }

    /// Never waits: what the windows do not take is held, and the caller watches `pending`.
    pub(in crate::upstream) fn write_body(&mut self, chunk: Bytes) -> Result<(), UpstreamError> {
        let accepted = chunk.is_empty() || self.outgoing.as_mut().is_some_and(|outgoing| outgoing.push(chunk));
        // After an early answer the body may be cut short; the response says so, not the write.
        if accepted || self.outgoing.as_ref().is_some_and(Outgoing::is_sent) {
            return Ok(());
        }
        Err(UpstreamError::new(UpstreamErrorKind::InvalidRequest, self.stage))
    }

    pub(in crate::upstream) fn finish(&mut self, trailers: Option<HeaderMap>) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.finish(trailers.filter(|trailers| !trailers.is_empty()));
        }
    }

    /// Moves the request's body on until all of it left.
    pub(in crate::upstream) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_drained(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    pub(in crate::upstream) async fn read_head(&mut self) -> Result<Box<ResponseHeader>, UpstreamError> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    pub(in crate::upstream) async fn read_body(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        poll_fn(|cx| {
            let _ = self.poll_drained(cx);
            self.poll_body(cx)
        })
        .await
    }

    pub(in crate::upstream) async fn read_trailers(&mut self) -> Result<Option<HeaderMap>, UpstreamError> {
        poll_fn(|cx| {
            let _ = self.poll_drained(cx);
            match self.body.as_mut().map(|body| body.poll_trailers(cx)) {
                None => Poll::Ready(Ok(None)),
                Some(trailers) => {
                    let trailers = ready!(trailers);
                    Poll::Ready(trailers.map_err(|error| self.failed(&error)))
                }
            }
        })
        .await
    }

    pub(in crate::upstream) fn is_body_done(&self) -> bool {
        self.body_done
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Box<ResponseHeader>, UpstreamError>> {
        let _ = self.poll_drained(cx);
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err(UpstreamError::new(UpstreamErrorKind::InvalidRequest, self.stage)));
        };
        if let Poll::Ready(Some(Ok(informational))) = response.poll_informational(cx) {
            self.stage = Stage::InResponse;
            return Poll::Ready(Ok(Box::new(ResponseHeader::from(informational.into_parts().0))));
        }
        let response = match ready!(Pin::new(response).poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(self.failed(&error))),
        };
        self.response = None;
        self.stage = Stage::InResponse;
        let (parts, body) = response.into_parts();
        let ended = body.is_end_stream();
        self.body = Some(body);
        // `is_end_stream` is true after an error too (hyperium/h2#806): only the stream's own end counts.
        if ended && let Poll::Ready(Err(error)) = self.poll_body(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(Box::new(ResponseHeader::from(parts))))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, UpstreamError>> {
        while !self.body_done {
            let Some(body) = &mut self.body else { break };
            match ready!(body.poll_data(cx)) {
                None => self.body_done = true,
                Some(Err(error)) => return Poll::Ready(Err(self.failed(&error))),
                Some(Ok(bytes)) => {
                    // Given back at once: the caller reads no more before it has passed this on. It can fail only for
                    // more than was received.
                    let _ = body.flow_control().release_capacity(bytes.len());
                    if !bytes.is_empty() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
            }
        }
        Poll::Ready(Ok(None))
    }

    fn request(&self, head: RequestHeader) -> Result<http::Request<()>, UpstreamError> {
        let invalid = || UpstreamError::new(UpstreamErrorKind::InvalidRequest, self.stage);
        if !head.raw_path_is_utf8() {
            return Err(invalid());
        }
        let mut parts = http::request::Parts::from(head);
        let authority = match parts.uri.authority() {
            Some(authority) => authority.clone(),
            None => {
                let host = parts.headers.get(header::HOST).ok_or_else(invalid)?;
                Authority::try_from(host.as_bytes()).map_err(|_| invalid())?
            }
        };
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(if self.tls { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = Some(authority);
        uri.path_and_query = parts.uri.path_and_query().cloned().or_else(|| Some(PathAndQuery::from_static("/")));
        parts.uri = Uri::from_parts(uri).map_err(|_| invalid())?;
        parts.version = Version::HTTP_2;
        for name in &NOT_IN_HTTP2 {
            parts.headers.remove(name);
        }
        Ok(http::Request::from_parts(parts, ()))
    }

    /// The stream was never opened: whatever the error, the backend saw nothing of the request.
    fn unsent(&self, error: &h2::Error) -> UpstreamError {
        if ends_connection(error) {
            self.slot.connection.close();
        }
        let ours = !(error.is_go_away() || error.is_io() || error.is_reset());
        let kind = if ours { UpstreamErrorKind::InvalidRequest } else { UpstreamErrorKind::UnsentReset };
        UpstreamError::new(kind, self.stage)
    }

    fn failed(&self, error: &h2::Error) -> UpstreamError {
        if ends_connection(error) {
            self.slot.connection.close();
        }
        classify(error, self.stage)
    }
}
