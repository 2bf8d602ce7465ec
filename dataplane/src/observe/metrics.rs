//! All counters of one data plane. Labels come from object names only; a rule's series end with the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_ir::RouteKey;
use portcullis_wire::Figures;

use super::auth::AuthMetrics;
use super::exposition::Exposition;
use super::stream::StreamRules;
use super::{ConnectOutcome, Counter, Flags, Gauge, Outcomes, RuleMetrics};

/// Counts panics of the whole process: a panic hook has no data plane to report to.
pub(crate) static PANICS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: Counter,
    pub(crate) connections_open: Gauge,
    /// Cut off because a drain had reached its deadline.
    pub(crate) connections_aborted: Counter,
    pub(crate) connections_refused: [Counter; RefusedConnection::ALL.len()],
    pub(crate) handshakes: [Counter; Handshake::ALL.len()],
    /// Requests that were answered or ended by us rather than by a backend, by flag.
    pub(crate) flagged: [Counter; Flags::COUNT],
    pub(crate) upstream_connects: [Counter; ConnectOutcome::ALL.len()],
    pub(crate) upstream_reuses: Counter,
    pub(crate) access_log_dropped: Counter,
    pub(crate) outcomes: Outcomes,
    pub(crate) mirrors_sent: Counter,
    /// Not sent as a whole, or not answered.
    pub(crate) mirrors_failed: Counter,
    /// Not begun, because too many were under way.
    pub(crate) mirrors_dropped: Counter,
    /// Requests that an authorization service let pass, turned away, or could not be asked about.
    pub(crate) external_allowed: Counter,
    pub(crate) external_denied: Counter,
    pub(crate) external_failed: Counter,
    /// Connections that changed their protocol (WebSocket) and are open now.
    pub(crate) upgraded_open: Gauge,
    pub(crate) config_applies: Counter,
    pub(crate) config_refused: Counter,
    pub(crate) config_rejected_resources: Gauge,
    pub(crate) config_apply_micros: Counter,
    pub(crate) config_epoch: Gauge,
    pub(crate) config_version: Gauge,
    /// Equal to `config_version` once that is on disk.
    pub(crate) config_saved_version: Gauge,
    /// 1 while what is served came from disk and no live configuration has arrived yet.
    pub(crate) config_stale: Gauge,
    /// 1 while a stream to a controller is open.
    pub(crate) controller_connected: Gauge,
    pub(crate) controller_connects: Counter,
    /// Streams that ended, and attempts that came to nothing.
    pub(crate) controller_failures: Counter,
    pub(crate) disk_writes: Counter,
    pub(crate) disk_failures: Counter,
    /// Requests that no rule matched.
    pub(crate) unmatched: RuleMetrics,
    /// Of rules of bytes and datagrams.
    pub(crate) streams: StreamRules,
    /// Of AuthPolicies.
    pub(crate) auth: AuthMetrics,
    /// Of rules that had requests: thousands may be there that have none.
    rules: Mutex<BTreeMap<RouteKey, Arc<RuleMetrics>>>,
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    Finished,
    /// No listener for the server name.
    UnknownName,
    /// The listener has no usable certificate, or no usable root to verify its clients by.
    NoCertificate,
    /// The client has no valid certificate, which the listener requires.
    ClientCertificate,
    Timeout,
    /// The client left, or what it sent was no acceptable handshake.
    Failed,
}

/// Why a connection was closed before it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusedConnection {
    /// `HttpLimits::max_connections` were open.
    Limit,
    /// PROXY header missing, malformed, late, or from a peer that is not trusted.
    ProxyProtocol,
    /// The configuration holds nothing for the port (it is about to be closed).
    NoListener,
    /// Nothing was sent in time.
    Timeout,
}

impl Metrics {
    pub(crate) fn handshake(&self, outcome: Handshake) {
        self.handshakes[outcome as usize].increment();
    }

    pub(crate) fn refused_connection(&self, why: RefusedConnection) {
        self.connections_refused[why as usize].increment();
    }

    pub(crate) fn upstream_connect(&self, outcome: ConnectOutcome) {
        self.upstream_connects[outcome as usize].increment();
    }

    /// Counts a request's flags; call it once, when the request ends.
    pub(crate) fn flags(&self, flags: Flags) {
        if !flags.is_empty() {
            for index in flags.indices() {
                self.flagged[index].increment();
            }
        }
    }

