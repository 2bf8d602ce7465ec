//! An HTTP/1 request: pingora-core's session parses heads and bodies, answers are written by us.

use std::future::Future;
use std::io::{self, Cursor};
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_http::RequestHeader;

use super::encode::{self, Persistence};
use super::{ClientError, Framing, Incoming, ResponseHead, Unread};
use crate::http::io::Io;

pub(in crate::http) struct H1 {
    /// Apart, because it is large and a request is handed on often.
    session: Box<HttpSession>,
    io: Io,
    version_10: bool,
    head_request: bool,
    keep_alive: bool,
    /// The response was broken off, or the connection carries something else now.
    spoiled: bool,
    request_done: bool,
    /// Of the body: read already, and not handed on yet.
    peeked: Unread,
    response: Response,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Response {
    None,
    /// Bytes that are still owed.
    Length(u64),
    Chunked,
    ToClose,
    Done,
}

/// A connection between two requests: the stream, and what the client sent ahead.
pub(in crate::http) type Between = (Stream, Option<BytesMut>);

impl H1 {
    /// Takes a session whose request head has been read, and gives that head.
    pub(in crate::http) fn new(mut session: Box<HttpSession>, io: Io) -> (Self, Box<Parts>, RawTarget) {
        // Before the head is taken: the session reads the body's framing from it, once.
        let request_done = session.is_body_done();
        let keep_alive = session.will_keepalive();
        let (parts, raw) = take_head(&mut session);
        let version_10 = parts.version < Version::HTTP_11;
        let head_request = parts.method == Method::HEAD;
        let response = Response::None;
        (
            Self {
                session,
                io,
                version_10,
                head_request,
                keep_alive,
                spoiled: false,
                request_done,
                peeked: Unread::default(),
                response,
            },
            parts,
            raw,
        )
    }

    /// A session whose head was refused: only an answer can follow, and the end of the connection.
    pub(in crate::http) fn unread(session: Box<HttpSession>, io: Io) -> Self {
        Self {
            session,
            io,
            version_10: false,
            head_request: false,
            keep_alive: false,
            spoiled: false,
            request_done: false,
            peeked: Unread::default(),
            response: Response::None,
        }
    }

    pub(super) fn io(&self) -> &Io {
        &self.io
    }

