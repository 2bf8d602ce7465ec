//! The part of a stream that stays reachable while a session owns the stream.

use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::Instant;

/// Deadlines are kept as microseconds since this moment, so that they fit an atomic.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// "None" for deadlines and budgets.
const NONE: u64 = u64::MAX;

/// Shared by the stream and the loop that serves it, both on one worker: nothing here is ever contended.
#[derive(Debug)]
pub(crate) struct StreamControl {
    read_deadline: AtomicU64,
    head_budget: AtomicU64,
    head_exceeded: AtomicBool,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Default for StreamControl {
    fn default() -> Self {
        Self {
            read_deadline: AtomicU64::new(NONE),
            head_budget: AtomicU64::new(NONE),
            head_exceeded: AtomicBool::new(false),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }
}

impl StreamControl {
    /// Reads that have nothing to give fail with `TimedOut` from this moment on. Absolute: bytes do not extend it.
    /// Seen by the next read; a read that already waits keeps the deadline it has.
    pub(crate) fn set_read_deadline(&self, deadline: Option<Instant>) {
        let micros = deadline.map_or(NONE, |deadline| {
            u64::try_from(deadline.saturating_duration_since(*EPOCH).as_micros()).unwrap_or(NONE - 1)
        });
        self.read_deadline.store(micros, Ordering::Relaxed);
    }

    pub(super) fn read_deadline(&self) -> Option<Instant> {
        match self.read_deadline.load(Ordering::Relaxed) {
            NONE => None,
            micros => Some(*EPOCH + std::time::Duration::from_micros(micros)),
        }
    }

    /// Bytes that may be read from now on before reads fail; none lifts the bound. It limits memory while a head is
    /// read: the read that crosses it still succeeds, the one after fails.
    pub(crate) fn set_head_budget(&self, bytes: Option<u64>) {
        self.head_budget.store(bytes.unwrap_or(NONE), Ordering::Relaxed);
        self.head_exceeded.store(false, Ordering::Relaxed);
    }

    /// Whether a read failed because of the head budget (431).
    pub(crate) fn head_exceeded(&self) -> bool {
        self.head_exceeded.load(Ordering::Relaxed)
    }

    /// Bytes read from the client so far, after TLS.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes that the socket (or TLS) has taken so far.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    pub(super) fn check_head_budget(&self) -> io::Result<()> {
        if self.head_budget.load(Ordering::Relaxed) == 0 {
            self.head_exceeded.store(true, Ordering::Relaxed);
            return Err(io::Error::new(io::ErrorKind::InvalidData, "request head is larger than allowed"));
        }
        Ok(())
    }

    /// One writer only, so that a load and a store suffice.
    pub(super) fn count_in(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.bytes_in.store(self.bytes_in() + bytes, Ordering::Relaxed);
        let budget = self.head_budget.load(Ordering::Relaxed);
        if budget != NONE {
            self.head_budget.store(budget.saturating_sub(bytes), Ordering::Relaxed);
        }
    }

    pub(super) fn count_out(&self, bytes: usize) {
        self.bytes_out.store(self.bytes_out() + bytes as u64, Ordering::Relaxed);
    }
}
