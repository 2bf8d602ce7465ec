//! One connection or UDP session, as counters and log know it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_ir as ir;
use portcullis_router::StreamRule;

use crate::observe::{Outcome, StreamMetrics, StreamRecord};
use crate::program::StreamState;
use crate::worker::Worker;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    TlsPassthrough,
    TlsTerminate,
    Tcp,
    Udp,
}

/// How something that had reached a backend ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides said all they had to say, or a UDP session was silent for long enough.
    Complete,
    /// One side broke off.
    Reset,
    IdleTimeout,
    /// Its listener went away, and its time was over.
    Drained,
}

/// Counted and logged when it is dropped, which also happens to a task that is cut off.
#[derive(Debug)]
pub(super) struct Session {
    worker: Arc<Worker>,
    protocol: Protocol,
    client: SocketAddr,
    sni: Option<String>,
    started: Instant,
    rule: Option<Arc<StreamRule<StreamState>>>,
    pub(super) backend: Option<ir::BackendKey>,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) attempts: u32,
    connect: Option<Duration>,
    outcome: Option<Outcome>,
    pub(super) end: End,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Session {
    pub(super) fn begin(worker: Arc<Worker>, protocol: Protocol, client: SocketAddr, sni: Option<String>) -> Self {
        Self {
            worker,
            protocol,
            client,
            sni,
            started: Instant::now(),
            rule: None,
            backend: None,
            endpoint: None,
            attempts: 0,
            connect: None,
            outcome: None,
            end: End::Drained,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Whose it is.
    pub(super) fn belongs_to(&mut self, rule: &Arc<StreamRule<StreamState>>) {
        self.rule = Some(Arc::clone(rule));
    }

    pub(super) fn rule(&self) -> Option<&Arc<StreamRule<StreamState>>> {
        self.rule.as_ref()
    }

    /// What became of it. Once.
    pub(super) fn decide(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        let metrics = self.metrics();
        metrics.outcome(outcome);
        if outcome == Outcome::Ok {
            metrics.numbers().open.add(1);
            self.connect = Some(self.started.elapsed());
        }
    }

    /// Takes note of totals, and counts what is new of them; whether anything is.
    pub(super) fn carried(&mut self, bytes_in: u64, bytes_out: u64) -> bool {
        if bytes_in == self.bytes_in && bytes_out == self.bytes_out {
            return false;
        }
        let numbers = self.metrics().numbers();
        numbers.bytes_in.add(bytes_in.saturating_sub(self.bytes_in));
        numbers.bytes_out.add(bytes_out.saturating_sub(self.bytes_out));
        (self.bytes_in, self.bytes_out) = (bytes_in, bytes_out);
        true
    }

    fn metrics(&self) -> &StreamMetrics {
        match &self.rule {
            Some(rule) => &rule.payload.metrics,
            None => &self.worker.shared.metrics.streams.unmatched,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let outcome = match self.outcome {
            Some(outcome) => outcome,
            None => {
                self.decide(Outcome::Aborted);
                Outcome::Aborted
            }
        };
        if outcome == Outcome::Ok {
            self.metrics().numbers().open.add(-1);
        }
        let now = Instant::now();
        if self.worker.sampler.wants(outcome.flags(), now) {
            let route = self.rule.as_ref().map(|rule| &rule.route);
            self.worker.shared.access_log.log_stream(&StreamRecord {
                protocol: self.protocol.name(),
                outcome: if outcome == Outcome::Ok { self.end.label() } else { outcome.label() },
                flags: outcome.flags(),
                route: route.map(|route| &route.key),
                rule_name: route.and_then(|route| route.rule_name.as_deref()),
                backend: self.backend.as_ref(),
                endpoint: self.endpoint,
                client: self.client,
                sni: self.sni.as_deref(),
                bytes_in: self.bytes_in,
                bytes_out: self.bytes_out,
                attempts: self.attempts,
                total: now.saturating_duration_since(self.started),
                connect: self.connect,
            });
        }
    }
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::TlsPassthrough | Self::TlsTerminate => "tls",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl End {
    fn label(self) -> &'static str {
        match self {
            Self::Complete => "ok",
            Self::Reset => "reset",
            Self::IdleTimeout => "idle_timeout",
            Self::Drained => "drained",
        }
    }
}
