//! One exchange with a service.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::request::Parts;
use pingora_http::RequestHeader;
use portcullis_external::{Asking, MAX_ANSWER, Nonsense, Question, Verdict};
use portcullis_external::{grpc_request, http_request, read_grpc, read_http};
use portcullis_ir::ExternalAuthProtocol;

use crate::upstream::{BackendProgram, Upstream, UpstreamError, Want};
use crate::worker::Worker;

/// Informational heads of one answer that are read over.
const MAX_INFORMATIONAL: usize = 8;

/// Why a service has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// There is nobody to ask, or the connection broke off.
    Away,
    Late,
    Nonsense(Nonsense),
}

/// What was answered.
struct Answer {
    head: Box<pingora_http::ResponseHeader>,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

pub(super) async fn ask(
    protocol: &ExternalAuthProtocol,
    question: &Question<'_>,
    worker: &Worker,
    backend: &Arc<BackendProgram>,
    deadline: Instant,
) -> Result<Verdict, Unanswered> {
    match protocol {
        ExternalAuthProtocol::Http { path_prefix, allowed_request_headers, allowed_response_headers } => {
            let asking = http_request(question, path_prefix, allowed_request_headers).map_err(Unanswered::Nonsense)?;
            let Answer { head, body, .. } = exchange(&asking, Want::Any, worker, backend, deadline).await?;
            read_http(head.status, &head.headers, body, allowed_response_headers).map_err(Unanswered::Nonsense)
        }
        ExternalAuthProtocol::Grpc { allowed_request_headers } => {
            let asking = grpc_request(question, allowed_request_headers);
            let answer = exchange(&asking, Want::Http2, worker, backend, deadline).await?;
            if answer.head.status != http::StatusCode::OK {
                return Err(Unanswered::Nonsense(Nonsense::Status(answer.head.status.as_u16())));
            }
            let status = answer.trailers.as_ref().and_then(grpc_status).or_else(|| grpc_status(&answer.head.headers));
            read_grpc(status, &answer.body, &question.head.headers).map_err(Unanswered::Nonsense)
        }
    }
}

/// Asking changes nothing, so a connection that had died unseen is a reason to ask once more, over another one.
async fn exchange(
    asking: &Asking,
    want: Want,
    worker: &Worker,
    backend: &Arc<BackendProgram>,
    deadline: Instant,
) -> Result<Answer, Unanswered> {
    let endpoint = worker.upstreams.pick_resolved(backend, None).await.ok_or(Unanswered::Away)?;
    let connect = async |want| worker.upstreams.connect(backend, &endpoint, want, deadline).await;
    let first = connect(want).await.map_err(|_| Unanswered::Away)?;
    let (reused, http2) = (first.reused(), first.is_http2());
    match converse(asking, first).await {
        Err(Interrupted::Connection(error)) if reused && error.before_response() => {
            let again = if http2 { want } else { Want::Fresh };
            let second = connect(again).await.map_err(|_| Unanswered::Away)?;
            converse(asking, second).await.map_err(Unanswered::from)
        }
        ended => ended.map_err(Unanswered::from),
    }
}

enum Interrupted {
    Connection(UpstreamError),
    Nonsense,
}

async fn converse(asking: &Asking, mut up: Upstream) -> Result<Answer, Interrupted> {
    let end = asking.body.is_empty();
    let head = Box::new(RequestHeader::from(framed(&asking.head, up.is_http2())));
    up.write_head(head, end).await?;
    if !end {
        up.write_body(asking.body.clone()).await?;
        up.finish(None).await?;
        up.flush().await;
    }
    let mut informational = 0;
    let head = loop {
        let head = up.read_head().await?;
        if !head.status.is_informational() {
            break head;
        }
        informational += 1;
        if informational > MAX_INFORMATIONAL || head.status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(Interrupted::Nonsense);
        }
    };
    let mut body = BytesMut::new();
    while let Some(chunk) = up.read_body().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Interrupted::Nonsense);
        }
        body.extend_from_slice(&chunk);
    }
    let trailers = up.read_trailers().await?;
    up.release(true);
    Ok(Answer { head, body: body.freeze(), trailers })
}

impl From<UpstreamError> for Interrupted {
    fn from(error: UpstreamError) -> Self {
        Self::Connection(error)
    }
}

impl From<Interrupted> for Unanswered {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Connection(_) => Self::Away,
            Interrupted::Nonsense => Self::Nonsense(Nonsense::Malformed),
        }
    }
}

fn framed(head: &Parts, http2: bool) -> Parts {
    let mut framed = super::copy(head);
    framed.version = if http2 { http::Version::HTTP_2 } else { http::Version::HTTP_11 };
    framed
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
