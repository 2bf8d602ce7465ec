//! One Gateway: its book, its sessions, its pods.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use portcullis_ir::Snapshot;
use portcullis_wire::{Limits, State, delta_messages, snapshot_messages};
use tokio::sync::{oneshot, watch};

use crate::book::{Book, Way};
use crate::session::Session;
use crate::{Fleet, Pod, Published, Selector};

/// Pods that have left, kept by Gateway: a pod that changes its replica, or whose stream breaks, is still what it was.
const MAX_GONE: usize = 256;
/// Pods of peers, by Gateway: more than any Gateway has.
const MAX_PEER_PODS: usize = 16_384;

pub(crate) struct Gate {
    book: Mutex<Book>,
    selector: Mutex<Option<Selector>>,
    pods: Mutex<Pods>,
    signal: watch::Sender<Signal>,
    /// Somebody publishes here, so it is not forgotten before it is retired.
    kept: AtomicBool,
    limits: Limits,
    /// The update that was encoded last, while a session is sending it: the pods of a Gateway move in step.
    encoded: Mutex<Option<Encoded>>,
}

/// What sessions wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signal {
    targets: u64,
    pub(crate) retired: bool,
}

#[derive(Debug, Default)]
struct Pods {
    local: BTreeMap<Arc<str>, Local>,
    /// By pod and connection of a peer.
    peers: BTreeMap<(Arc<str>, Arc<str>), Pod>,
}

#[derive(Debug)]
struct Local {
    pod: Pod,
    /// The newest session of the pod.
    session: u64,
    /// Dropped when the session is superseded.
    _evict: Option<oneshot::Sender<()>>,
}

/// A pod's place in its Gateway, until it is dropped or another session takes it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) pod: Arc<str>,
    session: u64,
    /// Ends when a newer session of the same pod came.
    pub(crate) evicted: oneshot::Receiver<()>,
}

struct Encoded {
    from: Option<State>,
    to: State,
    messages: Weak<[Bytes]>,
}

/// An update as it is sent.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) to: State,
    pub(crate) whole: bool,
    pub(crate) messages: Arc<[Bytes]>,
}

static SESSIONS: AtomicU64 = AtomicU64::new(0);

impl Gate {
    pub(crate) fn new(epoch: u64, limits: Limits) -> Self {
        Self {
            book: Mutex::new(Book::new(epoch, limits)),
            selector: Mutex::default(),
            pods: Mutex::default(),
            signal: watch::Sender::default(),
            kept: AtomicBool::new(false),
            limits,
            encoded: Mutex::default(),
        }
    }

    pub(crate) fn publish(&self, next: &Snapshot) -> Published {
        let published = {
            let mut book = lock(&self.book);
            let before = book.is_published().then(|| book.newest());
            let published = book.publish(next);
            if before == Some(published.target) || !book.is_published() {
                return published;
            }
            published
        };
        self.signal.send_modify(|signal| signal.targets += 1);
        published
    }

    pub(crate) fn retire(&self) {
        self.signal.send_modify(|signal| signal.retired = true);
    }

    pub(crate) fn select(&self, selector: Option<Selector>) {
        *lock(&self.selector) = selector;
        self.signal.send_modify(|signal| signal.targets += 1);
    }

