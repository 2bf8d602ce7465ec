//! Data planes that ask a controller for everything, answer as real ones do, and serve nobody: what they are sent is counted and forgotten.
//!
//! ```text
//! Pod, token ─► Issue ─► client certificate ─► Subscribe: Hello ─► heads of updates ─► Ack ─► board: who is where, since when
//! ```
//!
//! All live in this process, as tasks.

mod call;
mod holding;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt};
use portcullis_ir::GatewayKey;
use portcullis_wire::{ClientMessage, Hello, SUBSCRIBE, ServerMessage, State, answer};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use super::ours::{RESOURCES, pod_token};
use super::{AT_ONCE, GATEWAY, NAMESPACE, World};
use call::{Call, Connection, Identity, More, Way};
use holding::Holding;

/// Those that get a certificate and open their stream at one time; as many tokens as the controller has reviewed at once.
const ENROLLING: usize = 32;
/// From dialling for a certificate until the stream is open.
const ENROLMENT: Duration = Duration::from_secs(60);
/// After an attempt that failed, doubling until one succeeds: what a data plane waits.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// For the last of them to say goodbye.
const GOODBYE: Duration = Duration::from_secs(30);

/// What a kubelet gives a data plane.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    token: String,
}

/// Makes so many pods of the Gateway beside the real one.
pub(crate) async fn pods(world: &World, count: usize) -> anyhow::Result<Vec<Pod>> {
    let making = futures::stream::iter(1..=count).map(|number| async move {
        let name = format!("{RESOURCES}-{number}");
        let token = pod_token(world, &name).await.with_context(|| format!("pod {name}"))?;
        anyhow::Ok(Pod { name, token })
    });
    making.buffered(AT_ONCE).try_collect().await
}

/// Running subscribers. Dropping them breaks their streams off; [`Subscribers::end`] closes them.
#[derive(Debug)]
pub(crate) struct Subscribers {
    board: Arc<Board>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Subscribers {
    /// Dials for all of them; `authority` is what the controller's certificate must lead to, as PEM.
    pub(crate) fn start(controller: SocketAddr, authority: &str, pods: &[Pod]) -> anyhow::Result<Self> {
        let way = Arc::new(Way::to(controller, authority)?);
        let (turns, stop) = (Arc::new(Semaphore::new(ENROLLING)), watch::Sender::new(false));
        let board = Arc::new(Board::for_so_many(pods.len()));
        let mut tasks = JoinSet::new();
        for (place, pod) in pods.iter().cloned().enumerate() {
            let subscriber = Subscriber {
                place,
                pod,
                way: Arc::clone(&way),
                turns: Arc::clone(&turns),
                board: Arc::clone(&board),
                holding: Holding::default(),
                identity: None,
            };
            tasks.spawn(subscriber.run(stop.subscribe()));
        }
        Ok(Self { board, stop, tasks })
    }

    pub(crate) fn len(&self) -> usize {
        self.board.lock().places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until all of them have this version of the config lane or a later one; gives when each came there, the first one first.
    pub(crate) async fn all_at(&self, number: u64, limit: Duration) -> anyhow::Result<Vec<Instant>> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let behind = match self.board.arrivals(number) {
                Ok(arrivals) => return Ok(arrivals),
                Err(behind) => behind,
            };
            // What happened since we looked is remembered.
            if timeout_at(deadline, self.board.news.notified()).await.is_err() {
                let trouble = self.board.trouble().unwrap_or_else(|| "none".to_owned());
                bail!("{behind} never came to version {number} within {} s; first error: {trouble}", limit.as_secs());
            }
        }
    }

    /// Bytes of all messages that all of them were sent, without encryption.
    pub(crate) fn bytes(&self) -> u64 {
        self.board.lock().places.iter().map(|place| place.bytes).sum()
    }

    /// Attempts that failed and streams that broke off, and what was said of the first.
    pub(crate) fn failures(&self) -> (u64, Option<String>) {
        // One after the other: the first lock would be held until the end of a statement with both.
        let failures = self.board.lock().failures;
        (failures, self.board.trouble())
    }

    /// Closes all streams and waits until every task has ended.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        let Self { board: _, stop, mut tasks } = self;
        stop.send_replace(true);
        let ending = async {
            while let Some(ended) = tasks.join_next().await {
                ended?;
            }
            anyhow::Ok(())
        };
        let ended = timeout(GOODBYE, ending).await;
        ended.with_context(|| format!("{} subscribers did not end within {} s", tasks.len(), GOODBYE.as_secs()))?
    }
}

/// Where each of them is.
#[derive(Debug)]
struct Board {
    notes: Mutex<Notes>,
    /// For the one who waits.
    news: Notify,
}

#[derive(Debug, Default)]
struct Notes {
    places: Vec<Place>,
    failures: u64,
    first: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The version of the config lane, and since when. The controller lives as long as they do, so its epoch says nothing.
    at: Option<(u64, Instant)>,
    bytes: u64,
}

impl Board {
    fn for_so_many(count: usize) -> Self {
        let notes = Notes { places: vec![Place::default(); count], ..Notes::default() };
        Self { notes: Mutex::new(notes), news: Notify::new() }
    }

