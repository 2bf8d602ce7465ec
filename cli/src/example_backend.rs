//! A tiny HTTP server that says who it is and what it was asked: something to route to.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

#[derive(Debug)]
pub struct ExampleBackend {
    listener: TcpListener,
    name: Arc<str>,
}

impl ExampleBackend {
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(address: SocketAddr, name: &str) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, name: name.into() })
    }

    /// # Errors
    /// Never, for a socket that is bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers HTTP/1.1 and HTTP/2 with prior knowledge until it is dropped.
    pub async fn serve(self) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // Never closed.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else { continue };
            let name = Arc::clone(&self.name);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(&name, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // The client's trouble.
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                drop(slot);
            });
        }
    }
}

fn answer(name: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut headers = serde_json::Map::new();
    for (key, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        match headers.get_mut(key.as_str()) {
            Some(serde_json::Value::String(joined)) => {
                joined.push_str(", ");
                joined.push_str(&value);
            }
            _ => {
                headers.insert(key.to_string(), value.into());
            }
        }
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let body = serde_json::json!({
        "backend": name,
        "method": request.method().as_str(),
        "path": path,
        "headers": headers,
    });
    let mut response = Response::new(Full::new(Bytes::from(format!("{body:#}\n"))));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
