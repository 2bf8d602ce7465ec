//! What the process knows about itself, for `/readyz` and the log: where its configuration came from, and whether it
//! takes traffic.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct State {
    source: AtomicU8,
    draining: AtomicBool,
    applied: Mutex<Option<Instant>>,
    /// Listeners whose port could not be bound, as text.
    unbound: Mutex<Vec<String>>,
    /// Why there is no controller; none while there is one, or when none was asked for.
    controller: Mutex<Option<String>>,
}

/// Where the running configuration came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nothing has been applied yet.
    None = 0,
    /// The last good program of an earlier run; no live configuration has arrived since.
    Disk = 1,
    Live = 2,
}

impl Default for State {
    fn default() -> Self {
        Self {
            source: AtomicU8::new(Source::None as u8),
            draining: AtomicBool::new(false),
            applied: Mutex::new(None),
            unbound: Mutex::new(Vec::new()),
            controller: Mutex::new(None),
        }
    }
}

impl State {
    pub(crate) fn source(&self) -> Source {
        match self.source.load(Ordering::Acquire) {
            1 => Source::Disk,
            2 => Source::Live,
            _ => Source::None,
        }
    }

    pub(crate) fn applied(&self, source: Source) {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.source.store(source as u8, Ordering::Release);
    }

    /// Time since something was applied last.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn set_unbound(&self, unbound: Vec<String>) {
        *self.unbound.lock().unwrap_or_else(PoisonError::into_inner) = unbound;
    }

    pub(crate) fn unbound(&self) -> Vec<String> {
        self.unbound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_controller(&self, error: Option<String>) {
        *self.controller.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    pub(crate) fn controller_error(&self) -> Option<String> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
