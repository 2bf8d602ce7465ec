//! A stream of an HTTP/2 connection, over the h2 crate directly: pingora-core's session has no way to request trailers
//! and informational responses.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, Response, StatusCode};

use super::{ClientError, Framing, Incoming, ResponseHead, Unread};
use crate::http::headers::{has_token, is_hop_by_hop, is_plain_connection};

pub(in crate::http) struct H2 {
    body: RecvStream,
    respond: SendResponse<Bytes>,
    send: Option<SendStream<Bytes>>,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// The response is complete in the queue; the trailers that end it.
    finish: Option<Option<HeaderMap>>,
    request_done: bool,
    /// Of the body: read already, and not handed on yet.
    peeked: Unread,
    head_request: bool,
    response_done: bool,
    aborted: bool,
    malformed: bool,
}

impl H2 {
    pub(in crate::http) fn new(body: RecvStream, respond: SendResponse<Bytes>, head_request: bool) -> Self {
        let request_done = body.is_end_stream();
        Self {
            body,
            respond,
            send: None,
            queue: VecDeque::new(),
            queued: 0,
            finish: None,
            request_done,
            peeked: Unread::default(),
            head_request,
            response_done: false,
            aborted: false,
            malformed: false,
        }
    }

    pub(super) fn peeked(&self) -> &Unread {
        &self.peeked
    }

    pub(super) fn peeked_mut(&mut self) -> &mut Unread {
        &mut self.peeked
    }

    pub(super) fn request_done(&self) -> bool {
        self.request_done
    }

    pub(super) fn pending(&self) -> usize {
        self.queued
    }

    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, ClientError>> {
        while !self.request_done {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(chunk)) => {
                    // The loop asks for more only when it has room: so the window follows the backend's pace.
                    self.body.flow_control().release_capacity(chunk.len()).map_err(client_error)?;
                    if !chunk.is_empty() {
                        return Poll::Ready(Ok(Incoming::Chunk(chunk)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(client_error(error))),
                None => {
                    let trailers = ready!(self.body.poll_trailers(cx)).map_err(client_error)?;
                    self.request_done = true;
                    return Poll::Ready(Ok(Incoming::End(trailers)));
                }
            }
        }
        Poll::Ready(Ok(Incoming::End(None)))
    }

    /// A reset, or the end of the connection.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.response_done {
            return Poll::Pending;
        }
        match &mut self.send {
            Some(send) => send.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        }
        .map(drop)
    }

    pub(super) fn send_informational(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<(), ClientError> {
        self.respond.send_informational(response(status, forwardable(headers, true))).map_err(client_error)
    }

    pub(super) fn send_head(&mut self, head: &ResponseHead<'_>) -> Result<(), ClientError> {
        let told = head.framing == Framing::None && head.status != StatusCode::NO_CONTENT;
        let mut headers = forwardable(head.headers, !told);
        for (name, value) in head.extra {
            headers.insert(name, value.clone());
        }
        if let Framing::Length(length) = head.framing {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let end = self.head_request || matches!(head.framing, Framing::None | Framing::Empty | Framing::Length(0));
        self.send = Some(self.respond.send_response(response(head.status, headers), end).map_err(client_error)?);
        self.response_done = end;
        Ok(())
    }

    /// gRPC's trailers-only answer: one head that ends the stream.
    pub(super) fn send_body(&mut self, chunk: Bytes) {
        if !self.response_done {
            self.queued += chunk.len();
            self.queue.push_back(chunk);
        }
    }

    pub(super) fn finish(&mut self, trailers: Option<HeaderMap>) {
        if !self.response_done && self.finish.is_none() {
            self.finish = Some(trailers);
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Ok(())) };
        while let Some(front) = self.queue.front_mut() {
            if send.capacity() == 0 {
                send.reserve_capacity(front.len());
            }
            while send.capacity() == 0 {
                match ready!(send.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Err(ClientError::Gone)),
                }
            }
            let piece = front.split_to(front.len().min(send.capacity()));
            let emptied = front.is_empty();
            if emptied {
                self.queue.pop_front();
            }
            self.queued -= piece.len();
            let end = self.queue.is_empty() && matches!(self.finish, Some(None));
            send.send_data(piece, end).map_err(client_error)?;
            if end {
                self.finish = None;
                self.response_done = true;
            }
        }
        match self.finish.take() {
            Some(Some(trailers)) => send.send_trailers(trailers).map_err(client_error)?,
            Some(None) => send.send_data(Bytes::new(), true).map_err(client_error)?,
            None => return Poll::Ready(Ok(())),
        }
        self.response_done = true;
        Poll::Ready(Ok(()))
    }

    pub(super) fn abort(&mut self) {
        self.aborted = true;
        self.reset(Reason::INTERNAL_ERROR);
    }

    pub(super) fn note_malformed(&mut self) {
        self.malformed = true;
    }

    pub(super) fn was_malformed(&self) -> bool {
        self.malformed
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted
    }

    pub(in crate::http) fn reset(&mut self, reason: Reason) {
        self.queue.clear();
        self.queued = 0;
        self.finish = None;
        self.response_done = true;
        match &mut self.send {
            Some(send) => send.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

fn response(status: StatusCode, headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What may be said on another connection.
fn forwardable(headers: &HeaderMap, without_length: bool) -> HeaderMap {
    let plain = headers.get(CONNECTION).is_none_or(|value| is_plain_connection(value.as_bytes()));
    let mut kept = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        let length = *name == CONTENT_LENGTH;
        if is_hop_by_hop(name) || (length && without_length) {
            continue;
        }
        if plain || length || !has_token(headers, &CONNECTION, name.as_str()) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// Errors of a body that ends in its frames are the client's fault; everything else means that it is gone.
// By value, as `map_err` hands it over.
#[allow(clippy::needless_pass_by_value)]
fn client_error(error: h2::Error) -> ClientError {
    match error.reason() {
        Some(Reason::PROTOCOL_ERROR) if error.is_library() => ClientError::Malformed,
        _ => ClientError::Gone,
    }
}
