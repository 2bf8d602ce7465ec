//! Connections that carried one request and then lie idle, to see what each holds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::peers::{NAME, client_config};

const PATIENCE: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench.localhost\r\n\r\n";

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Plain,
    Tls,
    /// Over TLS.
    Http2,
}

/// An open connection, kept only to be open.
pub enum Idle {
    Http1(Box<dyn Io>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http1(_) => "Http1",
            Self::Http2(_) => "Http2",
        })
    }
}

/// Whatever carries bytes.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Manner {
    /// How a client of this kind does TLS.
    pub fn client(self, root: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
        let mut config = Arc::unwrap_or_clone(client_config(root)?);
        if self == Self::Http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(Arc::new(config))
    }
}

/// Opens so many, one after the other; each has had an answer.
pub async fn open(
    address: SocketAddr,
    manner: Manner,
    client: &Arc<ClientConfig>,
    count: usize,
) -> anyhow::Result<Vec<Idle>> {
    let mut all = Vec::with_capacity(count);
    for number in 0..count {
        let one = timeout(PATIENCE, connect(address, manner, client)).await;
        all.push(one.context("no answer").and_then(|one| one).with_context(|| format!("connection {number}"))?);
    }
    Ok(all)
}

async fn connect(address: SocketAddr, manner: Manner, client: &Arc<ClientConfig>) -> anyhow::Result<Idle> {
    let stream = TcpStream::connect(address).await?;
    if manner == Manner::Plain {
        return http1(Box::new(stream)).await;
    }
    let name = ServerName::try_from(NAME)?;
    let stream = TlsConnector::from(Arc::clone(client)).connect(name, stream).await?;
    if manner == Manner::Tls {
        return http1(Box::new(stream)).await;
    }
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    // It ends with its sender.
    tokio::spawn(connection);
    let request = http::Request::get(format!("https://{NAME}/")).body(Empty::new())?;
    let answer = sender.send_request(request).await?;
    ensure!(answer.status() == 200, "the answer was {}", answer.status());
    answer.into_body().collect().await?;
    Ok(Idle::Http2(sender))
}

async fn http1(mut stream: Box<dyn Io>) -> anyhow::Result<Idle> {
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            bail!("closed");
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        // The upstream's body is 64 times the same letter.
        if answer.ends_with(b"xxxxxxxx") {
            return Ok(Idle::Http1(stream));
        }
    }
}