    /// When each came to a version or beyond, in order; or how many have not.
    fn arrivals(&self, number: u64) -> Result<Vec<Instant>, usize> {
        let notes = self.lock();
        let there = notes.places.iter().filter_map(|place| place.at.filter(|(at, _)| *at >= number));
        let mut arrivals: Vec<Instant> = there.map(|(_, since)| since).collect();
        arrivals.sort_unstable();
        match notes.places.len() - arrivals.len() {
            0 => Ok(arrivals),
            behind => Err(behind),
        }
    }

    fn note(&self, place: usize, bytes: usize, came_to: Option<State>) {
        let now = Instant::now();
        let mut notes = self.lock();
        let place = &mut notes.places[place];
        place.bytes += bytes as u64;
        let Some(State { version, digests: _ }) = came_to else { return };
        // The live lane alone leads to no other version.
        if place.at.is_none_or(|(number, _)| number != version.number) {
            place.at = Some((version.number, now));
        }
        drop(notes);
        self.news.notify_one();
    }

    fn fail(&self, pod: &str, error: &anyhow::Error) {
        let mut notes = self.lock();
        notes.failures += 1;
        notes.first.get_or_insert_with(|| format!("{pod}: {error:#}"));
    }

    fn trouble(&self) -> Option<String> {
        self.lock().first.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Subscriber {
    place: usize,
    pod: Pod,
    way: Arc<Way>,
    turns: Arc<Semaphore>,
    board: Arc<Board>,
    /// Survives a stream that broke off, as does the certificate: the next one begins with what is held.
    holding: Holding,
    identity: Option<Identity>,
}

/// An open stream and the connection that it has to itself.
struct Stream {
    connection: Connection,
    call: Call,
}

impl Subscriber {
    /// Until it is stopped; whatever fails meanwhile is counted and tried again.
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut pause = FIRST_RETRY;
        loop {
            let opened = tokio::select! {
                () = stopped(&mut stop) => return,
                opened = self.open() => opened,
            };
            let ended = match opened {
                Ok(stream) => {
                    pause = FIRST_RETRY;
                    self.listen(stream, &mut stop).await
                }
                Err(error) => {
                    self.identity = None;
                    Err(error)
                }
            };
            let Err(error) = ended else { return };
            self.board.fail(&self.pod.name, &error);
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
            }
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }

    async fn open(&mut self) -> anyhow::Result<Stream> {
        let turns = Arc::clone(&self.turns);
        let _turn = turns.acquire().await?;
        timeout(ENROLMENT, self.enrol()).await.context("it took too long to get a stream")?
    }

    async fn enrol(&mut self) -> anyhow::Result<Stream> {
        let gateway = GatewayKey::new(NAMESPACE, GATEWAY);
        let identity = match self.identity.take() {
            Some(identity) => identity,
            None => call::issue(&self.way, &gateway, &self.pod.token).await.context("no certificate")?,
        };
        let identity = self.identity.insert(identity);
        let mut connection = self.way.dial(Some(&*identity)).await?;
        let held = self.holding.held();
        let hello = ClientMessage::Hello(Hello { node: self.pod.name.clone(), gateway, held });
        // Who holds something says its last answer again.
        let said = held.map(|held| answer(held, Vec::new(), Vec::new()));
        let first: Vec<_> = [hello].into_iter().chain(said).map(|message| message.encode_to_vec()).collect();
        let call = connection.call(SUBSCRIBE, &self.pod.token, &first, More::Later).await.context("no stream")?;
        Ok(Stream { connection, call })
    }

    /// Takes updates and answers them until it is stopped, or the stream breaks off.
    async fn listen(&mut self, stream: Stream, stop: &mut watch::Receiver<bool>) -> anyhow::Result<()> {
        let Stream { connection, mut call } = stream;
        loop {
            let message = tokio::select! {
                () = stopped(stop) => break,
                message = call.hear() => message?.context("the controller closed the stream")?,
            };
            let came_to = self.holding.take(&ServerMessage::decode(message.content())?)?;
            self.board.note(self.place, message.len(), came_to);
            if let Some(held) = came_to {
                call.say(&answer(held, Vec::new(), Vec::new()).encode_to_vec()).await?;
            }
        }
        call.end().await;
        connection.close().await;
        Ok(())
    }
}

/// An error is a bench that is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use portcullis_ir::Digest;
    use portcullis_wire::{Digests, Version};

    use super::*;

    fn at(number: u64) -> Option<State> {
        let digests = Digests { config: Digest::from_bits(number.into()), live: Digest::EMPTY };
        Some(State { version: Version { epoch: 1, number }, digests })
    }

    #[test]
    fn all_have_a_version_once_the_last_of_them_is_there_or_beyond() {
        let board = Board::for_so_many(2);
        board.note(0, 10, at(3));
        assert_eq!(board.arrivals(3), Err(1));
        board.note(1, 10, None);
        assert_eq!(board.arrivals(3), Err(1));
        board.note(1, 10, at(4));
        assert_eq!(board.arrivals(3).unwrap().len(), 2);
        assert_eq!(board.arrivals(4), Err(1));
    }

    #[test]
    fn who_stays_at_a_version_came_there_once() {
        let board = Board::for_so_many(1);
        board.note(0, 10, at(3));
        let came = board.arrivals(3);
        board.note(0, 10, at(3));
        assert_eq!(board.arrivals(3), came);
    }
}
