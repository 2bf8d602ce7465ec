//! One data plane's stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use portcullis_wire::{ClientMessage, Hello, Wanted};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::accept::Peer;
use super::refuse::Refusal;
use super::service::{Inner, peer_of, required, subject_of, token_of};
use crate::DeniedReason;
use crate::gate::{Gate, Seat, Update};
use crate::identity::Subject;
use crate::session::{Heard, Session};
use crate::stats::count;

/// The first message must have come after this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Parts of an update that wait for the network; each may have the size of a message.
const QUEUE: usize = 2;
/// A refused snapshot is tried again after this, doubling.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

type Outgoing = mpsc::Sender<Result<Bytes, Status>>;

pub(super) async fn subscribe(
    inner: Arc<Inner>,
    request: Request<Streaming<Bytes>>,
) -> Result<Response<ReceiverStream<Result<Bytes, Status>>>, Status> {
    let peer = peer_of(&request)?;
    let begun = begin(&inner, &peer, request).await;
    let stream = begun.map_err(|refusal| refusal.tell(&inner.stats, &peer, "Subscribe"))?;
    let (outgoing, answers) = mpsc::channel(QUEUE);
    tokio::spawn(stream.run(inner, peer, outgoing));
    Ok(Response::new(ReceiverStream::new(answers)))
}

/// A stream whose data plane has been recognised.
struct Stream {
    hello: Hello,
    pod: Arc<str>,
    incoming: Streaming<Bytes>,
    _place: OwnedSemaphorePermit,
}

async fn begin(inner: &Inner, peer: &Peer, request: Request<Streaming<Bytes>>) -> Result<Stream, Refusal> {
    let Subject::Pod { gateway, pod } = subject_of(peer)? else {
        return Err(Refusal::new(DeniedReason::Certificate, "the certificate is not of a data plane; ask for another"));
    };
    let token = token_of(&request);
    let token = required(token.as_deref())?;
    let place = Arc::clone(&inner.streams).try_acquire_owned();
    let place = place.map_err(|_| Refusal::new(DeniedReason::Limit, "too many streams; go to another replica"))?;
    let mut incoming = request.into_inner();
    let first = timeout(PATIENCE, incoming.message()).await;
    let Ok(Ok(Some(first))) = first else {
        return Err(Refusal::new(DeniedReason::Protocol, "no Hello came; begin each stream with one"));
    };
    let ClientMessage::Hello(hello) = ClientMessage::decode(&first)? else {
        return Err(Refusal::new(DeniedReason::Protocol, "the first message is no Hello; begin each stream with one"));
    };
    if hello.gateway != *gateway {
        let message =
            format!("the certificate is for Gateway {gateway}, Hello asks for {}; ask for your own", hello.gateway);
        return Err(Refusal::new(DeniedReason::Gateway, message));
    }
    let identity = inner.identify(token, gateway).await?;
    if identity.pod != *pod {
        let message = format!(
            "the token is of pod {}, the certificate of {pod}; use the certificate that the token's pod was given",
            identity.pod
        );
        return Err(Refusal::new(DeniedReason::Mismatch, message));
    }
    Ok(Stream { hello, pod: Arc::clone(pod), incoming, _place: place })
}

impl Stream {
    async fn run(self, inner: Arc<Inner>, peer: Arc<Peer>, outgoing: Outgoing) {
        let Self { hello: Hello { node: _, gateway, held }, pod, incoming, _place } = self;
        let session = Session::new(held);
        let (gate, mut seat) = inner.publisher.enter(&gateway, &pod, session.pod().clone());
        count(&inner.stats.streams);
        count(&inner.stats.streams_open);
        tracing::info!(%gateway, pod = &*pod, peer = %peer.address, "a data plane has connected");
        let mut conversation = Conversation { inner: &inner, peer: &peer, gate: &gate, session, retry: None };
        let status = conversation.go_on(incoming, &outgoing, &mut seat).await;
        inner.publisher.leave(&gate, &seat);
        inner.stats.streams_open.fetch_sub(1, Ordering::Relaxed);
        match status {
            Some(status) => {
                tracing::info!(%gateway, pod = &*pod, why = status.message(), "a data plane's stream is ended");
                // Never waits for a peer that does not read: then the stream breaks off instead.
                let _ = outgoing.try_send(Err(status));
            }
            None => tracing::info!(%gateway, pod = &*pod, "a data plane has disconnected"),
        }
    }
}

