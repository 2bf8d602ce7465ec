//! The controller at the other end of a [`ConfigLink`](super::ConfigLink): dial, be recognised, carry messages.
//!
//! ```text
//! token, CA ─► Issue (once, then at half life) ─► client certificate ─┐
//! Hello, last answer ─► Subscribe (TLS 1.3, both sides) ◄─────────────┘
//!        server's messages ─► link ─► data plane ─► link ─► Ack, Nack, Health
//! ```
//!
//! A stream that ends never touches traffic: what was applied goes on being served, and the next stream begins with what
//! is held by then. Token and CA are read anew for each connection, because both are renewed while we run.

mod codec;
mod credentials;
mod dial;
mod memory;
mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use portcullis_ir::GatewayKey;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::shared::Shared;
use credentials::Credentials;
use memory::Memory;
use session::{Session, StreamError};

/// After a connection that failed, doubling until one succeeds.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Where the controller is, and by what we are known to it.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// `https://host:port`. The host is the name that the controller's certificate must have.
    pub controller: Uri,
    /// The Gateway whose configuration is asked for.
    pub gateway: GatewayKey,
    /// Our pod's name.
    pub node: String,
    /// A ServiceAccount token for the controller's audience.
    pub token_file: PathBuf,
    /// The roots that the controller's certificate must lead to, as PEM.
    pub ca_file: PathBuf,
}

/// The data plane's side of the stream.
#[derive(Debug)]
pub(crate) struct Stream {
    settings: StreamSettings,
    /// To the data plane.
    server: mpsc::Sender<Vec<u8>>,
    /// From the data plane.
    answers: mpsc::Receiver<Vec<u8>>,
}

/// Messages that wait on either side. An update has at most one answer that matters, so the answers fit.
const QUEUE: usize = 16;
const ANSWERS: usize = 64;

impl Stream {
    /// The stream, and the link that it feeds.
    pub(crate) fn new(settings: StreamSettings) -> (Self, super::ConfigLink) {
        let (server, incoming) = mpsc::channel(QUEUE);
        let (outgoing, answers) = mpsc::channel(ANSWERS);
        (Self { settings, server, answers }, super::ConfigLink { incoming, outgoing })
    }

    /// Until the data plane has ended.
    pub(crate) async fn run(self, shared: Arc<Shared>) {
        let Self { settings, server, mut answers } = self;
        let mut memory = Memory::default();
        // What is restored from disk is part of the first Hello.
        while !memory.has_begun() {
            let Some(message) = answers.recv().await else { return };
            memory.observe(&message);
        }
        let mut credentials = Credentials::default();
        let mut wait = FIRST_RETRY;
        loop {
            let session = Session { settings: &settings, shared: &shared, server: &server };
            let ended = session.run(&mut credentials, &mut memory, &mut answers).await;
            let StreamError { connected, error } = match ended {
                Some(ended) => ended,
                None => return,
            };
            if connected {
                wait = FIRST_RETRY;
            }
            let error = error.to_string();
            tracing::warn!(controller = %settings.controller, error, "no controller; what is held goes on being served");
            shared.metrics.controller_failures.increment();
            shared.state.set_controller(Some(error));
            let pause = wait.mul_f64(rand::random_range(0.5..1.0));
            if memory.listen_during(sleep(pause), &mut answers).await.is_none() {
                return;
            }
            wait = (wait * 2).min(LONGEST_RETRY);
        }
    }
}
