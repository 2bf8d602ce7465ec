//! What one limit allows, and one word of state per key: GCRA for windows, a number of the period and of the units
//! spent in it for calendars.
//!
//! Of a window the word is the *theoretical arrival time* (nanoseconds of the monotonic clock): the moment at which the
//! bucket is full again. Each unit moves it on by one interval; it may not be further ahead than the burst. A word of 0
//! is a key that was never seen.

use portcullis_ir::{Calendar, Limit, LimitPeriod};

use crate::calendar::period;
use crate::time::{SECOND, Time, seconds};

/// Units of a calendar's period that fit beside its number.
const SPENT_BITS: u32 = 40;
const SPENT: u64 = (1 << SPENT_BITS) - 1;
/// The furthest that a bucket is ahead: about 146 years.
const FURTHEST: u64 = 1 << 62;

/// One limit, compiled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Window(Window),
    Calendar(Quota),
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// In [`Window::length`].
    pub requests: u64,
    /// Nanoseconds.
    pub length: u64,
    /// Units that may come at once.
    pub burst: u64,
    /// Nanoseconds that one unit takes to come back, at least 1: rates beyond 10^9 a second are rounded down to it.
    interval: u64,
    /// Nanoseconds that the word may be ahead of the clock.
    tolerance: u64,
}

/// Units in one period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// At most 2^40 - 1.
    pub requests: u64,
    pub calendar: Calendar,
}

/// Where a key stands with one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Units that are left.
    pub remaining: u64,
    /// Seconds until all units are there again.
    pub reset: u64,
    /// Seconds until what was refused would be admitted; 0 when nothing was refused. [`u64::MAX`]: never, it costs more
    /// than the limit allows at once.
    pub retry: u64,
}

impl From<&Limit> for Shape {
    fn from(limit: &Limit) -> Self {
        let Limit { requests, period, burst } = limit;
        match *period {
            LimitPeriod::Window(length) => {
                let length = u64::try_from(length.as_nanos()).unwrap_or(FURTHEST);
                Self::Window(Window::new(*requests, length, burst.unwrap_or(*requests)))
            }
            LimitPeriod::Calendar(calendar) => Self::Calendar(Quota { requests: (*requests).min(SPENT), calendar }),
        }
    }
}

impl Window {
    /// `length` in nanoseconds.
    pub fn new(requests: u64, length: u64, burst: u64) -> Self {
        let interval = (length / requests.max(1)).clamp(1, FURTHEST);
        let burst = burst.clamp(1, FURTHEST / interval);
        Self { requests, length, burst, interval, tolerance: burst.saturating_mul(interval) }
    }

    fn standing(&self, ahead: u64, retry: u64) -> Standing {
        Standing {
            remaining: self.tolerance.saturating_sub(ahead) / self.interval,
            reset: seconds(ahead),
            retry: seconds(retry),
        }
    }
}

impl Shape {
    /// What a header calls the quota.
    pub fn requests(&self) -> u64 {
        match self {
            Self::Window(window) => window.requests,
            Self::Calendar(quota) => quota.requests,
        }
    }

    /// The most that may come at once.
    pub fn most(&self) -> u64 {
        match self {
            Self::Window(window) => window.burst,
            Self::Calendar(quota) => quota.requests,
        }
    }

    /// What one of `replicas` may admit without knowing of the others, never nothing.
    #[must_use]
    pub fn share(&self, replicas: u64) -> Self {
        let replicas = replicas.max(1);
        match *self {
            Self::Window(window) => {
                let burst = (window.burst / replicas).max(1);
                Self::Window(Window::new(window.requests, window.length.saturating_mul(replicas), burst))
            }
            Self::Calendar(quota) => Self::Calendar(Quota { requests: (quota.requests / replicas).max(1), ..quota }),
        }
    }

    /// The same rate with more room; what a replica sheds before it asks anybody.
    #[must_use]
    pub fn multiple(&self, times: u64) -> Self {
        match *self {
            Self::Window(window) => {
                let requests = window.requests.saturating_mul(times);
                Self::Window(Window::new(requests, window.length, window.burst.saturating_mul(times)))
            }
            Self::Calendar(quota) => {
                Self::Calendar(Quota { requests: quota.requests.saturating_mul(times).min(SPENT), ..quota })
            }
        }
    }

    /// The word after `units` more; none: there are not so many. As [`Self::admit`], which says more.
    #[inline]
    pub(crate) fn advance(&self, word: u64, units: u64, now: Time) -> Option<u64> {
        match self {
            Self::Window(window) => {
                let ahead = word.saturating_sub(now.monotonic);
                let wanted = ahead.saturating_add(units.saturating_mul(window.interval));
                (wanted <= window.tolerance).then(|| now.monotonic + wanted)
            }
            Self::Calendar(_) => self.admit(word, units, now).ok().map(|(next, _)| next),
        }
    }