struct Conversation<'a> {
    inner: &'a Inner,
    peer: &'a Peer,
    gate: &'a Gate,
    session: Session,
    /// When a refused snapshot is tried again, and how long was waited for that.
    retry: Option<(Instant, Duration)>,
}

impl Conversation<'_> {
    /// Until one side ends it; a status, if that is us.
    async fn go_on(&mut self, mut incoming: Streaming<Bytes>, outgoing: &Outgoing, seat: &mut Seat) -> Option<Status> {
        let mut signal = self.gate.signal();
        let mut stop = self.inner.stop.clone();
        loop {
            if signal.borrow_and_update().retired {
                return Some(Status::not_found("the Gateway is not served any more; go on with what is held"));
            }
            if let Some(update) = self.gate.next(&mut self.session, &seat.pod) {
                tokio::select! {
                    biased;
                    status = ended(&mut stop, seat) => return Some(status),
                    sent = self.send(update, outgoing) => sent?,
                }
                continue;
            }
            tokio::select! {
                biased;
                status = ended(&mut stop, seat) => return Some(status),
                message = incoming.message() => {
                    // An error is a stream that broke off.
                    if let Err(refusal) = self.hear(&message.ok()??, seat) {
                        return Some(refusal.tell(&self.inner.stats, self.peer, &seat.pod));
                    }
                }
                // The gate is held, and so is its sender.
                _ = signal.changed() => {}
                () = due(self.retry), if self.session.is_stuck() => self.session.retry(),
            }
        }
    }

    /// None: nobody reads any more.
    async fn send(&self, update: Update, outgoing: &Outgoing) -> Option<()> {
        let Update { to, whole, messages } = update;
        let stats = &self.inner.stats;
        count(if whole { &stats.snapshots_sent } else { &stats.deltas_sent });
        tracing::debug!(version = %to.version, whole, parts = messages.len(), "an update is sent");
        for message in messages.iter() {
            outgoing.send(Ok(message.clone())).await.ok()?;
        }
        Some(())
    }

    fn hear(&mut self, message: &[u8], seat: &Seat) -> Result<(), Refusal> {
        let message = ClientMessage::decode(message)?;
        if let ClientMessage::Wanted(Wanted { issuers }) = message {
            self.inner.publisher.want(issuers);
            return Ok(());
        }
        match self.session.hear(message) {
            Heard::Nothing => return Ok(()),
            Heard::Answer if self.session.is_stuck() => {}
            Heard::Answer => self.retry = None,
            Heard::Refusal => {
                count(&self.inner.stats.updates_refused);
                let why = self.session.pod().refused.as_deref().unwrap_or_default();
                if self.session.is_stuck() {
                    let wait = self.retry.map_or(FIRST_RETRY, |(_, waited)| (waited * 2).min(LONGEST_RETRY));
                    self.retry = Some((Instant::now() + wait, wait));
                    tracing::error!(pod = &*seat.pod, why, ?wait, "a data plane refuses the whole configuration");
                } else {
                    tracing::warn!(pod = &*seat.pod, why, "a data plane asks for the whole configuration");
                }
            }
        }
        self.inner.publisher.tell(self.gate, seat, self.session.pod());
        Ok(())
    }
}

/// By us: the server stops, or the pod has a newer stream.
async fn ended(stop: &mut watch::Receiver<bool>, seat: &mut Seat) -> Status {
    tokio::select! {
        // An error is a server that is gone.
        _ = stop.wait_for(|stop| *stop) => Status::unavailable("this replica ends; go to another one"),
        _ = &mut seat.evicted => Status::aborted("a newer stream of the same pod has taken over"),
    }
}

async fn due(retry: Option<(Instant, Duration)>) {
    match retry {
        Some((at, _)) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