    /// The counters of a rule, new ones if it had no request yet.
    pub(crate) fn rule(&self, key: &RouteKey) -> Arc<RuleMetrics> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).get(key).map_or_else(Arc::default, Arc::clone)
    }

    /// Counts a finished request of a rule. Status 0: no answer was sent.
    pub(crate) fn request(
        &self,
        key: &RouteKey,
        rule: &Arc<RuleMetrics>,
        status: u16,
        flags: Flags,
        duration: Duration,
    ) {
        if rule.numbers().is_none() {
            self.show(key, rule);
        }
        rule.request(status, flags, duration);
    }

    /// Begins a rule's series. What was still under way when its rule went begins none.
    #[cold]
    fn show(&self, key: &RouteKey, rule: &Arc<RuleMetrics>) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if !rule.has_ended() {
            rules.insert(key.clone(), Arc::clone(rule));
        }
    }

    /// Ends a rule's series.
    pub(crate) fn remove_rule(&self, key: &RouteKey, rule: &RuleMetrics) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rule.end();
        rules.remove(key);
    }

    /// Figures of the named rules, and of all others together.
    pub(crate) fn figures(&self, named: &[RouteKey]) -> (Vec<Figures>, Figures) {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let apart: Vec<_> =
            named.iter().map(|key| rules.get(key).map(|rule| rule.figures()).unwrap_or_default()).collect();
        let named: BTreeSet<&RouteKey> = named.iter().collect();
        let others = rules.iter().filter(|(key, rule)| rule.numbers().is_some() && !named.contains(key));
        let mut rest = self.unmatched.figures();
        for (_, rule) in others {
            add(&mut rest, &rule.figures());
        }
        (apart, rest)
    }

    /// The Prometheus text of everything. `config_age` is the time since the last apply; `others` adds what is counted
    /// elsewhere.
    pub(crate) fn render(&self, config_age: Option<Duration>, others: impl FnOnce(&mut Exposition)) -> String {
        let mut out = Exposition::default();
        self.render_rules(&mut out);
        self.streams.render(&mut out);
        self.auth.render(&mut out);
        self.render_connections(&mut out);
        self.outcomes.render(&mut out);
        self.render_extras(&mut out);
        self.render_config(&mut out, config_age);
        others(&mut out);
        out.render()
    }

    fn render_rules(&self, out: &mut Exposition) {
        let rules: Vec<(RouteKey, Arc<RuleMetrics>)> = {
            let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
            (rules.iter().filter(|(_, rule)| rule.numbers().is_some()))
                .map(|(key, rule)| (key.clone(), Arc::clone(rule)))
                .collect()
        };
        let matched = rules.iter().filter_map(|(key, rule)| {
            let RouteKey { kind, namespace, name, rule: index } = key;
            let labels = vec![
                ("route_kind", kind.to_string()),
                ("route_namespace", namespace.to_string()),
                ("route", name.to_string()),
                ("rule", index.to_string()),
            ];
            Some((labels, rule.numbers()?))
        });
        let unmatched = self.unmatched.numbers().into_iter().map(|numbers| {
            let labels = [("route_kind", ""), ("route_namespace", ""), ("route", ""), ("rule", "unmatched")];
            (labels.map(|(name, value)| (name, value.to_owned())).to_vec(), numbers)
        });
        out.rules(matched.chain(unmatched));
        let flagged = self.flagged.iter().enumerate();
        out.counters(
            "portcullis_dataplane_request_flags_total",
            "Requests that were ended or answered by the gateway itself, by response flag.",
            flagged.map(|(index, counter)| (vec![("flag", Flags::code(index))], counter)).collect(),
        );
        out.counter(
            "portcullis_dataplane_access_log_dropped_total",
            "Access log lines dropped because the writer could not keep up.",
            &self.access_log_dropped,
        );
    }

    fn render_connections(&self, out: &mut Exposition) {
        out.counter(
            "portcullis_dataplane_downstream_connections_total",
            "Connections accepted from clients.",
            &self.connections,
        );
        out.gauge(
            "portcullis_dataplane_downstream_connections",
            "Connections from clients that are open now.",
            &self.connections_open,
        );
        out.counter(
            "portcullis_dataplane_downstream_connections_aborted_total",
            "Connections cut off because a drain had reached its deadline.",
            &self.connections_aborted,
        );
        out.counters(
            "portcullis_dataplane_downstream_connections_refused_total",
            "Connections closed before they were served, by reason.",
            by(&self.connections_refused, &RefusedConnection::ALL, "reason", RefusedConnection::label),
        );
        out.counters(
            "portcullis_dataplane_tls_handshakes_total",
            "TLS handshakes by outcome.",
            by(&self.handshakes, &Handshake::ALL, "outcome", Handshake::label),
        );
        out.counters(
            "portcullis_dataplane_upstream_connects_total",
            "Attempts to connect to a backend, by outcome.",
            by(&self.upstream_connects, &ConnectOutcome::ALL, "outcome", ConnectOutcome::label),
        );
        out.counter(
            "portcullis_dataplane_upstream_reuses_total",
            "Requests that took a pooled connection to a backend.",
            &self.upstream_reuses,
        );
    }

    fn render_extras(&self, out: &mut Exposition) {
        for (name, help, counter) in [
            ("mirrors_sent_total", "Copies of requests that a mirror's backend answered.", &self.mirrors_sent),
            (
                "mirrors_failed_total",
                "Copies of requests that were not sent whole or not answered.",
                &self.mirrors_failed,
            ),
            (
                "external_auth_allowed_total",
                "Requests that an authorization service let pass, cached answers among them.",
                &self.external_allowed,
            ),
            (
                "external_auth_denied_total",
                "Requests that an authorization service turned away, cached answers among them.",
                &self.external_denied,
            ),
            (
                "external_auth_failed_total",
                "Requests of which no authorization service said yes or no.",
                &self.external_failed,
            ),
            ("mirrors_dropped_total", "Copies not begun because too many were under way.", &self.mirrors_dropped),
        ] {
            out.counter(&format!("portcullis_dataplane_{name}"), help, counter);
        }
        let help = "Connections that changed their protocol (WebSocket) and are open now.";
        out.gauge("portcullis_dataplane_upgraded_connections", help, &self.upgraded_open);
    }

    fn render_config(&self, out: &mut Exposition, age: Option<Duration>) {
        for (name, help, counter) in [
            ("config_applies_total", "Configurations applied.", &self.config_applies),
            ("config_refused_total", "Configuration messages refused as a whole.", &self.config_refused),
            ("config_apply_microseconds_total", "Time spent applying configurations.", &self.config_apply_micros),
            ("controller_connects_total", "Streams to a controller that were opened.", &self.controller_connects),
            (
                "controller_failures_total",
                "Streams to a controller that ended, and attempts that failed.",
                &self.controller_failures,
            ),
            ("disk_snapshot_writes_total", "Snapshots and changes written to the state directory.", &self.disk_writes),
            ("disk_snapshot_failures_total", "Snapshots that could not be written or read.", &self.disk_failures),
        ] {
            out.counter(&format!("portcullis_dataplane_{name}"), help, counter);
        }
        for (name, help, gauge) in [
            ("config_epoch", "Epoch of the applied configuration.", &self.config_epoch),
            ("config_version", "Version number of the applied configuration.", &self.config_version),
            ("config_saved_version", "Version number of the newest configuration on disk.", &self.config_saved_version),
            ("config_rejected_resources", "Resources that are rejected now.", &self.config_rejected_resources),
            ("controller_connected", "1 while a stream to a controller is open.", &self.controller_connected),
            ("config_stale", "1 while the configuration served came from disk.", &self.config_stale),
        ] {
            out.gauge(&format!("portcullis_dataplane_{name}"), help, gauge);
        }
        if let Some(age) = age {
            let help = "Time since a configuration was applied last.";
            out.gauge_value("portcullis_dataplane_config_age_seconds", help, &[], age.as_secs_f64());
        }
        let panics = Counter::default();
        panics.add(PANICS.load(Ordering::Relaxed));
        out.counter("portcullis_dataplane_panics_total", "Panics caught in the process (each is a defect).", &panics);
    }
}