    pub(crate) fn signal(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    /// The newest state.
    pub(crate) fn target_of_all(&self) -> Option<State> {
        let book = lock(&self.book);
        book.is_published().then(|| book.newest())
    }

    pub(crate) fn target(&self, pod: &str) -> Option<State> {
        let number = self.version_for(pod);
        let book = lock(&self.book);
        book.is_published().then(|| book.target(number))
    }

    /// What the session is to be sent now, if anything; it counts as sent from here on.
    pub(crate) fn next(&self, session: &mut Session, pod: &str) -> Option<Update> {
        let number = self.version_for(pod);
        let (from, to, way) = {
            let book = lock(&self.book);
            if !book.is_published() {
                return None;
            }
            let to = book.target(number);
            let from = session.next(to)?;
            (from, to, book.way(from, to))
        };
        let whole = matches!(way, Way::Whole(_));
        session.sent(to, whole);
        Some(Update { to, whole, messages: self.encode(from, to, way) })
    }

    /// Outside the book's lock: a large snapshot takes its time.
    fn encode(&self, from: Option<State>, to: State, way: Way) -> Arc<[Bytes]> {
        // What cannot be a base makes no difference to a snapshot.
        let from = if matches!(way, Way::Whole(_)) { None } else { from };
        if let Some(encoded) = lock(&self.encoded).as_ref().filter(|encoded| (encoded.from, encoded.to) == (from, to))
            && let Some(messages) = encoded.messages.upgrade()
        {
            return messages;
        }
        let messages = match way {
            Way::Delta { from, delta } => delta_messages(from, to, &delta, &self.limits),
            Way::Whole(snapshot) => snapshot_messages(to.version, &snapshot, to.digests, &self.limits),
        };
        let messages: Arc<[Bytes]> = messages.into_iter().map(|message| message.into_vec().into()).collect();
        *lock(&self.encoded) = Some(Encoded { from, to, messages: Arc::downgrade(&messages) });
        messages
    }

    /// Begins a session; an older one of the same pod ends.
    pub(crate) fn enter(&self, pod: &Arc<str>, state: Pod) -> Seat {
        let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let (evict, evicted) = oneshot::channel();
        lock(&self.pods).local.insert(Arc::clone(pod), Local { pod: state, session, _evict: Some(evict) });
        Seat { pod: Arc::clone(pod), session, evicted }
    }

    /// True if that is news.
    pub(crate) fn tell(&self, seat: &Seat, state: &Pod) -> bool {
        match lock(&self.pods).local.get_mut(&seat.pod) {
            Some(local) if local.session == seat.session && local.pod != *state => {
                local.pod.clone_from(state);
                true
            }
            _ => false,
        }
    }

    /// True if the seat was not taken by a newer session.
    pub(crate) fn leave(&self, seat: &Seat) -> bool {
        let mut pods = lock(&self.pods);
        let Some(local) = pods.local.get_mut(&seat.pod).filter(|local| local.session == seat.session) else {
            return false;
        };
        local.pod.connected = false;
        local._evict = None;
        pods.forget_oldest();
        true
    }

    /// True if that is news.
    pub(crate) fn merge(&self, peer: &Arc<str>, pod: &Arc<str>, state: Option<Pod>) -> bool {
        let mut pods = lock(&self.pods);
        let key = (Arc::clone(pod), Arc::clone(peer));
        match state {
            None => pods.peers.remove(&key).is_some(),
            Some(_) if !pods.peers.contains_key(&key) && pods.peers.len() >= MAX_PEER_PODS => false,
            Some(state) => pods.peers.insert(key, state.clone()) != Some(state),
        }
    }

    /// True if that is news.
    pub(crate) fn forget(&self, peer: &str) -> bool {
        let mut pods = lock(&self.pods);
        let before = pods.peers.len();
        pods.peers.retain(|(_, from), _| **from != *peer);
        pods.peers.len() != before
    }

    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Nobody would miss it.
    pub(crate) fn is_idle(&self) -> bool {
        let pods = lock(&self.pods);
        !self.kept.load(Ordering::Relaxed) && pods.peers.is_empty() && !pods.local.values().any(|one| one.pod.connected)
    }

    pub(crate) fn local(&self) -> BTreeMap<Arc<str>, Pod> {
        lock(&self.pods).local.iter().map(|(name, local)| (Arc::clone(name), local.pod.clone())).collect()
    }

    pub(crate) fn fleet(&self) -> Option<Fleet> {
        let (target, listeners) = {
            let book = lock(&self.book);
            if !book.is_published() {
                return None;
            }
            (book.newest(), book.listeners())
        };
        let mut pods = self.local();
        for ((name, _), pod) in &lock(&self.pods).peers {
            match pods.get(name) {
                // Its own replica's word, as long as it has one; then whoever heard it last with a stream open.
                Some(known) if known.connected || !pod.connected => {}
                _ => drop(pods.insert(Arc::clone(name), pod.clone())),
            }
        }
        Some(Fleet { target, listeners, pods })
    }

    fn version_for(&self, pod: &str) -> Option<u64> {
        let selector = lock(&self.selector).clone();
        selector.and_then(|selector| selector(pod))
    }
}

impl Pods {
    fn forget_oldest(&mut self) {
        let gone = self.local.iter().filter(|(_, local)| !local.pod.connected);
        if gone.clone().count() > MAX_GONE
            && let Some((oldest, _)) = gone.min_by_key(|(_, local)| local.session)
        {
            let oldest = Arc::clone(oldest);
            self.local.remove(&oldest);
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("book", &self.book).field("pods", &self.pods).finish_non_exhaustive()
    }
}

/// Nothing that holds one of these locks can leave its value half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
