//! Silence on an exchange, noticed without a clock read per read.

use std::time::{Duration, Instant};

/// The idle time is watched in this many steps: it is exact to one of them, and costs no clock read per read.
const IDLE_STEPS: u32 = 4;

/// Watches for silence, in steps.
pub(super) struct Idle {
    step: Duration,
    pub(super) check_at: Instant,
    quiet: u32,
    pub(super) active: bool,
    pending: usize,
}

impl Idle {
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        let step = limit / IDLE_STEPS;
        Self { step, check_at: now + step, quiet: 0, active: false, pending: 0 }
    }

    /// Bytes that left count as activity, too.
    pub(super) fn note(&mut self, pending: usize) {
        self.active |= pending < self.pending;
        self.pending = pending;
    }

    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        if now < self.check_at {
            return false;
        }
        self.quiet = if self.active { 0 } else { self.quiet + 1 };
        self.active = false;
        self.check_at = now + self.step;
        self.quiet >= IDLE_STEPS
    }
}