impl Handshake {
    pub(crate) const ALL: [Self; 6] =
        [Self::Finished, Self::UnknownName, Self::NoCertificate, Self::ClientCertificate, Self::Timeout, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::UnknownName => "unknown_name",
            Self::NoCertificate => "no_certificate",
            Self::ClientCertificate => "client_certificate",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
        }
    }
}

impl RefusedConnection {
    pub(crate) const ALL: [Self; 4] = [Self::Limit, Self::ProxyProtocol, Self::NoListener, Self::Timeout];

    fn label(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::ProxyProtocol => "proxy_protocol",
            Self::NoListener => "no_listener",
            Self::Timeout => "timeout",
        }
    }
}

fn add(sum: &mut Figures, figures: &Figures) {
    sum.requests += figures.requests;
    sum.backend_errors += figures.backend_errors;
    for (sum, count) in sum.latency.iter_mut().zip(&figures.latency) {
        *sum += count;
    }
    for &(class, count) in &figures.gateway_errors {
        match sum.gateway_errors.iter_mut().find(|(of, _)| *of == class) {
            Some((_, sum)) => *sum += count,
            None => sum.gateway_errors.push((class, count)),
        }
    }
}

fn by<'a, T: Copy>(
    counters: &'a [Counter],
    all: &[T],
    name: &'a str,
    label: fn(T) -> &'static str,
) -> Vec<(Vec<(&'a str, &'a str)>, &'a Counter)> {
    all.iter().zip(counters).map(|(&outcome, counter)| (vec![(name, label(outcome))], counter)).collect()
}

#[cfg(test)]
mod tests;
