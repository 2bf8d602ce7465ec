//! HTTP/2 clients and backends over the `h2` crate, on plain text.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};

use super::soon;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub head: http::response::Parts,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

/// One connection with prior knowledge.
pub async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = soon("connecting", TcpStream::connect(address)).await.unwrap();
    let (client, connection) = soon("the handshake", h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Sends a request with a body and trailers, and reads the whole answer.
pub async fn exchange(
    client: &SendRequest<Bytes>,
    request: Request<()>,
    body: &[u8],
    trailers: Option<HeaderMap>,
) -> Answer {
    soon("the answer", async {
        let mut client = client.clone().ready().await.unwrap();
        let ends = body.is_empty() && trailers.is_none();
        let (response, mut sending) = client.send_request(request, ends).unwrap();
        if !body.is_empty() {
            sending.send_data(Bytes::copy_from_slice(body), trailers.is_none()).unwrap();
        }
        if let Some(trailers) = trailers {
            sending.send_trailers(trailers).unwrap();
        }
        let (head, mut stream) = response.await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(piece) = stream.data().await {
            let piece = piece.unwrap();
            stream.flow_control().release_capacity(piece.len()).unwrap();
            body.extend_from_slice(&piece);
        }
        Answer { head, body, trailers: stream.trailers().await.unwrap() }
    })
    .await
}

/// A backend that does with each stream what `serve` says; streams are numbered from 0, over all connections.
pub async fn backend<S, F>(serve: S) -> SocketAddr
where
    S: Fn(Request<RecvStream>, SendResponse<Bytes>, usize) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (serve, number) = (Arc::new(serve), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (serve, number) = (Arc::clone(&serve), Arc::clone(&number));
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(serve(request, respond, number.fetch_add(1, Ordering::Relaxed)));
                }
            });
        }
    });
    address
}

/// A whole request body.
pub async fn body_of(stream: &mut RecvStream) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(Ok(piece)) = stream.data().await {
        let _ = stream.flow_control().release_capacity(piece.len());
        body.extend_from_slice(&piece);
    }
    body
}

/// A backend that echoes body and request trailers; its answer names method, path and authority in headers.
pub async fn echo_backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let (head, mut stream) = request.into_parts();
                        let mut body = Vec::new();
                        while let Some(Ok(piece)) = stream.data().await {
                            let _ = stream.flow_control().release_capacity(piece.len());
                            body.extend_from_slice(&piece);
                        }
                        let mut trailers = stream.trailers().await.ok().flatten().unwrap_or_default();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        let answer = Response::builder()
                            .header("x-method", head.method.as_str())
                            .header("x-path", head.uri.path())
                            .header("x-authority", head.uri.authority().map_or("", |authority| authority.as_str()))
                            .header("x-te", head.headers.get("te").cloned().unwrap_or("none".parse().unwrap()));
                        let mut sending = respond.send_response(answer.body(()).unwrap(), false).unwrap();
                        sending.send_data(body.into(), false).unwrap();
                        sending.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    address
}