    /// Never of a refused head, which goes nowhere.
    pub(super) fn raw_head(&self) -> Bytes {
        self.session.get_headers_raw_bytes()
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

    pub(super) fn close_after(&mut self) {
        self.keep_alive = false;
    }

    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, ClientError>> {
        loop {
            let read = {
                let future = pin!(self.session.read_body_bytes());
                ready!(future.poll(cx))
            };
            return Poll::Ready(match read {
                // The session may give an empty chunk: that is no end.
                Ok(Some(chunk)) if chunk.is_empty() => continue,
                Ok(Some(chunk)) => Ok(Incoming::Chunk(chunk)),
                Ok(None) => {
                    self.request_done = true;
                    Ok(Incoming::End(None))
                }
                Err(error) => {
                    self.keep_alive = false;
                    let broken = matches!(error.etype().as_str(), "InvalidChunk" | "InvalidTrailerEnd");
                    Err(if broken { ClientError::Malformed } else { ClientError::Gone })
                }
            });
        }
    }

    pub(super) fn send_informational(&mut self, status: StatusCode, headers: &HeaderMap) {
        if !self.version_10 {
            self.io.write(|out| encode::informational(out, status, headers));
        }
    }

    pub(super) fn send_head(&mut self, head: &ResponseHead<'_>) {
        // A client that is still sending cannot be told where the next request begins.
        if !self.request_done {
            self.keep_alive = false;
        }
        self.response = match head.framing {
            _ if self.head_request => Response::Done,
            Framing::None | Framing::Empty | Framing::Length(0) => Response::Done,
            Framing::Length(length) => Response::Length(length),
            Framing::Unknown if self.version_10 => {
                self.keep_alive = false;
                Response::ToClose
            }
            Framing::Unknown => Response::Chunked,
        };
        let persistence = match (self.keep_alive, self.version_10) {
            (false, _) => Persistence::Close,
            (true, true) => Persistence::KeepAlive,
            (true, false) => Persistence::Default,
        };
        let chunked = self.response == Response::Chunked;
        self.io.write(|out| encode::head(out, head, chunked, persistence));
    }

    /// 101: what follows is no HTTP.
    pub(in crate::http) fn send_upgrade(
        &mut self,
        headers: &HeaderMap,
        extra: &[(HeaderName, HeaderValue)],
        protocol: &HeaderValue,
    ) {
        let status = StatusCode::SWITCHING_PROTOCOLS;
        let head = ResponseHead { status, reason: None, headers, extra, framing: Framing::None };
        self.io.write(|out| encode::head(out, &head, false, Persistence::Upgrade(protocol)));
        self.response = Response::Done;
    }

    pub(super) fn send_body(&mut self, cx: &mut Context<'_>, mut chunk: Bytes) -> Result<(), ClientError> {
        let gone = |_: io::Error| ClientError::Gone;
        match &mut self.response {
            Response::None | Response::Done => Ok(()),
            Response::ToClose => self.io.write_chunk(cx, chunk).map_err(gone),
            Response::Length(owed) => {
                let length = chunk.len() as u64;
                if length > *owed {
                    chunk.truncate(usize::try_from(*owed).unwrap_or(usize::MAX));
                }
                *owed = owed.saturating_sub(length);
                self.io.write_chunk(cx, chunk).map_err(gone)
            }
            Response::Chunked => {
                self.io.write(|out| encode::chunk_head(out, chunk.len()));
                self.io.write_chunk(cx, chunk).map_err(gone)?;
                self.io.write(|out| out.extend_from_slice(b"\r\n"));
                Ok(())
            }
        }
    }

    pub(super) fn finish(&mut self) {
        match self.response {
            Response::Chunked => self.io.write(|out| out.extend_from_slice(b"0\r\n\r\n")),
            // Fewer bytes than announced: the client must see that the connection ends.
            Response::Length(owed) if owed > 0 => self.spoiled = true,
            Response::None | Response::Length(_) | Response::ToClose | Response::Done => {}
        }
        self.response = Response::Done;
    }

    pub(super) fn abort(&mut self) {
        if matches!(self.response, Response::ToClose) {
            self.io.reset_on_close();
        }
        self.spoiled = true;
        self.keep_alive = false;
    }

    /// Whether all that the client announced was read.
    pub(in crate::http) fn is_read(&self) -> bool {
        self.request_done
    }

    pub(super) fn is_spoiled(&self) -> bool {
        self.spoiled
    }

    /// The stream for the next request; none if there is to be none.
    pub(in crate::http) fn into_next(self) -> Option<Between> {
        let reusable = self.keep_alive && !self.spoiled && self.request_done;
        if reusable { Self::between(self.session) } else { None }
    }

    /// What the client sent behind its request, for a connection that is no longer HTTP.
    pub(in crate::http) fn into_upgraded(self) -> BytesMut {
        Self::between(self.session).and_then(|(_, early)| early).unwrap_or_default()
    }

    fn between(session: Box<HttpSession>) -> Option<Between> {
        // The request was read to its end: nothing is drained here, so this never waits.
        let mut reusing = pin!((*session).reuse());
        let reused = reusing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(reused) = reused else { return None };
        reused.ok().flatten().map(pingora_core::protocols::http::ReusableHttpStream::into_parts)
    }
}

/// Parses a head that was parsed before.
pub(in crate::http) fn parse_again(raw: &[u8]) -> Option<(Box<Parts>, RawTarget)> {
    let mut session = HttpSession::new(Box::new(Cursor::new(raw.to_vec())));
    session.read_request().now_or_never()?.ok()??;
    Some(take_head(&mut session))
}

fn take_head(session: &mut HttpSession) -> (Box<Parts>, RawTarget) {
    let blank = RequestHeader::from(http::Request::new(()).into_parts().0);
    let header = std::mem::replace(session.req_header_mut(), blank);
    let raw = RawTarget::of(&header);
    (Box::new(Parts::from(header)), raw)
}

/// What only the raw request target tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) enum RawTarget {
    /// Path and query, or `*`: as in the URI.
    Origin,
    /// `http://authority/…`: its authority.
    Absolute(Box<str>),
    /// Nothing that we serve.
    Other,
}

impl RawTarget {
    fn of(header: &RequestHeader) -> Self {
        use pingora_http::authority::{RawTargetAuthority, raw_target_authority};
        let raw = header.raw_path();
        if !header.raw_path_is_utf8() {
            return Self::Other;
        }
        if raw.first() == Some(&b'/') || raw == b"*" {
            return Self::Origin;
        }
        match raw_target_authority(raw) {
            RawTargetAuthority::Absolute { scheme, authority, .. }
                if scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https") =>
            {
                std::str::from_utf8(authority).map_or(Self::Other, |authority| Self::Absolute(authority.into()))
            }
            _ => Self::Other,
        }
    }
}
