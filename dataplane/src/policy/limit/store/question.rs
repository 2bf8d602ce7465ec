//! What is asked of a store, and what it says: the script `take.lua`, in types.

use std::sync::Arc;
use std::time::Duration;

use portcullis_ir::Calendar;
use portcullis_limits::{Shape, Standing, StoreFailure};
use redis::Value;

/// One call: all that is in it is granted together, or nothing is.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// At most so many; negative: given back.
    pub(crate) want: i64,
    /// Everything that was spent is forgotten; nothing is taken.
    pub(crate) reset: bool,
    pub(crate) counts: Vec<Asked>,
    /// Microseconds since 1970 that the store shall take it for; tests do. None: its own clock.
    pub(crate) now: Option<u64>,
}

/// One limit under one key.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: Arc<str>,
    pub(crate) shape: Shape,
    /// Units of the limit that one granted unit takes.
    pub(crate) cost: u64,
    pub(crate) memory: Memory,
}

/// What the store said last of a key, in its own words: said again, so that a store that has forgotten is reminded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory(Option<Box<str>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) granted: i64,
    /// How long what is granted may be used: until the first period of a calendar ends. None: no calendar is in it.
    pub(crate) life: Option<Duration>,
    /// In the order of the question.
    pub(crate) counts: Vec<Counted>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// `retry` says when one more unit is there, also when all were granted.
    pub(crate) standing: Standing,
    pub(crate) retry: Duration,
    /// None: nothing has changed.
    pub(crate) memory: Option<Memory>,
}

impl Question {
    /// The arguments of the script, behind its keys.
    pub(crate) fn arguments(&self, nonce: &str) -> Vec<String> {
        let want = if self.reset { "reset".to_owned() } else { self.want.to_string() };
        let mut arguments = vec![want, self.now.unwrap_or(0).to_string(), nonce.to_owned()];
        for Asked { key: _, shape, cost, memory } in &self.counts {
            let (kind, requests, length, burst) = match shape {
                // Microseconds with a fraction: Lua's numbers are doubles.
                Shape::Window(window) => {
                    let micros = format!("{}.{:03}", window.length / 1000, window.length % 1000);
                    ("w", window.requests, micros, window.burst)
                }
                Shape::Calendar(quota) => (letter(quota.calendar), quota.requests, "0".to_owned(), 0),
            };
            let remembered = memory.0.as_deref().unwrap_or_default().to_owned();
            arguments.extend([kind.to_owned(), requests.to_string(), length, burst.to_string()]);
            arguments.extend([cost.to_string(), remembered]);
        }
        arguments
    }

    /// Reads the script's reply.
    ///
    /// # Errors
    /// What is no reply of the script.
    pub(crate) fn answer(&self, reply: &Value) -> Result<Answer, StoreFailure> {
        let Value::Array(fields) = reply else { return Err(StoreFailure::Protocol) };
        let (head, rest) = fields.split_at_checked(2).ok_or(StoreFailure::Protocol)?;
        let life = milliseconds(integer(&head[1])?);
        let counts = rest.chunks_exact(4).map(|fields| {
            let retry = integer(&fields[2])?;
            let retry = if retry < 0 { Duration::MAX } else { milliseconds(retry) };
            let Value::BulkString(memory) = &fields[3] else { return Err(StoreFailure::Protocol) };
            let memory = std::str::from_utf8(memory).map_err(|_| StoreFailure::Protocol)?;
            let standing = Standing {
                remaining: u64::try_from(integer(&fields[0])?).unwrap_or(0),
                reset: seconds(milliseconds(integer(&fields[1])?)),
                retry: if retry == Duration::MAX { u64::MAX } else { seconds(retry) },
            };
            let memory = (!memory.is_empty()).then(|| Memory(Some(memory.into())));
            Ok(Counted { standing, retry, memory })
        });
        let counts = counts.collect::<Result<Vec<_>, _>>()?;
        if counts.len() != self.counts.len() {
            return Err(StoreFailure::Protocol);
        }
        Ok(Answer { granted: integer(&head[0])?, life: (!life.is_zero()).then_some(life), counts })
    }
}

fn letter(calendar: Calendar) -> &'static str {
    match calendar {
        Calendar::Hour => "h",
        Calendar::Day => "d",
        Calendar::Week => "k",
        Calendar::Month => "m",
    }
}

fn integer(value: &Value) -> Result<i64, StoreFailure> {
    if let Value::Int(number) = value { Ok(*number) } else { Err(StoreFailure::Protocol) }
}

fn milliseconds(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0))
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
