//! What a data plane tells about itself: counters that cost one add on the request path, and one log line per request
//! or connection.

mod access_log;
mod auth;
mod counter;
mod exposition;
pub(crate) mod flags;
mod json;
mod judged;
mod metrics;
mod outcomes;
mod record;
mod rule;
mod sampler;
mod stream;
mod timestamp;

pub(crate) use access_log::AccessLogSink;
pub(crate) use auth::{AuthMetrics, Family as AuthFamily, Said, Tally, Verdict};
pub(crate) use counter::{Counter, Gauge};
pub(crate) use exposition::Exposition;
pub(crate) use flags::Flags;
pub(crate) use metrics::{Handshake, Metrics, PANICS, RefusedConnection};
pub(crate) use outcomes::{ConnectOutcome, Outcomes, RetryCause};
pub(crate) use record::{Phases, RequestRecord, StreamRecord};
pub(crate) use rule::RuleMetrics;
pub(crate) use sampler::Sampler;
pub(crate) use stream::{Dropped, Outcome, StreamMetrics};
