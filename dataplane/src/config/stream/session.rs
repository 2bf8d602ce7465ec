//! One stream, from dialling to its end.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::uri::PathAndQuery;
use portcullis_wire::{ClientMessage, Hello, InvalidMessage, Limits, SUBSCRIBE};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::{Code, Request, Status, Streaming};

use super::codec::Raw;
use super::credentials::Credentials;
use super::dial::dial;
use super::memory::Memory;
use super::{QUEUE, StreamSettings};
use crate::shared::Shared;

pub(super) struct Session<'a> {
    pub(super) settings: &'a StreamSettings,
    pub(super) shared: &'a Arc<Shared>,
    /// To the data plane.
    pub(super) server: &'a mpsc::Sender<Vec<u8>>,
}

/// How a stream ended, or why there was none.
#[derive(Debug)]
pub(super) struct StreamError {
    /// The controller had taken us.
    pub(super) connected: bool,
    pub(super) error: Cause,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error("--controller names no host; give it as https://HOST:PORT")]
    Controller,
    #[error("cannot read {path}: {error}; mount it as a volume")]
    File { path: String, error: std::io::Error },
    #[error("the token cannot be sent; mount a ServiceAccount token")]
    Token,
    #[error("the file of --ca-file holds no certificate; mount the controller's bundle")]
    NoRoots,
    #[error("no key can be made: {0}")]
    Key(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("the controller gave a certificate that cannot be read; upgrade the older of the two")]
    Certificate,
    #[error(transparent)]
    Message(InvalidMessage),
    #[error("the controller says {:?}: {}", .0.code(), .0.message())]
    Status(Status),
    #[error("the controller closed the stream")]
    Closed,
}

type Answers = mpsc::Receiver<Vec<u8>>;

struct Open {
    inbound: Streaming<Bytes>,
    outbound: mpsc::Sender<Bytes>,
}

impl Session<'_> {
    /// None: the data plane has ended.
    pub(super) async fn run(
        &self,
        credentials: &mut Credentials,
        memory: &mut Memory,
        answers: &mut Answers,
    ) -> Option<StreamError> {
        let opened = memory.listen_during(self.connect(credentials), answers).await?;
        let begun = match opened {
            Ok(channel) => self.subscribe(channel, memory, answers).await?,
            Err(error) => Err(error),
        };
        let open = match begun {
            Ok(open) => open,
            Err(error) => {
                if matches!(&error, Cause::Status(status) if is_denied(status)) {
                    credentials.forget();
                }
                return Some(StreamError { connected: false, error });
            }
        };
        let Shared { metrics, state, .. } = &**self.shared;
        metrics.controller_connects.increment();
        metrics.controller_connected.set(1);
        state.set_controller(None);
        tracing::info!(controller = %self.settings.controller, "connected to the controller");
        let ended = self.carry(open, memory, answers).await;
        metrics.controller_connected.set(0);
        Some(StreamError { connected: true, error: ended? })
    }

    async fn connect(&self, credentials: &mut Credentials) -> Result<(tonic::transport::Channel, String), Cause> {
        let StreamSettings { controller, token_file, ca_file, .. } = self.settings;
        let ca = read(ca_file).await?;
        let token = read(token_file).await?.trim().to_owned();
        let identity = credentials.identity(self.settings, &ca, &token, SystemTime::now()).await?;
        Ok((dial(controller, &ca, Some(identity)).await?, token))
    }

    /// Begins with what is held, and what was said of it.
    async fn subscribe(
        &self,
        (channel, token): (tonic::transport::Channel, String),
        memory: &mut Memory,
        answers: &mut Answers,
    ) -> Option<Result<Open, Cause>> {
        let StreamSettings { gateway, node, .. } = self.settings;
        let mut client = Grpc::new(channel).max_decoding_message_size(Limits::default().max_message);
        let (outbound, messages) = mpsc::channel(QUEUE);
        // What comes while the stream opens is said after it has.
        while let Ok(message) = answers.try_recv() {
            memory.observe(&message);
        }
        let hello = Hello { node: node.clone(), gateway: gateway.clone(), held: memory.held() };
        let said = memory.answer().map(Bytes::copy_from_slice);
        for message in [Bytes::from(ClientMessage::Hello(hello).encode_to_vec())].into_iter().chain(said) {
            // The queue is empty and longer than two.
            let _ = outbound.try_send(message);
        }
        let opening = async {
            client.ready().await.map_err(Cause::connect)?;
            let mut request = Request::new(ReceiverStream::new(messages));
            authorize(&mut request, &token)?;
            let response = client.streaming(request, PathAndQuery::from_static(SUBSCRIBE), Raw).await;
            Ok(response.map_err(Cause::Status)?.into_inner())
        };
        let before = memory.answer().map(<[u8]>::to_vec);
        let inbound = match memory.listen_during(opening, answers).await? {
            Ok(inbound) => inbound,
            Err(error) => return Some(Err(error)),
        };
        if let Some(answer) = memory.answer().filter(|answer| before.as_deref() != Some(answer)) {
            let _ = outbound.try_send(Bytes::copy_from_slice(answer));
        }
        Some(Ok(Open { inbound, outbound }))
    }

    /// Until the stream ends; None if it was the data plane.
    async fn carry(&self, open: Open, memory: &mut Memory, answers: &mut Answers) -> Option<Cause> {
        let Open { mut inbound, outbound } = open;
        loop {
            // Whoever is slow holds back the other: one update is under way at a time, so its answer always finds room.
            tokio::select! {
                message = inbound.message() => match message {
                    Ok(Some(message)) => self.server.send(message.into()).await.ok()?,
                    Ok(None) => return Some(Cause::Closed),
                    Err(status) => return Some(Cause::Status(status)),
                },
                message = answers.recv() => {
                    let message = message?;
                    memory.observe(&message);
                    if outbound.send(message.into()).await.is_err() {
                        return Some(Cause::Closed);
                    }
                }
            }
        }
    }
}

/// The certificate, or the token that it was given for, is not good enough any more.
fn is_denied(status: &Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
}

pub(super) fn authorize<T>(request: &mut Request<T>, token: &str) -> Result<(), Cause> {
    let mut value: tonic::metadata::AsciiMetadataValue = format!("Bearer {token}").parse().map_err(|_| Cause::Token)?;
    value.set_sensitive(true);
    request.metadata_mut().insert("authorization", value);
    Ok(())
}

async fn read(path: &Path) -> Result<String, Cause> {
    let text = tokio::fs::read_to_string(path).await;
    text.map_err(|error| Cause::File { path: path.display().to_string(), error })
}

impl Cause {
    // By value, as `map_err` hands them over.
    #[expect(clippy::needless_pass_by_value)]
    pub(super) fn key(error: rcgen::Error) -> Self {
        Self::Key(error.to_string())
    }

    #[expect(clippy::needless_pass_by_value)]
    pub(super) fn tls(error: rustls::Error) -> Self {
        Self::Tls(error.to_string())
    }

    /// tonic's own text says no more than "transport error".
    #[expect(clippy::needless_pass_by_value)]
    pub(super) fn connect(error: tonic::transport::Error) -> Self {
        let mut source: &dyn std::error::Error = &error;
        while let Some(cause) = source.source() {
            source = cause;
        }
        Self::Connect(source.to_string())
    }
}
