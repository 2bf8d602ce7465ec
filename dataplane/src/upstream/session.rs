//! One exchange with a backend, whatever protocol it speaks.
//!
//! Reads are cancel-safe: a read that is dropped loses nothing, so the proxy loop may race it with the other
//! direction. Writes do not wait while less than [`super::WRITE_BEHIND_HIGH`] is pending; what they hold leaves while
//! the response is awaited.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use pingora_core::protocols::Stream as BoxedStream;
use pingora_http::{RequestHeader, ResponseHeader};

use super::endpoints::Endpoint;
use super::error::UpstreamError;
use super::gate::{Drained, Gate};
use super::http1::Http1;
use super::http2::Http2;
use super::pool::{Pool, PoolKey};
use super::upgraded::Upgraded;

pub(crate) struct Upstream {
    exchange: Exchange,
    pool: Arc<Pool>,
    key: PoolKey,
    endpoint: Arc<Endpoint>,
    reused: bool,
    #[cfg_attr(not(test), allow(dead_code, reason = "what tests ask a connection"))]
    tls: bool,
    /// Of an HTTP/2 exchange; an HTTP/1 session keeps its own.
    head: Option<Box<ResponseHeader>>,
}

enum Exchange {
    Http1(Box<Http1>),
    Http2(Box<Http2>),
}

/// Where a connection belongs.
pub(super) struct Origin {
    pub(super) pool: Arc<Pool>,
    pub(super) key: PoolKey,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) tls: bool,
}

impl Upstream {
    /// None for a stream that is not ours, which no caller has.
    pub(super) fn http1(stream: BoxedStream, reused: bool, origin: Origin) -> Option<Self> {
        let Origin { pool, key, endpoint, tls } = origin;
        let exchange = Exchange::Http1(Box::new(Http1::new(stream)?));
        Some(Self { exchange, pool, key, endpoint, reused, tls, head: None })
    }

    pub(super) fn http2(stream: Http2, origin: Origin) -> Self {
        let Origin { pool, key, endpoint, tls } = origin;
        let reused = stream.reused();
        Self { exchange: Exchange::Http2(Box::new(stream)), pool, key, endpoint, reused, tls, head: None }
    }

    /// Whether the connection served a request before: it may have died unseen.
    pub(crate) fn reused(&self) -> bool {
        self.reused
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.exchange, Exchange::Http2(_))
    }

    #[cfg(test)]
    pub(crate) fn tls(&self) -> bool {
        self.tls
    }

    /// Writes the request's head; `end` says that no body follows. On HTTP/1 the head's `content-length` or
    /// `transfer-encoding` decides how the body is framed; on HTTP/2 the pseudo headers come from the URI and `host`,
    /// and what HTTP/2 has no place for is left out.
    pub(crate) async fn write_head(&mut self, head: Box<RequestHeader>, end: bool) -> Result<(), UpstreamError> {
        match &mut self.exchange {
            Exchange::Http1(http1) => http1.write_head(head, end).await,
            Exchange::Http2(http2) => http2.write_head(*head, end).await,
        }
    }

    /// Writes a piece of the body; an empty piece is nothing.
    pub(crate) async fn write_body(&mut self, chunk: Bytes) -> Result<(), UpstreamError> {
        match &mut self.exchange {
            Exchange::Http1(http1) => http1.write_body(&chunk).await,
            Exchange::Http2(http2) => http2.write_body(chunk),
        }
    }

    /// Ends the body. Trailers reach HTTP/2 backends only.
    pub(crate) async fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), UpstreamError> {
        match &mut self.exchange {
            Exchange::Http1(http1) => http1.finish().await,
            Exchange::Http2(http2) => {
                http2.finish(trailers);
                Ok(())
            }
        }
    }

    /// Request bytes that are written but not yet taken by the network.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.gate().pending()
    }

    /// Resolves when few enough bytes are pending that more of the body may be read. Owns what it needs, so it may be
    /// awaited beside a read; that read moves the bytes.
    pub(crate) fn drained(&self) -> Drained {
        Drained(Arc::clone(self.gate()))
    }

    /// Moves pending bytes on until none is left, for callers that do not read meanwhile. Failures show at the read.
    pub(crate) async fn flush(&mut self) {
        poll_fn(|cx| match &mut self.exchange {
            Exchange::Http1(http1) => http1.poll_drained(cx),
            Exchange::Http2(http2) => http2.poll_drained(cx),
        })
        .await;
    }

    /// Reads the next head: informational ones too, so read on until a final one (or 101). [`Upstream::head`] lends it.
    pub(crate) async fn await_head(&mut self) -> Result<(), UpstreamError> {
        match &mut self.exchange {
            Exchange::Http1(http1) => http1.await_head().await,
            Exchange::Http2(http2) => {
                self.head = Some(http2.read_head().await?);
                Ok(())
            }
        }
    }

    /// The head that was read last.
    pub(crate) fn head(&self) -> Option<&ResponseHeader> {
        match &self.exchange {
            Exchange::Http1(http1) => http1.head(),
            Exchange::Http2(_) => self.head.as_deref(),
        }
    }

    /// As [`Upstream::await_head`], for callers that keep it.
    pub(crate) async fn read_head(&mut self) -> Result<Box<ResponseHeader>, UpstreamError> {
        match &mut self.exchange {
            Exchange::Http1(http1) => http1.read_head().await,
            Exchange::Http2(http2) => http2.read_head().await,
        }
    }

    /// The next piece of body, never empty; none at its end. A body that stops short is an error.
    pub(crate) async fn read_body(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        match &mut self.exchange {
            Exchange::Http1(http1) => http1.read_body().await,
            Exchange::Http2(http2) => http2.read_body().await,
        }
    }

    /// Whether the body is known to have ended (or never to come). Trailers may still follow on HTTP/2.
    pub(crate) fn is_body_done(&mut self) -> bool {
        match &mut self.exchange {
            Exchange::Http1(http1) => http1.is_body_done(),
            Exchange::Http2(http2) => http2.is_body_done(),
        }
    }

    /// Trailers, after the body. HTTP/1 trailers are read over and dropped.
    pub(crate) async fn read_trailers(&mut self) -> Result<Option<HeaderMap>, UpstreamError> {
        match &mut self.exchange {
            Exchange::Http1(_) => Ok(None),
            Exchange::Http2(http2) => http2.read_trailers().await,
        }
    }

    /// The raw connection after a 101; none on HTTP/2, where there is no such thing.
    pub(crate) fn upgrade(self) -> Option<Upgraded> {
        match self.exchange {
            Exchange::Http1(http1) => http1.into_upgraded(),
            Exchange::Http2(_) => None,
        }
    }

    /// Gives the connection back for reuse if `keep` and the exchange ended cleanly; closes it (resets the stream)
    /// otherwise, as dropping does.
    pub(crate) fn release(self, keep: bool) {
        if !keep {
            return;
        }
        self.endpoint.connected();
        if let Exchange::Http1(http1) = self.exchange
            && let Some(reusable) = http1.into_reusable()
        {
            self.pool.put(self.key, self.endpoint, reusable.stream, reusable.promised);
        }
    }

    fn gate(&self) -> &Arc<Gate> {
        match &self.exchange {
            Exchange::Http1(http1) => http1.gate(),
            Exchange::Http2(http2) => http2.gate(),
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("endpoint", &self.endpoint)
            .field("http2", &self.is_http2())
            .field("reused", &self.reused)
            .finish_non_exhaustive()
    }
}
