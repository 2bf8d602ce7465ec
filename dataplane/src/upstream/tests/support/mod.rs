//! What the stories are told with: a worker's upstream side, backends made of scripts, certificates.

pub(super) mod authority;
pub(super) mod http2_backend;
pub(super) mod name_server;
pub(super) mod raw_backend;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora_http::{RequestHeader, ResponseHeader};
use portcullis_ir as ir;

use crate::settings::HttpLimits;
use crate::upstream::{BackendProgram, ConnectError, Upkeep, Upstream, UpstreamError, Upstreams, Want};

/// Nothing here takes a second unless it hangs.
pub(in crate::upstream::tests) const PATIENCE: Duration = Duration::from_secs(30);

pub(in crate::upstream::tests) struct World {
    pub(in crate::upstream::tests) upkeep: Arc<Upkeep>,
    pub(in crate::upstream::tests) upstreams: Upstreams,
}

impl World {
    pub(in crate::upstream::tests) fn new() -> Self {
        Self::with(&HttpLimits::default())
    }

    pub(in crate::upstream::tests) fn with(limits: &HttpLimits) -> Self {
        Self { upkeep: Upkeep::new(tokio::runtime::Handle::current()), upstreams: Upstreams::new(limits, 7) }
    }

    pub(in crate::upstream::tests) fn program(
        &self,
        backend: ir::Backend,
        addresses: &[SocketAddr],
    ) -> Arc<BackendProgram> {
        self.recompile(backend, addresses, None)
    }

    pub(in crate::upstream::tests) fn recompile(
        &self,
        backend: ir::Backend,
        addresses: &[SocketAddr],
        previous: Option<&Arc<BackendProgram>>,
    ) -> Arc<BackendProgram> {
        let endpoints = addresses.iter().map(|address| ir::Endpoint { address: *address, ready: true });
        let endpoints = Arc::new(ir::Endpoints { key: key(), endpoints: endpoints.collect() });
        BackendProgram::compile(&Arc::new(backend), Some(&endpoints), &|_| None, previous, &self.upkeep)
    }

    pub(in crate::upstream::tests) async fn connect(
        &self,
        program: &Arc<BackendProgram>,
    ) -> Result<Upstream, ConnectError> {
        self.connect_wanting(program, Want::Any).await
    }

    pub(in crate::upstream::tests) async fn connect_wanting(
        &self,
        program: &Arc<BackendProgram>,
        want: Want,
    ) -> Result<Upstream, ConnectError> {
        let endpoint = self.upstreams.pick(program, None).ok_or(ConnectError::Refused)?;
        self.upstreams.connect(program, &endpoint, want, Instant::now() + PATIENCE).await
    }

    /// A whole GET; the connection goes back.
    pub(in crate::upstream::tests) async fn get(&self, program: &Arc<BackendProgram>) -> Answer {
        let up = self.connect(program).await.unwrap();
        exchange(up, get("/")).await.unwrap()
    }
}

#[derive(Debug)]
pub(in crate::upstream::tests) struct Answer {
    pub(in crate::upstream::tests) head: Box<ResponseHeader>,
    pub(in crate::upstream::tests) body: Vec<u8>,
    pub(in crate::upstream::tests) reused: bool,
    pub(in crate::upstream::tests) http2: bool,
}

impl Answer {
    pub(in crate::upstream::tests) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends a request without a body and reads the answer.
pub(in crate::upstream::tests) async fn exchange(
    mut up: Upstream,
    head: Box<RequestHeader>,
) -> Result<Answer, UpstreamError> {
    up.write_head(head, true).await?;
    let (reused, http2) = (up.reused(), up.is_http2());
    let (head, body) = answer(&mut up).await?;
    up.release(true);
    Ok(Answer { head, body, reused, http2 })
}

/// Reads a final head and all of the body.
pub(in crate::upstream::tests) async fn answer(
    up: &mut Upstream,
) -> Result<(Box<ResponseHeader>, Vec<u8>), UpstreamError> {
    let head = final_head(up).await?;
    let mut body = Vec::new();
    while let Some(chunk) = up.read_body().await? {
        body.extend_from_slice(&chunk);
    }
    Ok((head, body))
}

pub(in crate::upstream::tests) async fn final_head(up: &mut Upstream) -> Result<Box<ResponseHeader>, UpstreamError> {
    loop {
        let head = up.read_head().await?;
        if !head.status.is_informational() {
            return Ok(head);
        }
    }
}

pub(in crate::upstream::tests) fn get(path: &str) -> Box<RequestHeader> {
    request("GET", path)
}

pub(in crate::upstream::tests) fn request(method: &str, path: &str) -> Box<RequestHeader> {
    let mut head = RequestHeader::build_no_case(method, path.as_bytes(), None).unwrap();
    head.insert_header("host", "app.test").unwrap();
    Box::new(head)
}

pub(in crate::upstream::tests) fn chunk(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(in crate::upstream::tests) fn key() -> ir::BackendKey {
    ir::BackendKey::service("shop", "cart", 80)
}

pub(in crate::upstream::tests) fn plain(protocol: ir::Protocol) -> ir::Backend {
    let source = ir::Source::Endpoints;
    ir::Backend { key: key(), protocol, tls: None, source, connect_timeout: PATIENCE, broken: None }
}

pub(in crate::upstream::tests) fn over_tls(protocol: ir::Protocol, tls: ir::BackendTls) -> ir::Backend {
    ir::Backend { tls: Some(Box::new(tls)), ..plain(protocol) }
}
