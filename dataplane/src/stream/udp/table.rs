//! The sessions of one socket, by client. Bounded for the whole listener.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use portcullis_wire::{Digests, Version};

use super::live::Live;
use crate::observe::{Dropped, StreamMetrics};
use crate::program::Program;

/// How long a client whose turn was a backend that takes nothing goes on being dropped. Without that its very next
/// datagram would have another turn, and an invalid backend less than its share.
const SILENCE: Duration = Duration::from_secs(1);

pub(super) struct Table {
    flows: HashMap<SocketAddr, (Flow, Place), RandomState>,
    sessions: Arc<AtomicUsize>,
    most: usize,
}

pub(super) enum Flow {
    Live(Box<Live>),
    Silent(Silent),
}

/// A session that comes to nothing.
pub(super) struct Silent {
    metrics: Arc<StreamMetrics>,
    reason: Dropped,
    since: Instant,
    seen: Stamp,
}

/// One of the sessions that the listener may have.
pub(super) struct Place(Arc<AtomicUsize>);

/// Which configuration something was decided by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(Version, Digests);

impl Table {
    /// `sessions` is counted together with the listener's other sockets.
    pub(super) fn new(sessions: Arc<AtomicUsize>, most: usize) -> Self {
        Self { flows: HashMap::default(), sessions, most }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether no socket of the listener has a session.
    pub(super) fn is_last(&self) -> bool {
        self.sessions.load(Ordering::Relaxed) == 0
    }

    pub(super) fn find(&mut self, client: &SocketAddr) -> Option<&mut Flow> {
        self.flows.get_mut(client).map(|(flow, _)| flow)
    }

    /// A place for one more, if there is any.
    pub(super) fn place(&self) -> Option<Place> {
        let taken = self.sessions.fetch_add(1, Ordering::Relaxed);
        // Given back at once if it is one too many.
        let place = Place(Arc::clone(&self.sessions));
        (taken < self.most).then_some(place)
    }

    pub(super) fn insert(&mut self, client: SocketAddr, flow: Flow, place: Place) {
        self.flows.insert(client, (flow, place));
    }

    pub(super) fn remove(&mut self, client: &SocketAddr) {
        self.flows.remove(client);
    }

    /// Ends what has been silent for `idle`.
    pub(super) fn sweep(&mut self, now: Instant, idle: Duration) {
        self.flows.retain(|_, (flow, _)| match flow {
            Flow::Live(live) => !live.is_over(now, idle),
            Flow::Silent(silent) => now.saturating_duration_since(silent.since) < SILENCE,
        });
        if self.flows.is_empty() {
            // What a flood made of it is given back.
            self.flows = HashMap::default();
        }
    }

    /// Ends everything.
    pub(super) fn clear(&mut self) {
        for (_, (flow, _)) in self.flows.drain() {
            if let Flow::Live(live) = flow {
                live.cut();
            }
        }
    }
}

impl Silent {
    pub(super) fn new(program: &Program, metrics: Arc<StreamMetrics>, reason: Dropped, since: Instant) -> Self {
        Self { metrics, reason, since, seen: Stamp::of(program) }
    }

    /// What was decided by another configuration is decided anew.
    pub(super) fn is_current(&self, program: &Program, now: Instant) -> bool {
        self.seen == Stamp::of(program) && now.saturating_duration_since(self.since) < SILENCE
    }

    pub(super) fn drop_one(&self) {
        self.metrics.dropped(self.reason);
    }
}

impl Stamp {
    pub(super) fn of(program: &Program) -> Self {
        Self(program.version, program.digests)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn all_sockets_of_a_listener_share_its_bound() {
        let sessions = Arc::new(AtomicUsize::new(0));
        let tables = [0, 1].map(|_| Table::new(Arc::clone(&sessions), 2));
        let (first, second) = (tables[0].place().unwrap(), tables[1].place().unwrap());
        assert!(tables[0].place().is_none() && tables[1].place().is_none());
        drop(first);
        assert!(tables[1].place().is_some());
        drop(second);
        assert_eq!(sessions.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_invalid_turn_is_remembered_for_a_moment_and_under_one_configuration() {
        let (now, program) = (Instant::now(), Program::default());
        let mut table = Table::new(Arc::default(), 1);
        let metrics = Arc::new(StreamMetrics::default());
        let silent = Silent::new(&program, metrics, Dropped::Invalid, now);
        assert!(silent.is_current(&program, now));
        assert!(!silent.is_current(&program, now + SILENCE));
        let mut next = program;
        next.version = Version { epoch: 0, number: 1 };
        assert!(!silent.is_current(&next, now));

        let place = table.place().unwrap();
        table.insert("127.0.0.1:1".parse().unwrap(), Flow::Silent(silent), place);
        table.sweep(now, Duration::from_secs(60));
        assert!(!table.is_empty());
        table.sweep(now + SILENCE, Duration::from_secs(60));
        assert!(table.is_empty() && table.place().is_some());
    }
}
