//! `probe`: one GET, for `helm test` and for images that hold nothing but this program.

use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// A Service that has just been made leads nowhere for a moment, so the page is asked for until then.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 64 * 1024;

/// # Errors
/// When the page cannot be fetched, or its status is not 200, for as long as it is asked for; the last reason is given.
pub(crate) async fn probe(url: &str) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = timeout(TIMEOUT, fetch(url)).await;
        match answer.with_context(|| format!("{url} did not answer within {TIMEOUT:?}")).flatten() {
            Err(error) if Instant::now() < until => {
                tracing::info!(url, error = format!("{error:#}"), "not yet");
                sleep(PAUSE).await;
            }
            last => return last,
        }
    }
}

async fn fetch(url: &str) -> anyhow::Result<()> {
    let uri: http::Uri = url.parse().context("the URL does not parse; write it as http://host:port/path")?;
    let host = uri.host().context("the URL has no host; write it as http://host:port/path")?;
    let port = uri.port_u16().unwrap_or(80);
    let tcp = TcpStream::connect((host, port)).await.with_context(|| format!("cannot connect to {host}:{port}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection);
    let request = http::Request::get(uri.path()).header(http::header::HOST, format!("{host}:{port}"));
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    if status != http::StatusCode::OK {
        bail!("{url} answers {status}: {}", body.trim());
    }
    tracing::info!(url, body = body.trim(), "ok");
    Ok(())
}
