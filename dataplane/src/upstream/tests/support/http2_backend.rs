//! An HTTP/2 backend over the `h2` crate, on plain text or TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{self, SendResponse};
use http::Request;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Handling = Pin<Box<dyn Future<Output = ()> + Send>>;
pub(in crate::upstream::tests) type Handler = fn(Request<RecvStream>, SendResponse<Bytes>, usize) -> Handling;

#[derive(Debug)]
pub(in crate::upstream::tests) struct Http2Backend {
    pub(in crate::upstream::tests) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

#[derive(Clone)]
pub(in crate::upstream::tests) struct Options {
    pub(in crate::upstream::tests) tls: Option<Arc<ServerConfig>>,
    /// Streams at once.
    pub(in crate::upstream::tests) max_streams: u32,
    /// GOAWAY after this many requests.
    pub(in crate::upstream::tests) goaway_after: usize,
    /// The handler is given the request's number on its connection, from 0.
    pub(in crate::upstream::tests) handler: Handler,
}

impl Options {
    pub(in crate::upstream::tests) fn plain(handler: Handler) -> Self {
        Self { tls: None, max_streams: 100, goaway_after: usize::MAX, handler }
    }
}

impl Http2Backend {
    pub(in crate::upstream::tests) async fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let backend = Self { address, connections: Arc::clone(&connections) };
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let options = options.clone();
                tokio::spawn(async move {
                    match &options.tls {
                        None => serve(tcp, &options).await,
                        Some(config) => {
                            if let Ok(tls) = TlsAcceptor::from(Arc::clone(config)).accept(tcp).await {
                                serve(tls, &options).await;
                            }
                        }
                    }
                });
            }
        });
        backend
    }

    pub(in crate::upstream::tests) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, options: &Options) {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(options.max_streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else { return };
    let mut count = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn((options.handler)(request, respond, count));
        count += 1;
        if count == options.goaway_after {
            connection.graceful_shutdown();
        }
    }
}

/// Answers 200 with the number of the request on its connection.
pub(in crate::upstream::tests) fn numbered(
    _: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    number: usize,
) -> Handling {
    Box::pin(async move {
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        let _ = body.send_data(number.to_string().into(), true);
    })
}
