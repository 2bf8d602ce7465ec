//! What a data plane is started with. Nothing here comes from users' objects.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_ir::GatewayKey;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this node in `Hello`.
    pub node: String,
    /// The Gateway whose configuration is asked for. Standalone serves all Gateways and passes any name.
    pub gateway: GatewayKey,
    /// Worker threads; at least 1.
    pub workers: usize,
    /// Where `/healthz`, `/readyz`, `/metrics` and `/config` are served. Port 0 picks one.
    pub admin: SocketAddr,
    /// Addresses that a listener without addresses of its own is bound to.
    pub bind_addresses: Vec<IpAddr>,
    /// Where the last good program is kept; none keeps it in memory only.
    pub state_dir: Option<PathBuf>,
    /// Peers whose `X-Forwarded-*` and PROXY headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    pub limits: HttpLimits,
    pub streams: StreamLimits,
    pub access_log: AccessLog,
    /// How long `/readyz` says no before listeners stop accepting, so that endpoints are removed first.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that.
    pub drain_deadline: Duration,
    /// Read-only pages served by the admin listener beside our own (standalone adds `/status`).
    pub extra_pages: Vec<ExtraPage>,
}

/// Bounds on what a client may send or hold. Every one has a test.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// A request's whole head must have arrived this long after the connection was opened or became idle-free; also
    /// bounds the TLS handshake. Absolute: trickled bytes do not extend it.
    pub header_deadline: Duration,
    /// Bytes of request line and headers together; more is 431.
    pub max_header_bytes: usize,
    /// Headers in a request; more is 431.
    pub max_headers: usize,
    /// Bytes of a request body; more is 413. None: no bound.
    pub max_body_bytes: Option<u64>,
    /// Idle time of a keep-alive connection between requests.
    pub idle_timeout: Duration,
    /// Time between two reads or writes of a body or a stream before it counts as dead; upgraded streams are exempt.
    pub stream_idle_timeout: Duration,
    /// Connections at once, all workers together; more are closed after accept.
    pub max_connections: usize,
    /// Requests on one HTTP/1 connection before it is closed.
    pub max_requests_per_connection: u32,
    /// Streams at once on one HTTP/2 connection.
    pub max_h2_streams: u32,
    /// Time until the response head when the route sets no timeout. None: no bound.
    pub default_request_timeout: Option<Duration>,
    /// Bytes of a request's body that are kept in case the rule's retries want it sent again; a longer body is sent
    /// once. At most 128 KiB count.
    pub max_replay_bytes: usize,
    /// Wrong signatures of tokens that a worker checks in a second, about a tenth of its time for RSA and P-256. In a
    /// flood of more, tokens that it does not remember take turns on other threads, with a quarter of the processors.
    pub max_wrong_signatures: u32,
    /// Idle upstream connections kept per worker and endpoint.
    pub max_idle_per_endpoint: usize,
    /// How long an idle upstream connection is kept.
    pub upstream_idle_timeout: Duration,
}

/// Bounds on what is handed on as it comes: TLS, TCP and UDP. Connections count against
/// [`HttpLimits::max_connections`] as all others do.
#[derive(Clone, Debug)]
pub struct StreamLimits {
    /// How long a connection may carry nothing either way before it is cut.
    pub idle_timeout: Duration,
    /// How long a client's UDP session is remembered after its last datagram, either way.
    pub udp_idle_timeout: Duration,
    /// UDP sessions at once per listener; datagrams of further clients are dropped.
    pub max_udp_sessions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Off,
    /// One in this many, and every request that failed by our doing.
    Sampled(u32),
    All,
}

/// A read-only admin page: path, content type, and what renders it.
#[derive(Clone)]
pub struct ExtraPage {
    pub path: &'static str,
    pub content_type: &'static str,
    pub render: Arc<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for ExtraPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtraPage").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_deadline: Duration::from_secs(10),
            max_header_bytes: 64 * 1024,
            max_headers: 128,
            max_body_bytes: None,
            idle_timeout: Duration::from_secs(75),
            stream_idle_timeout: Duration::from_secs(300),
            max_connections: 50_000,
            max_requests_per_connection: 10_000,
            max_h2_streams: 100,
            default_request_timeout: None,
            max_replay_bytes: 64 * 1024,
            max_wrong_signatures: 5000,
            max_idle_per_endpoint: 64,
            upstream_idle_timeout: Duration::from_secs(55),
        }
    }
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(3600),
            udp_idle_timeout: Duration::from_secs(60),
            max_udp_sessions: 10_000,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: "standalone".to_owned(),
            gateway: GatewayKey::new("standalone", "standalone"),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            admin: SocketAddr::from(([127, 0, 0, 1], 9901)),
            bind_addresses: vec![IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8])],
            state_dir: None,
            trusted_proxies: Vec::new(),
            limits: HttpLimits::default(),
            streams: StreamLimits::default(),
            access_log: AccessLog::Sampled(100),
            drain_delay: Duration::from_secs(0),
            drain_deadline: Duration::from_secs(30),
            extra_pages: Vec::new(),
        }
    }
}
