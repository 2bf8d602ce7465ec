//! The three calls, before anything is done: who asks, and with what right.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use portcullis_ir::GatewayKey;
use portcullis_wire::{ISSUE, IssueReply, IssueRequest, Limits, REPORT, SERVICE, SUBSCRIBE};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tower::service_fn;

use super::accept::{Certificate, Peer};
use super::refuse::Refusal;
use super::{reports, subscribe};
use crate::codec::Raw;
use crate::identity::Subject;
use crate::stats::count;
use crate::{Denied, DeniedReason, Identify, Pki, PodIdentity, Publisher, Stats};

/// A token's review may take this long.
const REVIEW: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Service(pub(super) Arc<Inner>);

/// What all calls share.
pub(super) struct Inner {
    pub(super) publisher: Arc<Publisher>,
    pub(super) stats: Arc<Stats>,
    pub(super) pki: Arc<Pki>,
    pub(super) identify: Arc<dyn Identify>,
    /// Streams at once, data planes and peers together.
    pub(super) streams: Arc<Semaphore>,
    pub(super) stop: watch::Receiver<bool>,
    /// Reviews at once: whoever sends us nonsense must not make us send as much to the API server.
    pub(super) reviews: Semaphore,
    /// Tells connections of one peer apart.
    pub(super) reports: AtomicU64,
}

impl Inner {
    pub(super) async fn identify(&self, token: &str, gateway: &GatewayKey) -> Result<PodIdentity, Refusal> {
        let review = async {
            let _turn = self.reviews.acquire().await;
            self.identify.identify(token, gateway).await
        };
        match timeout(REVIEW, review).await {
            Ok(Ok(identity)) if identity.namespace != gateway.namespace => {
                Err(Denied::Gateway(format!("it is a pod of namespace {}", identity.namespace)).into())
            }
            Ok(identity) => Ok(identity?),
            Err(_) => Err(Refusal::new(DeniedReason::Unavailable, "the token's review took too long; try again")),
        }
    }

    async fn issue(&self, token: Option<&str>, message: &[u8]) -> Result<Bytes, Refusal> {
        let IssueRequest { gateway, csr } = IssueRequest::decode(message)?;
        let identity = self.identify(required(token)?, &gateway).await?;
        let chain = self.pki.issue_client(&csr, &gateway, &identity, SystemTime::now());
        let chain = chain.map_err(|error| Refusal::new(DeniedReason::Protocol, error.to_string()))?;
        count(&self.stats.certificates_issued);
        tracing::info!(%gateway, pod = &*identity.pod, "a client certificate is issued");
        let chain = chain.into_iter().map(|certificate| certificate.to_vec()).collect();
        Ok(IssueReply { chain }.encode_to_vec().into())
    }
}

/// The peer of a request; the connection put it there.
pub(super) fn peer_of<T>(request: &Request<T>) -> Result<Arc<Peer>, Status> {
    let peer = request.extensions().get::<Arc<Peer>>();
    peer.cloned().ok_or_else(|| Status::internal("the connection has no peer; this is a defect, please report it"))
}

/// Whom the connection's certificate names.
pub(super) fn subject_of(peer: &Peer) -> Result<&Subject, Refusal> {
    match &peer.certificate {
        Certificate::Good(subject) => Ok(subject),
        Certificate::None => Err(Refusal::new(
            DeniedReason::NoCertificate,
            "no client certificate was shown; ask for one by Issue, and dial with it",
        )),
        Certificate::Refused(why) => Err(Refusal::new(
            DeniedReason::Certificate,
            format!("the client certificate is refused: {why}; ask for another one by Issue"),
        )),
    }
}

pub(super) fn token_of<T>(request: &Request<T>) -> Option<String> {
    let header = request.metadata().get("authorization")?.to_str().ok()?;
    header.strip_prefix("Bearer ").map(str::to_owned)
}

pub(super) fn required(token: Option<&str>) -> Result<&str, Refusal> {
    token.ok_or_else(|| {
        Refusal::new(DeniedReason::Token, "there is no token; send a ServiceAccount token as `authorization: Bearer …`")
    })
}

impl NamedService for Service {
    const NAME: &'static str = SERVICE;
}

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        let mut grpc = Grpc::new(Raw).max_decoding_message_size(Limits::default().max_message);
        Box::pin(async move {
            Ok(match request.uri().path() {
                ISSUE => {
                    let call = move |request: Request<Bytes>| {
                        let inner = Arc::clone(&inner);
                        async move {
                            let peer = peer_of(&request)?;
                            let token = token_of(&request);
                            let reply = inner.issue(token.as_deref(), request.get_ref()).await;
                            reply.map(Response::new).map_err(|refusal| refusal.tell(&inner.stats, &peer, "Issue"))
                        }
                    };
                    grpc.unary(service_fn(call), request).await
                }
                SUBSCRIBE => {
                    let call = move |request| subscribe::subscribe(Arc::clone(&inner), request);
                    grpc.streaming(service_fn(call), request).await
                }
                REPORT => {
                    let call = move |request| reports::receive(Arc::clone(&inner), request);
                    grpc.streaming(service_fn(call), request).await
                }
                _ => Status::unimplemented("there is no such method; upgrade the older of the two").into_http(),
            })
        })
    }
}
