//! One request, connection or session as the access log shows it.

use std::net::SocketAddr;
use std::time::Duration;

use portcullis_ir as ir;

use super::Flags;
use crate::conn::ClientIdentity;
use crate::policy::AuthNote;

/// Borrowed from the request's own state: filling it in allocates nothing, and is done only for requests that are
/// logged.
#[derive(Clone, Debug)]
pub(crate) struct RequestRecord<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    /// Without the query, which may hold secrets. Cut at 1 KiB when printed.
    pub(crate) path: &'a str,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub(crate) protocol: &'static str,
    /// 0: no answer was sent.
    pub(crate) status: u16,
    /// How a gRPC call ended, where that was said.
    pub(crate) grpc_status: Option<u8>,
    pub(crate) flags: Flags,
    /// `namespace/policy/rule` of what turned it away, and of what would have.
    pub(crate) denied_by: Option<&'a str>,
    pub(crate) shadowed_by: Option<&'a str>,
    pub(crate) route: Option<&'a ir::RouteKey>,
    pub(crate) rule_name: Option<&'a str>,
    pub(crate) backend: Option<&'a ir::BackendKey>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) client: SocketAddr,
    pub(crate) sni: Option<&'a str>,
    /// None: the listener does not ask for a certificate.
    pub(crate) client_identity: Option<&'a ClientIdentity>,
    /// What an AuthPolicy decided.
    pub(crate) auth: Option<&'a AuthNote>,
    /// Body bytes from the client.
    pub(crate) bytes_in: u64,
    /// Body bytes to the client.
    pub(crate) bytes_out: u64,
    pub(crate) attempts: u32,
    pub(crate) phases: Phases,
}

/// A connection or a session that was handed on as it came.
#[derive(Clone, Debug)]
pub(crate) struct StreamRecord<'a> {
    /// `tls`, `tcp` or `udp`.
    pub(crate) protocol: &'static str,
    /// What became of it in the end.
    pub(crate) outcome: &'static str,
    pub(crate) flags: Flags,
    pub(crate) route: Option<&'a ir::RouteKey>,
    pub(crate) rule_name: Option<&'a str>,
    pub(crate) backend: Option<&'a ir::BackendKey>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) client: SocketAddr,
    pub(crate) sni: Option<&'a str>,
    /// From the client.
    pub(crate) bytes_in: u64,
    /// To the client.
    pub(crate) bytes_out: u64,
    pub(crate) attempts: u32,
    pub(crate) total: Duration,
    /// Until the backend was reached.
    pub(crate) connect: Option<Duration>,
}

/// Where the time went. A phase that was not reached is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phases {
    /// Head complete to last byte sent.
    pub(crate) total: Duration,
    /// Getting a connection (nearly nothing when a pooled one was taken).
    pub(crate) connect: Option<Duration>,
    /// Request head sent to response head received.
    pub(crate) upstream_head: Option<Duration>,
    /// Response head to end of the response.
    pub(crate) response: Option<Duration>,
}
