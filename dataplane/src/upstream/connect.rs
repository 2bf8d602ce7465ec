//! A new connection: TCP, TLS by the backend's policy, the protocol that was agreed on. All under one deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{AlertDescription, CertificateError, ClientConfig, Error as TlsError};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;

use portcullis_ir as ir;

use super::backend::{BackendProgram, Transport};
use super::endpoints::Endpoint;
use super::error::{ConnectError, TlsReason};
use super::tls::TlsPolicy;
use super::wire::Wire;

/// After this an idle peer that vanished without a word is noticed.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection with the protocol to speak on it.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) wire: Wire,
    pub(super) http2: bool,
}

/// Until when a connection must stand: the request's deadline or the backend's connect timeout, whichever is earlier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) deadline: Instant,
    /// The request's own deadline is the earlier one.
    by_request: bool,
}

impl Limit {
    pub(super) fn new(backend: &BackendProgram, deadline: Instant) -> Self {
        let connect = Instant::now() + backend.connect_timeout();
        Self { deadline: deadline.min(connect), by_request: deadline < connect }
    }

    pub(super) fn is_request_out_of_time(self, outcome: Result<(), ConnectError>) -> bool {
        self.by_request && outcome == Err(ConnectError::Timeout)
    }

    /// Counts the outcome for or against the endpoint.
    pub(super) fn judge(self, endpoint: &Endpoint, outcome: Result<(), ConnectError>) {
        match outcome {
            Ok(()) => endpoint.connected(),
            Err(error) if error.blames_endpoint() && !self.is_request_out_of_time(outcome) => endpoint.connect_failed(),
            Err(_) => {}
        }
    }
}

/// Connects to `address` as the backend asks, before `deadline`. `http1` keeps HTTP/2 from being offered; `protocol` is
/// what is spoken where nothing is agreed on by TLS.
pub(super) async fn dial(
    backend: &BackendProgram,
    protocol: ir::Protocol,
    address: SocketAddr,
    http1: bool,
    deadline: Instant,
) -> Result<Dialled, ConnectError> {
    let dialling = dial_unbounded(backend, protocol, address, http1);
    timeout_at(deadline.into(), dialling).await.unwrap_or(Err(ConnectError::Timeout))
}

async fn dial_unbounded(
    backend: &BackendProgram,
    protocol: ir::Protocol,
    address: SocketAddr,
    http1: bool,
) -> Result<Dialled, ConnectError> {
    let policy = match &backend.transport {
        Transport::Broken(_) | Transport::Denied(_) => return Err(ConnectError::Misconfigured),
        Transport::Plain => {
            if http1 && protocol == ir::Protocol::Http2 {
                return Err(ConnectError::Protocol);
            }
            let wire = Wire::Plain(tcp(address).await?);
            return Ok(Dialled { wire, http2: protocol == ir::Protocol::Http2 });
        }
        Transport::Tls(policy) => policy,
    };
    let config = match (http1, &policy.http1_only) {
        (false, _) => &policy.config,
        (true, Some(config)) => config,
        (true, None) => return Err(ConnectError::Protocol),
    };
    let tcp = tcp(address).await?;
    let wire = handshake(policy, config, tcp).await?;
    match (protocol, wire.negotiated_http2()) {
        (ir::Protocol::Http, agreed) => Ok(Dialled { wire, http2: agreed == Some(true) }),
        (ir::Protocol::Http2, Some(true)) => Ok(Dialled { wire, http2: true }),
        (ir::Protocol::Http2, _) => Err(ConnectError::Protocol),
    }
}

pub(super) async fn handshake(
    policy: &TlsPolicy,
    config: &Arc<ClientConfig>,
    tcp: TcpStream,
) -> Result<Wire, ConnectError> {
    let tls = TlsConnector::from(Arc::clone(config)).connect(policy.server_name.clone(), tcp).await;
    Ok(Wire::Tls(Box::new(tls.map_err(|error| ConnectError::Tls(tls_reason(&error)))?)))
}

pub(super) async fn tcp(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => ConnectError::Timeout,
        _ => ConnectError::Refused,
    })?;
    // Both are wishes: a connection without them still works.
    let _ = stream.set_nodelay(true);
    let probes = TcpKeepalive::new().with_time(SILENCE / 2).with_interval(SILENCE / 6).with_retries(3);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&probes);
    Ok(stream)
}

/// The class of a failed handshake. Only the class leaves here.
pub(super) fn tls_reason(error: &io::Error) -> TlsReason {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) else {
        return TlsReason::Broken;
    };
    match error {
        TlsError::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => TlsReason::UntrustedIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsReason::WrongName,
            _ => TlsReason::BadCertificate,
        },
        TlsError::NoCertificatesPresented => TlsReason::BadCertificate,
        TlsError::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied,
        ) => TlsReason::ClientCertificate,
        TlsError::AlertReceived(
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::NoApplicationProtocol,
        )
        | TlsError::PeerIncompatible(_)
        | TlsError::NoApplicationProtocol => TlsReason::Negotiation,
        _ => TlsReason::Broken,
    }
}
