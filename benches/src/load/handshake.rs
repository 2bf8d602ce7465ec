//! New connection, full TLS 1.3 handshake, one request, close: over and over. A process of its own, on the load's core.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench.localhost\r\nConnection: close\r\n\r\n";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub handshakes: u64,
    pub errors: u64,
}

/// So many clients at once, for so long.
pub async fn run(address: SocketAddr, config: Arc<ClientConfig>, clients: usize, time: Duration) -> Outcome {
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let connector = TlsConnector::from(Arc::clone(&config));
        tasks.spawn(async move {
            let mut outcome = Outcome::default();
            while Instant::now() < end {
                match timeout(PATIENCE, one(address, &connector)).await {
                    Ok(Ok(())) => outcome.handshakes += 1,
                    _ => outcome.errors += 1,
                }
            }
            outcome
        });
    }
    let mut sum = Outcome::default();
    while let Some(done) = tasks.join_next().await {
        let done = done.unwrap_or(Outcome { handshakes: 0, errors: 1 });
        sum = Outcome { handshakes: sum.handshakes + done.handshakes, errors: sum.errors + done.errors };
    }
    sum
}

async fn one(address: SocketAddr, connector: &TlsConnector) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(crate::peers::NAME).context("a name")?;
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::with_capacity(1024);
    // A server that closes without close_notify has given its answer all the same.
    let read = stream.read_to_end(&mut answer).await;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{read:?}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}