    /// The word after `units` more, or why not.
    ///
    /// # Errors
    /// Where the key stands, and when to come again.
    #[inline]
    pub fn admit(&self, word: u64, units: u64, now: Time) -> Result<(u64, Standing), Standing> {
        match self {
            Self::Window(window) => {
                let ahead = word.saturating_sub(now.monotonic);
                let wanted = ahead.saturating_add(units.saturating_mul(window.interval));
                if wanted > window.tolerance {
                    let standing = window.standing(ahead, wanted - window.tolerance);
                    return Err(if units > window.burst { Standing { retry: u64::MAX, ..standing } } else { standing });
                }
                Ok((now.monotonic + wanted, window.standing(wanted, 0)))
            }
            Self::Calendar(quota) => {
                let (number, spent, left) = quota.read(word, now);
                let wanted = spent.saturating_add(units);
                if wanted > quota.requests {
                    let retry = if units > quota.requests { u64::MAX } else { left };
                    return Err(Standing { remaining: quota.requests.saturating_sub(spent), reset: left, retry });
                }
                let standing = Standing { remaining: quota.requests - wanted, reset: left, retry: 0 };
                Ok((quota.write(number, wanted), standing))
            }
        }
    }

    /// The word after `units` were given back.
    pub fn refund(&self, word: u64, units: u64, now: Time) -> u64 {
        match self {
            Self::Window(window) => word.saturating_sub(units.saturating_mul(window.interval)),
            Self::Calendar(quota) => {
                let (number, spent, _) = quota.read(word, now);
                quota.write(number, spent.saturating_sub(units))
            }
        }
    }

    pub fn standing(&self, word: u64, now: Time) -> Standing {
        match self {
            Self::Window(window) => window.standing(word.saturating_sub(now.monotonic), 0),
            Self::Calendar(quota) => {
                let (_, spent, left) = quota.read(word, now);
                Standing { remaining: quota.requests.saturating_sub(spent), reset: left, retry: 0 }
            }
        }
    }

    /// Whether the word says nothing that an absent one would not say.
    pub(crate) fn is_idle(mark: u32, word: u64, now: Time) -> bool {
        match calendar_of(mark) {
            Some(calendar) => (word >> SPENT_BITS) < period(calendar, now.unix).number,
            None => word <= now.monotonic,
        }
    }

    /// What stands beside a word, so that it can be read when the limit has become another one.
    #[expect(clippy::cast_precision_loss, reason = "24 bits of an interval suffice")]
    pub(crate) fn mark(&self) -> u32 {
        match self {
            Self::Window(window) => (window.interval as f32).to_bits(),
            Self::Calendar(quota) => {
                let kind = match quota.calendar {
                    Calendar::Hour => -1.0_f32,
                    Calendar::Day => -2.0,
                    Calendar::Week => -3.0,
                    Calendar::Month => -4.0,
                };
                kind.to_bits()
            }
        }
    }

    /// A word of a limit that was another one: what was spent stays spent, as far as the new limit knows so much.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as above"
    )]
    pub(crate) fn convert(&self, mark: u32, word: u64, now: Time) -> u64 {
        let spent = match calendar_of(mark) {
            Some(calendar) => Quota { requests: SPENT, calendar }.read(word, now).1,
            None => {
                let spent = word.saturating_sub(now.monotonic) as f64 / f64::from(f32::from_bits(mark)).max(1.0);
                // What the interval was rounded by is nobody's unit.
                (spent * (1.0 - 1e-6) - 1e-6).max(0.0).ceil() as u64
            }
        };
        match self {
            Self::Window(window) => now.monotonic + spent.min(window.burst) * window.interval,
            Self::Calendar(quota) => quota.write(period(quota.calendar, now.unix).number, spent.min(quota.requests)),
        }
    }
}

impl Quota {
    /// The period that is counted in, the units spent in it, and the seconds until it ends.
    fn read(self, word: u64, now: Time) -> (u64, u64, u64) {
        let current = period(self.calendar, now.unix);
        let left = current.end - now.unix;
        let (number, spent) = (word >> SPENT_BITS, word & SPENT);
        // A clock that is set back a little must not begin the period anew; one that was far ahead must not last.
        let counted = number == current.number || number == current.number + 1;
        if counted { (number, spent, left) } else { (current.number, 0, left) }
    }

    fn write(self, number: u64, spent: u64) -> u64 {
        (number << SPENT_BITS) | spent.min(SPENT)
    }
}

fn calendar_of(mark: u32) -> Option<Calendar> {
    let kind = f32::from_bits(mark);
    [(-1.0, Calendar::Hour), (-2.0, Calendar::Day), (-3.0, Calendar::Week), (-4.0, Calendar::Month)]
        .into_iter()
        .find(|&(of, _)| kind < 0.0 && (kind - of).abs() < 0.5)
        .map(|(_, calendar)| calendar)
}

/// Seconds of a window, rounded up.
pub(crate) fn window_seconds(length: u64) -> u64 {
    length.div_ceil(SECOND)
}

#[cfg(test)]
mod tests;
