//! Connections and requests.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Call, Fault, Shared, Verb, watches};

type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("cut on order")]
    Ordered,
    #[error("the API server does not answer: {0}")]
    Server(#[from] kube::Error),
    #[error("the client is gone: {0}")]
    Client(#[from] hyper::Error),
}

/// Runs until aborted, which cuts every connection.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, &shared));
            // An error is a cut or a client that left; both are told by the journal.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Answer, Cut> {
    let call = Call::of(&request);
    // Before the fault is looked up: an order to watches that is given now must find this one.
    let orders = shared.watches.subscribe();
    let number = shared.journal.ask(&call);
    let fault = shared.faults.take(&call);
    let answer = match fault {
        None => forward(request, shared).await?,
        Some(Fault::Hold(gate)) => {
            gate.pass().await;
            forward(request, shared).await?
        }
        Some(Fault::Status(status)) => failure(status, "InternalError", None),
        Some(Fault::TooManyRequests { retry_after }) => failure(429, "TooManyRequests", Some(retry_after)),
        Some(Fault::Gone) => failure(410, "Expired", None),
        Some(Fault::Cut) => return Err(Cut::Ordered),
        Some(Fault::CutAnswer) => {
            forward(request, shared).await?.into_body().collect().await?;
            return Err(Cut::Ordered);
        }
    };
    shared.journal.answer(number, answer.status().as_u16());
    if call.verb == Verb::Watch && answer.status() == StatusCode::OK {
        let (head, body) = answer.into_parts();
        let events = watches::events(call, body, orders);
        return Ok(Response::from_parts(head, UnsyncBoxBody::new(StreamBody::new(events))));
    }
    Ok(answer)
}

async fn forward(request: Request<Incoming>, shared: &Shared) -> Result<Answer, Cut> {
    let (mut head, body) = request.into_parts();
    // The proxy's own identity and connection take the place of the client's.
    for name in [AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    head.version = http::Version::HTTP_11;
    let body = body.collect().await?.to_bytes();
    let (mut head, body) = shared.server.send(Request::from_parts(head, Body::from(body))).await?.into_parts();
    for name in [CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    Ok(Response::from_parts(head, UnsyncBoxBody::new(body)))
}

fn failure(status: u16, reason: &str, retry_after: Option<u32>) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "injected by a test", "reason": reason, "code": status,
    });
    let mut answer = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    if let Some(seconds) = retry_after {
        answer = answer.header(RETRY_AFTER, seconds);
    }
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    answer.body(UnsyncBoxBody::new(body)).expect("valid headers")
}
