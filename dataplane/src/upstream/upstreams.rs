//! A worker's way to all backends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_ir as ir;

use super::backend::{BackendProgram, Transport};
use super::balance::Rng;
use super::connect::{Limit, dial};
use super::endpoints::{Endpoint, EndpointRef};
use super::error::ConnectError;
use super::http2::{self, Opened, Site};
use super::pool::{Pool, PoolKey};
use super::raw::{self, Carry, Raw};
use super::session::{Origin, Upstream};
use super::stream::{OpenGuard, Stream};
use super::tls::plain_identity;
use super::wire::Wire;
use crate::settings::HttpLimits;

/// How long connecting may take when nothing else bounds it; the backend's own timeout is shorter.
pub(crate) const CONNECT_BOUND: Duration = Duration::from_secs(60);
/// How long the first who asks for a name waits for its addresses.
const RESOLVE_BOUND: Duration = Duration::from_secs(5);

/// What kind of connection a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Any,
    /// No HTTP/1 connection that was used before: what a retry asks for after one of those failed.
    Fresh,
    /// HTTP/1.1, for an upgrade.
    Http1Only,
    /// HTTP/2 even where the backend does not say that it speaks it (gRPC): with prior knowledge on plain text, by ALPN
    /// on TLS.
    Http2,
}

#[derive(Debug)]
pub(crate) struct Upstreams {
    pool: Arc<Pool>,
    rng: Rng,
}

impl Upstreams {
    /// One per worker, with a seed of its own.
    pub(crate) fn new(limits: &HttpLimits, seed: u64) -> Self {
        Self { pool: Pool::new(limits), rng: Rng::new(seed) }
    }

    /// An endpoint for one request, counted as in flight until dropped; `avoid` is the one that a retry comes from.
    pub(crate) fn pick(&self, backend: &BackendProgram, avoid: Option<&Endpoint>) -> Option<EndpointRef> {
        backend.pick(&self.rng, avoid)
    }

    /// As [`Upstreams::pick`]. Names that were never resolved: whoever asks first waits instead of failing. At once for
    /// everything else.
    pub(crate) async fn pick_resolved(
        &self,
        backend: &BackendProgram,
        avoid: Option<&Endpoint>,
    ) -> Option<EndpointRef> {
        if let Some(endpoint) = self.pick(backend, avoid) {
            return Some(endpoint);
        }
        let _ = tokio::time::timeout(RESOLVE_BOUND, backend.resolved_once()).await;
        self.pick(backend, avoid)
    }

    /// A connection to the endpoint, as the backend asks: a kept one that is still good, a place on a shared one, or a
    /// new one that stands by `deadline` and within the backend's connect timeout.
    pub(crate) async fn connect(
        &self,
        backend: &Arc<BackendProgram>,
        endpoint: &EndpointRef,
        want: Want,
        deadline: Instant,
    ) -> Result<Upstream, ConnectError> {
        let (identity, protocol) = match (&backend.transport, want) {
            // As backends that say it: what is pooled for them is fit for this, and the other way round.
            (Transport::Plain, Want::Http2) => (plain_identity(ir::Protocol::Http2), ir::Protocol::Http2),
            _ => (backend.identity, backend.backend.protocol),
        };
        let key = PoolKey { identity, address: endpoint.address() };
        let (may_http1, may_http2) = match (&backend.transport, protocol) {
            (Transport::Broken(_) | Transport::Denied(_), _) => return Err(ConnectError::Misconfigured),
            (Transport::Plain, ir::Protocol::Http) => (true, false),
            (Transport::Tls(_), ir::Protocol::Http) => (want != Want::Http2, want != Want::Http1Only),
            (_, ir::Protocol::Http2) => (false, true),
        };
        if want == Want::Http1Only && !may_http1 {
            return Err(ConnectError::Protocol);
        }
        if may_http2 {
            // Boxed: making a connection is the rare case, and its future is large.
            match Box::pin(http2::open(self.site(backend, endpoint, key, protocol), deadline)).await? {
                Opened::Http2(stream) => return Ok(Upstream::http2(stream, self.origin(backend, endpoint, key))),
                Opened::Http1(_) if !may_http1 => return Err(ConnectError::Protocol),
                Opened::Http1(Some((wire, open))) => return self.fresh_http1(wire, open, backend, endpoint, key),
                Opened::Http1(None) => {}
            }
        }
        if want != Want::Fresh
            && let Some(stream) = self.pool.take(key)
            && let Some(upstream) = Upstream::http1(stream, true, self.origin(backend, endpoint, key))
        {
            return Ok(upstream);
        }
        Box::pin(self.dial_http1(backend, endpoint, key, want, deadline)).await
    }

