//! A publisher in this process, and a data plane's way to it that counts bytes.
//!
//! ```text
//! publish(snapshot) ─► Publisher ─► serve (TLS) ◄─ relay, counting ◄─ portcullis-dataplane --controller
//! ```

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use async_trait::async_trait;
use portcullis_ir::{GatewayKey, Snapshot};
use portcullis_publish::{Ca, Denied, Identify, Pki, PodIdentity, Publisher, serve};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const HOST: &str = "localhost";
const POD: &str = "bench";

#[derive(Debug)]
pub struct Publishing {
    publisher: Arc<Publisher>,
    relay: Relay,
    server: JoinHandle<()>,
}

/// Whoever asks is the one pod that there is: the port is loopback's and lives for one bench.
struct Anybody;

#[async_trait]
impl Identify for Anybody {
    async fn identify(&self, _token: &str, gateway: &GatewayKey) -> Result<PodIdentity, Denied> {
        Ok(PodIdentity { namespace: Arc::clone(&gateway.namespace), pod: POD.into() })
    }
}

impl Publishing {
    /// Serves; what a data plane needs to find it is in `folder`.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let now = SystemTime::now();
        let pki = Pki::new(Ca::from_pem(&Ca::generate(now)?, now)?, vec![HOST.to_owned()]);
        fs::write(folder.join("ca.crt"), pki.bundle_pem(now))?;
        fs::write(folder.join("token"), POD)?;
        let epoch = now.duration_since(UNIX_EPOCH)?.as_nanos();
        let publisher = Publisher::new(u64::try_from(epoch)?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let relay = Relay::start(listener.local_addr()?).await?;
        let serving = serve(listener, Arc::clone(&publisher), pki, Arc::new(Anybody), std::future::pending());
        // Why it ended is said by whoever waits in vain for the data plane.
        let server = tokio::spawn(async move { drop(serving.await) });
        Ok(Self { publisher, relay, server })
    }

    /// Makes this the newest version. The publisher's own work is done when it returns; sending is not.
    pub fn publish(&self, snapshot: &Snapshot) -> anyhow::Result<()> {
        let published = self.publisher.publish(&gateway(), snapshot);
        ensure!(published.refused.is_empty(), "refused: {:?}", published.refused);
        ensure!(published.refused_whole.is_none(), "refused whole: {:?}", published.refused_whole);
        Ok(())
    }

    /// Bytes that went to the data plane, encryption and framing among them.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.relay.sent.load(Ordering::Relaxed)
    }

    /// For a data plane that is to follow.
    #[must_use]
    pub fn arguments(&self, folder: &Path) -> Vec<OsString> {
        let GatewayKey { namespace, name } = gateway();
        vec![
            "--controller".into(),
            format!("https://{HOST}:{}", self.relay.address.port()).into(),
            "--token-file".into(),
            folder.join("token").into(),
            "--ca-file".into(),
            folder.join("ca.crt").into(),
            "--gateway".into(),
            format!("{namespace}/{name}").into(),
            "--node".into(),
            POD.into(),
        ]
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn gateway() -> GatewayKey {
    GatewayKey::new("infra", "gateway")
}

/// Hands connections on and counts what comes back over them.
#[derive(Debug)]
pub struct Relay {
    pub address: SocketAddr,
    /// Towards those who connected.
    pub sent: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Relay {
    /// To `to`, from a port of loopback.
    pub async fn start(to: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            // One task for each connection of the one data plane; they end with it.
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(join(near, to, Arc::clone(&counter)));
            }
        });
        Ok(Self { address, sent, task })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn join(near: TcpStream, to: SocketAddr, sent: Arc<AtomicU64>) {
    // A broken connection is dialled again by the data plane.
    let Ok(far) = TcpStream::connect(to).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let unread = Arc::new(AtomicU64::new(0));
    let _ = tokio::join!(pass(near_read, far_write, unread), pass(far_read, near_write, sent));
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counter: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        counter.fetch_add(count as u64, Ordering::Relaxed);
        to.write_all(&buffer[..count]).await?;
    }
}
