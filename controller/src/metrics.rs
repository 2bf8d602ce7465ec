//! What the controller counts. Labels are kinds, results and names of Gateways, nothing that a stranger chooses.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use portcullis_ir::GatewayKey;
use portcullis_publish::{DeniedReason, Published, Stats};
use portcullis_translate::{Downgrade, Inputs, Kind};
use prometheus::core::Collector;
use prometheus::{
    Encoder, HistogramOpts, HistogramTimer, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// How writing a status ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Written,
    /// Somebody changed the object meanwhile; the next version is written instead.
    Conflict,
    Gone,
    Failed,
}

/// Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    passes: HistogramVec,
    objects: IntGaugeVec,
    invalid: IntGaugeVec,
    watch_errors: IntCounterVec,
    watch_synced: IntGaugeVec,
    status_writes: IntCounterVec,
    is_leader: IntGauge,
    version: IntGaugeVec,
    refused: IntGaugeVec,
    provisioning: IntCounterVec,
    downgrades: IntGaugeVec,
}

impl Metrics {
    /// # Errors
    /// When two metrics have one name, which is a mistake in this file.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("portcullis_controller".to_owned()), None)?;
        let gauges = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntGaugeVec> {
            register(&registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let buckets = vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
        let opts =
            HistogramOpts::new("pass_duration_seconds", "Duration of a translation pass, by lane.").buckets(buckets);
        Ok(Self {
            passes: register(&registry, HistogramVec::new(opts, &["lane"])?)?,
            objects: gauges("objects", "Objects that are held, by kind.", &["kind"])?,
            invalid: gauges("invalid_objects", "Objects that exist and do not parse, by kind.", &["kind"])?,
            watch_errors: counters("watch_errors_total", "Lists and watches that failed, by kind.", &["kind"])?,
            watch_synced: gauges("watch_synced", "1 once a kind was listed, 0 if it is not installed.", &["kind"])?,
            status_writes: counters("status_writes_total", "Status writes, by kind and result.", &["kind", "result"])?,
            is_leader: register(&registry, IntGauge::new("is_leader", "1 on the replica that holds the lease.")?)?,
            version: gauges("version", "Newest version of the program of a Gateway.", &["namespace", "gateway"])?,
            refused: gauges("refused_resources", "Resources left out of a program.", &["namespace", "gateway"])?,
            provisioning: counters(
                "provisioning_total",
                "Objects applied or deleted, by kind and result.",
                &["kind", "result"],
            )?,
            downgrades: gauges(
                "auth_downgrades",
                "Targets at which an AuthPolicy drops an authentication requirement that it would inherit.",
                &["namespace", "policy"],
            )?,
            registry,
        })
    }

    pub(crate) fn pass(&self, lane: &str) -> HistogramTimer {
        self.passes.with_label_values(&[lane]).start_timer()
    }

    pub(crate) fn watch_errors(&self, kind: Kind) {
        self.watch_errors_of(kind.as_str());
    }

    pub(crate) fn watch_synced(&self, kind: Kind, is: bool) {
        self.watch_synced_of(kind.as_str(), is);
    }

    /// Of a kind that is watched and not translated.
    pub(crate) fn watch_errors_of(&self, kind: &'static str) {
        self.watch_errors.with_label_values(&[kind]).inc();
    }

    pub(crate) fn watch_synced_of(&self, kind: &'static str, is: bool) {
        self.watch_synced.with_label_values(&[kind]).set(is.into());
    }

    pub(crate) fn status_write(&self, kind: Kind, outcome: Outcome) {
        let result = match outcome {
            Outcome::Written => "written",
            Outcome::Conflict => "conflict",
            Outcome::Gone => "gone",
            Outcome::Failed => "failed",
        };
        self.status_writes.with_label_values(&[kind.as_str(), result]).inc();
    }

    /// For whoever applies or deletes an object of `kind`.
    pub(crate) fn provisioned(&self, kind: &str, ok: bool) {
        self.provisioning.with_label_values(&[kind, if ok { "done" } else { "failed" }]).inc();
    }

    pub(crate) fn leads(&self, is: bool) {
        self.is_leader.set(is.into());
    }

    pub(crate) fn objects(&self, inputs: &Inputs) {
        for kind in Kind::ALL {
            let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            let invalid = inputs.invalid.keys().filter(|reference| reference.kind == kind).count();
            self.objects.with_label_values(&[kind.as_str()]).set(count(inputs.count(kind)));
            self.invalid.with_label_values(&[kind.as_str()]).set(count(invalid));
        }
    }

    pub(crate) fn downgrades(&self, downgrades: &BTreeSet<Downgrade>) {
        self.downgrades.reset();
        let targets: BTreeSet<_> = downgrades.iter().map(|one| (&one.policy, &one.target)).collect();
        for (policy, _) in targets {
            self.downgrades.with_label_values(&[&*policy.namespace, &*policy.name]).inc();
        }
    }

    pub(crate) fn published(&self, gateway: &GatewayKey, published: &Published) {
        let labels = [&*gateway.namespace, &*gateway.name];
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.version.with_label_values(&labels).set(number(published.target.version.number));
        self.refused.with_label_values(&labels).set(number(published.refused.len() as u64));
    }

    pub(crate) fn retired(&self, gateway: &GatewayKey) {
        let labels = [&*gateway.namespace, &*gateway.name];
        // An error says that there was nothing to remove.
        let _ = self.version.remove_label_values(&labels);
        let _ = self.refused.remove_label_values(&labels);
    }

    /// The Prometheus text format.
    pub(crate) fn render(&self, stats: &Stats, issuers: Option<&portcullis_issuers::Stats>) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        let mut text = String::from_utf8_lossy(&text).into_owned();
        stream(&mut text, stats);
        if let Some(issuers) = issuers {
            fetches(&mut text, issuers);
        }
        text
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// The stream's own counters are atomics; they are read when they are asked for.
fn stream(text: &mut String, stats: &Stats) {
    let Stats {
        connections,
        handshakes_failed,
        certificates_issued,
        streams,
        streams_open,
        snapshots_sent,
        deltas_sent,
        updates_refused,
        reports,
        ..
    } = stats;
    for (name, help, kind, value) in [
        ("connections_total", "TLS connections of data planes and replicas.", "counter", connections),
        ("handshakes_failed_total", "TLS handshakes that failed or took too long.", "counter", handshakes_failed),
        ("certificates_issued_total", "Client certificates given to data planes.", "counter", certificates_issued),
        ("streams_total", "Configuration streams begun.", "counter", streams),
        ("streams_open", "Configuration streams that are open.", "gauge", streams_open),
        ("snapshots_sent_total", "Whole programs sent.", "counter", snapshots_sent),
        ("deltas_sent_total", "Changes of programs sent.", "counter", deltas_sent),
        ("updates_refused_total", "Updates that a data plane refused as a whole.", "counter", updates_refused),
        ("reports_total", "Reports of other replicas about their data planes.", "counter", reports),
    ] {
        sample(text, &format!("stream_{name}"), help, kind, value.load(Relaxed));
    }
    family(text, "stream_denied_total", "Peers that were turned away, by reason.", "counter");
    for reason in DeniedReason::ALL {
        let (label, count) = (reason.label(), stats.denied(reason));
        text.push_str(&format!("portcullis_controller_stream_denied_total{{reason=\"{label}\"}} {count}\n"));
    }
}

/// What was fetched for policies.
fn fetches(text: &mut String, stats: &portcullis_issuers::Stats) {
    let portcullis_issuers::Stats { fetched, failed, wanted, sources, without_keys, left_out } = stats;
    for (name, help, kind, value) in [
        ("fetched_total", "Fetches of issuers' keys that came to something.", "counter", fetched),
        ("failed_total", "Fetches of issuers' keys that failed.", "counter", failed),
        ("wanted_total", "Questions for keys with an unknown id.", "counter", wanted),
        ("sources", "Issuers that policies name.", "gauge", sources),
        ("without_keys", "Of them, those whose tokens cannot be judged for want of keys.", "gauge", without_keys),
        ("left_out", "Issuers that are not fetched because there are too many.", "gauge", left_out),
    ] {
        sample(text, &format!("issuers_{name}"), help, kind, value.load(Relaxed));
    }
}

fn sample(text: &mut String, name: &str, help: &str, kind: &str, value: u64) {
    family(text, name, help, kind);
    text.push_str(&format!("portcullis_controller_{name} {value}\n"));
}

fn family(text: &mut String, name: &str, help: &str, kind: &str) {
    let name = format!("portcullis_controller_{name}");
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_sample_of_ours() {
        let metrics = Metrics::new().unwrap();
        metrics.status_write(Kind::Gateway, Outcome::Written);
        let text = metrics.render(&Stats::default(), Some(&portcullis_issuers::Stats::default()));
        assert!(
            text.contains("portcullis_controller_status_writes_total{kind=\"Gateway\",result=\"written\"} 1"),
            "{text}"
        );
        assert!(text.contains("portcullis_controller_stream_denied_total{reason=\"token\"} 0"));
        assert!(text.contains("\nportcullis_controller_issuers_failed_total 0\n"));
        assert!(text.lines().all(|line| line.starts_with('#') || line.starts_with("portcullis_controller_")));
    }
}
