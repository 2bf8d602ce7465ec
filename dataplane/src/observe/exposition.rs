//! Counters as they are read: the Prometheus text format, built anew for each scrape.

use prometheus::proto;

use super::rule::{CLASSES, Numbers};
use super::{Counter, Gauge};

pub(super) type Labels<'a> = [(&'a str, &'a str)];

/// Families in the order in which they were added. A family without series is left out.
#[derive(Default)]
pub(crate) struct Exposition {
    families: Vec<proto::MetricFamily>,
}

impl Exposition {
    pub(super) fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.counters(name, help, vec![(Vec::new(), counter)]);
    }

    /// One series per label set; those that never counted anything are left out.
    pub(super) fn counters(&mut self, name: &str, help: &str, series: Vec<(Vec<(&str, &str)>, &Counter)>) {
        let metrics = series
            .into_iter()
            .filter(|(labels, counter)| labels.is_empty() || counter.value() > 0)
            .map(|(labels, counter)| {
                let mut value = proto::Counter::default();
                value.set_value(float(counter.value()));
                let mut metric = labelled(&labels);
                metric.set_counter(value);
                metric
            })
            .collect();
        self.family(name, help, proto::MetricType::COUNTER, metrics);
    }

    /// As [`Exposition::counters`], with labels made for this.
    pub(super) fn labelled_counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        series: impl Iterator<Item = (Vec<(&'static str, String)>, &'a Counter)>,
    ) {
        let metrics = series.filter(|(_, counter)| counter.value() > 0).map(|(labels, counter)| {
            let mut value = proto::Counter::default();
            value.set_value(float(counter.value()));
            let mut metric = labelled_owned(&labels);
            metric.set_counter(value);
            metric
        });
        self.family(name, help, proto::MetricType::COUNTER, metrics.collect());
    }

    /// As [`Exposition::labelled_counters`], of numbers that are kept elsewhere.
    pub(crate) fn labelled_counts(&mut self, name: &str, help: &str, series: Vec<(Vec<(&'static str, String)>, u64)>) {
        let metrics = series.into_iter().filter(|(_, count)| *count > 0).map(|(labels, count)| {
            let mut value = proto::Counter::default();
            value.set_value(float(count));
            let mut metric = labelled_owned(&labels);
            metric.set_counter(value);
            metric
        });
        self.family(name, help, proto::MetricType::COUNTER, metrics.collect());
    }

    pub(super) fn labelled_gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        series: impl Iterator<Item = (Vec<(&'static str, String)>, &'a Gauge)>,
    ) {
        let metrics = series.map(|(labels, gauge)| {
            let mut value = proto::Gauge::default();
            #[allow(clippy::cast_precision_loss, reason = "a metric is a float; counts stay below 2^53")]
            value.set_value(gauge.value() as f64);
            let mut metric = labelled_owned(&labels);
            metric.set_gauge(value);
            metric
        });
        self.family(name, help, proto::MetricType::GAUGE, metrics.collect());
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, gauge: &Gauge) {
        #[allow(clippy::cast_precision_loss, reason = "a metric is a float; counts stay below 2^53")]
        self.gauge_value(name, help, &[], gauge.value() as f64);
    }

    pub(super) fn gauge_value(&mut self, name: &str, help: &str, labels: &Labels<'_>, value: f64) {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        let mut metric = labelled(labels);
        metric.set_gauge(gauge);
        self.family(name, help, proto::MetricType::GAUGE, vec![metric]);
    }

    /// Requests and durations of rules: two families from the same numbers.
    pub(super) fn rules<'a>(&mut self, rules: impl Iterator<Item = (Vec<(&'a str, String)>, &'a Numbers)>) {
        let mut requests = Vec::new();
        let mut durations = Vec::new();
        for (owned, numbers) in rules {
            let labels: Vec<(&str, &str)> = owned.iter().map(|(name, value)| (*name, value.as_str())).collect();
            for (class, counter) in CLASSES.iter().zip(&numbers.classes).filter(|(_, counter)| counter.value() > 0) {
                let mut with_class = labels.clone();
                with_class.push(("class", class));
                let mut value = proto::Counter::default();
                value.set_value(float(counter.value()));
                let mut metric = labelled(&with_class);
                metric.set_counter(value);
                requests.push(metric);
            }
            let mut metric = labelled(&labels);
            metric.set_histogram(histogram(numbers));
            durations.push(metric);
        }
        self.family(
            "portcullis_dataplane_requests_total",
            "Finished requests by rule and status class; requests that no rule matched are in the rule `unmatched`.",
            proto::MetricType::COUNTER,
            requests,
        );
        self.family(
            "portcullis_dataplane_request_duration_seconds",
            "From a request's complete head to the last byte of its response, by rule.",
            proto::MetricType::HISTOGRAM,
            durations,
        );
    }

    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a string fails only on a family without metrics, and those were left out.
        if let Err(error) = prometheus::TextEncoder::new().encode_utf8(&self.families, &mut text) {
            tracing::error!(%error, "metrics could not be rendered");
        }
        text
    }

    fn family(&mut self, name: &str, help: &str, kind: proto::MetricType, metrics: Vec<proto::Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.families.push(family);
    }
}

/// Counted in finer buckets than shown: these are the bits of microseconds below which a shown bucket ends, 256 µs to
/// 67 s.
const SHOWN: [usize; 13] = [8, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26];

fn histogram(numbers: &Numbers) -> proto::Histogram {
    let mut cumulative = 0;
    let mut counted = 0;
    let mut buckets = Vec::with_capacity(SHOWN.len());
    for bits in SHOWN {
        cumulative += numbers.buckets[counted..=bits].iter().map(Counter::value).sum::<u64>();
        counted = bits + 1;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(float(1 << bits) / 1e6);
        bucket.set_cumulative_count(cumulative);
        buckets.push(bucket);
    }
    // The encoder adds the bucket without a bound from the count.
    let count = cumulative + numbers.buckets[counted..].iter().map(Counter::value).sum::<u64>();
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(count);
    histogram.set_sample_sum(float(numbers.micros.value()) / 1e6);
    histogram
}

fn labelled_owned(labels: &[(&str, String)]) -> proto::Metric {
    labelled(&labels.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

fn labelled(labels: &Labels<'_>) -> proto::Metric {
    let pairs = labels
        .iter()
        .map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        })
        .collect();
    proto::Metric::from_label(pairs)
}

#[allow(clippy::cast_precision_loss, reason = "a metric is a float; counts stay below 2^53")]
fn float(value: u64) -> f64 {
    value as f64
}