    /// A new connection of bytes, never kept for another: over TLS if the backend asks for it, and never without. It
    /// stands by `deadline` and within the backend's connect timeout; the outcome counts for or against the endpoint.
    pub(crate) async fn connect_raw(
        &self,
        backend: &BackendProgram,
        endpoint: &EndpointRef,
        carry: Carry,
        deadline: Instant,
    ) -> Result<Raw, ConnectError> {
        let open = self.pool.open().ok_or(ConnectError::Overloaded)?;
        let limit = Limit::new(backend, deadline);
        let dialled = raw::dial(backend, endpoint.address(), carry, limit.deadline).await;
        limit.judge(endpoint, dialled.as_ref().map(|_| ()).map_err(|error| *error));
        Ok(Raw::new(dialled?, open))
    }

    /// Idle HTTP/1 connections and open ones of any kind.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.pool.counts()
    }

    /// A second has passed; what the pool's own task says once a second. Whether anything is left to sweep.
    #[cfg(test)]
    pub(super) fn sweep(&self) -> bool {
        self.pool.sweep()
    }

    async fn dial_http1(
        &self,
        backend: &Arc<BackendProgram>,
        endpoint: &EndpointRef,
        key: PoolKey,
        want: Want,
        deadline: Instant,
    ) -> Result<Upstream, ConnectError> {
        let open = self.pool.open().ok_or(ConnectError::Overloaded)?;
        let limit = Limit::new(backend, deadline);
        let protocol = backend.backend.protocol;
        let dialled = dial(backend, protocol, key.address, want == Want::Http1Only, limit.deadline).await;
        limit.judge(endpoint, dialled.as_ref().map(|_| ()).map_err(|error| *error));
        // The far side may have learnt HTTP/2 since it last chose.
        match http2::adopt(self.site(backend, endpoint, key, protocol), dialled?, open, limit.deadline).await? {
            Opened::Http2(stream) => Ok(Upstream::http2(stream, self.origin(backend, endpoint, key))),
            Opened::Http1(Some((wire, open))) => self.fresh_http1(wire, open, backend, endpoint, key),
            Opened::Http1(None) => Err(ConnectError::Protocol),
        }
    }

    fn fresh_http1(
        &self,
        wire: Wire,
        open: OpenGuard,
        backend: &BackendProgram,
        endpoint: &EndpointRef,
        key: PoolKey,
    ) -> Result<Upstream, ConnectError> {
        let stream = Box::new(Stream::new(wire, open));
        // Always one of ours; a wrong answer would be a refused request, never a panic.
        Upstream::http1(stream, false, self.origin(backend, endpoint, key)).ok_or(ConnectError::Protocol)
    }

    fn site<'a>(
        &'a self,
        backend: &'a BackendProgram,
        endpoint: &'a EndpointRef,
        key: PoolKey,
        protocol: ir::Protocol,
    ) -> Site<'a> {
        Site { pool: &self.pool, key, backend, endpoint: endpoint.shared(), protocol }
    }

    fn origin(&self, backend: &BackendProgram, endpoint: &EndpointRef, key: PoolKey) -> Origin {
        Origin { pool: Arc::clone(&self.pool), key, endpoint: Arc::clone(endpoint.shared()), tls: backend.is_tls() }
    }
}
