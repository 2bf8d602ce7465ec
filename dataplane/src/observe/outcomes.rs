//! What became of requests beyond their HTTP status: why they were tried again, and how gRPC calls and connects ended.

use super::Counter;
use super::exposition::Exposition;
use crate::upstream::ConnectError;

#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    retries: [Counter; RetryCause::ALL.len()],
    /// Tries that a rule asked for, not made because too many requests of the backend were being retried.
    pub(crate) retries_refused: Counter,
    grpc: [Counter; GRPC_CODES.len()],
}

/// Why a rule's policy had a request tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryCause {
    /// No connection could be made.
    Connect,
    /// The backend did not begin with the request.
    Unprocessed,
    /// Its status is one of those that the rule names.
    Status,
    /// The try took longer than the rule's `backendRequest`.
    Timeout,
}

/// How an attempt to connect upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectOutcome {
    Connected,
    Refused,
    Timeout,
    Tls,
    Limit,
    Other,
}

/// By number.
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Outcomes {
    pub(crate) fn retry(&self, cause: RetryCause) {
        self.retries[cause as usize].increment();
    }

    pub(crate) fn grpc(&self, code: u8) {
        if let Some(counter) = self.grpc.get(usize::from(code)) {
            counter.increment();
        }
    }

    pub(super) fn render(&self, out: &mut Exposition) {
        let causes = RetryCause::ALL.iter().zip(&self.retries);
        out.counters(
            "portcullis_dataplane_upstream_retries_total",
            "Tries beyond a request's first one that its rule's retry policy had made, by cause.",
            causes.map(|(cause, counter)| (vec![("cause", cause.label())], counter)).collect(),
        );
        out.counter(
            "portcullis_dataplane_upstream_retries_refused_total",
            "Tries not made because too many requests of the backend were being retried.",
            &self.retries_refused,
        );
        let codes = GRPC_CODES.iter().zip(&self.grpc);
        out.counters(
            "portcullis_dataplane_grpc_calls_total",
            "gRPC calls that ended with a status, by status.",
            codes.map(|(code, counter)| (vec![("grpc_status", *code)], counter)).collect(),
        );
    }
}

impl RetryCause {
    const ALL: [Self; 4] = [Self::Connect, Self::Unprocessed, Self::Status, Self::Timeout];

    fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Unprocessed => "unprocessed",
            Self::Status => "status",
            Self::Timeout => "timeout",
        }
    }
}

impl ConnectOutcome {
    pub(crate) const ALL: [Self; 6] =
        [Self::Connected, Self::Refused, Self::Timeout, Self::Tls, Self::Limit, Self::Other];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Limit => "limit",
            Self::Other => "other",
        }
    }
}

impl From<ConnectError> for ConnectOutcome {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused => Self::Refused,
            ConnectError::Timeout => Self::Timeout,
            ConnectError::Tls(_) => Self::Tls,
            ConnectError::Overloaded => Self::Limit,
            ConnectError::Misconfigured | ConnectError::Protocol => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_and_codes_are_counted_under_their_names() {
        let outcomes = Outcomes::default();
        for cause in RetryCause::ALL {
            outcomes.retry(cause);
        }
        outcomes.retry(RetryCause::Status);
        outcomes.grpc(14);
        outcomes.grpc(200);
        let mut out = Exposition::default();
        outcomes.render(&mut out);
        let text = out.render();
        for line in [
            r#"upstream_retries_total{cause="connect"} 1"#,
            r#"upstream_retries_total{cause="unprocessed"} 1"#,
            r#"upstream_retries_total{cause="status"} 2"#,
            r#"upstream_retries_total{cause="timeout"} 1"#,
            r#"grpc_calls_total{grpc_status="UNAVAILABLE"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
