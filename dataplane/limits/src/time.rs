//! What time it is, as an argument.

/// Two clocks. Windows follow the one that nobody can set, so that a jump of the other refills and locks nothing;
/// calendars follow the one on the wall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Nanoseconds since some moment of this process's life, never going back.
    pub monotonic: u64,
    /// Seconds since 1970, UTC.
    pub unix: u64,
}

pub(crate) const SECOND: u64 = 1_000_000_000;

/// Whole seconds, rounded up: who waits that long has waited long enough.
pub(crate) fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(SECOND)
}
