//! What a data plane tells about itself: counters that cost one add on the request path, and one log line per request.

mod access_log;
mod counter;
mod exposition;
pub(crate) mod flags;
mod json;
mod metrics;
mod record;
mod rule;
mod sampler;

pub(crate) use access_log::AccessLogSink;
pub(crate) use counter::{Counter, Gauge};
pub(crate) use flags::Flags;
pub(crate) use metrics::{ConnectOutcome, Handshake, Metrics, PANICS, RefusedConnection};
pub(crate) use record::{Phases, RequestRecord};
pub(crate) use rule::RuleMetrics;
pub(crate) use sampler::Sampler;
