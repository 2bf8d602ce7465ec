//! The stream's server.
//!
//! ```text
//! TcpListener ─► accept (TLS 1.3, deadline, bounds) ─► Peer ─► service ─┬─ Issue: token ─► certificate
//!                                                                       ├─ Subscribe: certificate + token + Hello ─► session
//!                                                                       └─ Report: certificate of a replica ─► fleet
//! ```

mod accept;
mod refuse;
mod reports;
mod service;
mod subscribe;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tonic::transport::Server;

use crate::{Identify, Pki, Publisher};
use service::{Inner, Service};

const MAX_STREAMS: usize = 4096;
const MAX_REVIEWS: usize = 32;
/// Of one connection; a data plane has one or two.
const MAX_STREAMS_PER_CONNECTION: u32 = 16;
/// A peer that does not answer within the two together is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADERS: u32 = 64 * 1024;
/// Streams that were ended are flushed for so long.
const GRACE: Duration = Duration::from_secs(3);

/// Why the server ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the stream's port cannot be listened on: {0}; check the address of --listen")]
    Listen(#[from] io::Error),
    #[error("the stream's server ended: {0}; this is a defect, please report it")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves data planes and peer replicas until `shutdown` ends; then streams are closed, and pods go to another replica.
///
/// # Errors
/// [`ServeError`] when the listener is of no use.
pub async fn serve(
    listener: TcpListener,
    publisher: Arc<Publisher>,
    pki: Arc<Pki>,
    identify: Arc<dyn Identify>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    listener.local_addr()?;
    let stats = publisher.stats();
    let (stopping, stop) = watch::channel(false);
    let mut stopped = stop.clone();
    let connections = accept::accept(listener, Arc::clone(&pki), Arc::clone(&stats));
    let service = Service(Arc::new(Inner {
        publisher,
        stats,
        pki,
        identify,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        stop,
        reviews: Semaphore::new(MAX_REVIEWS),
        reports: AtomicU64::new(0),
    }));
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .add_service(service)
        .serve_with_incoming_shutdown(connections, async move {
            shutdown.await;
            stopping.send_replace(true);
        });
    tokio::select! {
        ended = server => Ok(ended?),
        // Connections whose peer does not close them go with us.
        () = async { let _ = stopped.wait_for(|stop| *stop).await; sleep(GRACE).await } => Ok(()),
    }
}
