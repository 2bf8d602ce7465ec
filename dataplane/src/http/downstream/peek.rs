//! The beginning of a request's body, read before anybody is sent it.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use portcullis_external::RequestBody;

use super::{Downstream, Incoming};
use crate::http::head::{Body, Facts};
use crate::http::headers::Seen;
use crate::policy::{ClientGone, Peek};

/// Nothing for almost every request: so it is a box, and costs a client that nobody peeks at a word.
#[derive(Debug, Default)]
pub(super) struct Unread(Option<Box<Peeked>>);

/// In the order in which it came.
#[derive(Debug, Default)]
struct Peeked {
    chunks: VecDeque<Bytes>,
    length: usize,
    /// It ended, with trailers perhaps.
    end: Option<Option<HeaderMap>>,
}

impl Unread {
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|peeked| peeked.chunks.is_empty() && peeked.end.is_none())
    }

    pub(super) fn next(&mut self) -> Option<Incoming> {
        let peeked = self.0.as_mut()?;
        match peeked.chunks.pop_front() {
            Some(chunk) => {
                peeked.length -= chunk.len();
                Some(Incoming::Chunk(chunk))
            }
            None => peeked.end.take().map(Incoming::End),
        }
    }

    fn push(&mut self, incoming: Incoming) {
        let peeked = self.0.get_or_insert_default();
        match incoming {
            Incoming::Chunk(chunk) => {
                peeked.length += chunk.len();
                peeked.chunks.push_back(chunk);
            }
            Incoming::End(trailers) => peeked.end = Some(trailers),
        }
    }

    fn length(&self) -> usize {
        self.0.as_ref().map_or(0, |peeked| peeked.length)
    }

    fn ended(&self) -> bool {
        self.0.as_ref().is_some_and(|peeked| peeked.end.is_some())
    }

    fn first(&self, max: usize) -> RequestBody {
        let whole = self.ended() && self.length() <= max;
        let mut bytes = BytesMut::with_capacity(self.length().min(max));
        for chunk in self.0.iter().flat_map(|peeked| &peeked.chunks) {
            let room = max - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        RequestBody { bytes: bytes.freeze(), whole }
    }
}

/// A client that policies may look at.
pub(in crate::http) struct Peeking<'a> {
    down: &'a mut Downstream,
    /// It sends its body once it is told to (RFC 9110, 10.1.1).
    expects: bool,
    length: Option<u64>,
}

impl<'a> Peeking<'a> {
    pub(in crate::http) fn new(down: &'a mut Downstream, facts: &Facts) -> Self {
        let length = match facts.body {
            Body::Length(length) => Some(length),
            Body::None | Body::Unknown => None,
        };
        Self { down, expects: facts.seen.has(Seen::EXPECT), length }
    }
}

impl Peek for Peeking<'_> {
    fn poll_peek(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<Result<RequestBody, ClientGone>> {
        if std::mem::take(&mut self.expects) {
            let told = self.down.send_informational(StatusCode::CONTINUE, &HeaderMap::new());
            told.map_err(|_| ClientGone)?;
        }
        // Whatever is to be sent leaves meanwhile; that it has not left yet is no reason to wait.
        if let Poll::Ready(Err(_)) = self.down.poll_flush(cx) {
            return Poll::Ready(Err(ClientGone));
        }
        loop {
            let unread = self.down.unread();
            let announced = self.length.is_some_and(|length| unread.length() as u64 >= length);
            if unread.length() >= max && !announced || unread.ended() {
                return Poll::Ready(Ok(unread.first(max)));
            }
            let incoming = ready!(self.down.poll_client(cx)).map_err(|_| ClientGone)?;
            self.down.unread_mut().push(incoming);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_peeked_at_comes_again_in_its_order() {
        let mut unread = Unread::default();
        assert!(unread.is_empty() && unread.next().is_none());
        for chunk in ["abc", "def"] {
            unread.push(Incoming::Chunk(Bytes::from_static(chunk.as_bytes())));
        }
        assert_eq!(unread.first(4), RequestBody { bytes: Bytes::from_static(b"abcd"), whole: false });
        unread.push(Incoming::End(None));
        assert_eq!(unread.first(6), RequestBody { bytes: Bytes::from_static(b"abcdef"), whole: true });
        assert!(!unread.first(5).whole);
        let mut read = Vec::new();
        while let Some(incoming) = unread.next() {
            match incoming {
                Incoming::Chunk(chunk) => read.extend_from_slice(&chunk),
                Incoming::End(_) => read.push(b'.'),
            }
        }
        assert_eq!(read, b"abcdef.");
        assert!(unread.is_empty());
    }
}
