//! What limits count, for `/metrics`: series of rules that are in force, and no others.

use std::sync::Arc;

use portcullis_limits::{Counters, StoreFailure};

use super::State;
use crate::observe::Exposition;

const PREFIX: &str = "portcullis_dataplane_rate_limit";

type Series<'a> = Vec<(Vec<(&'static str, String)>, u64)>;

impl State {
    pub(crate) fn render(&self, out: &mut Exposition) {
        let mut rules: Vec<Arc<Counters>> = self.registry().in_force().cloned().collect();
        rules.sort_by_cached_key(|counters| {
            format!("{}/{} {:?}", counters.policy, counters.id.rule, counters.id.target)
        });
        // Targets of one rule are one series: labels are names of objects.
        let mut requests: Series<'_> = Vec::new();
        let (mut failures, mut leased, mut returned, mut evicted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for counters in &rules {
            let tally = &counters.tally;
            for (outcome, count) in
                [("allowed", &tally.allowed), ("limited", &tally.limited), ("shadowed", &tally.shadowed)]
            {
                add(&mut requests, counters, Some(("outcome", outcome)), count.value());
            }
            for (failure, count) in StoreFailure::ALL.iter().zip(&tally.failures) {
                add(&mut failures, counters, Some(("kind", failure.label())), count.value());
            }
            add(&mut leased, counters, None, tally.leased.value());
            add(&mut returned, counters, None, tally.returned.value());
            add(&mut evicted, counters, None, counters.evicted());
        }
        for (name, help, series) in [
            (
                "requests_total",
                "Requests that a rule of a RateLimitPolicy applied to, by what became of them.",
                requests,
            ),
            ("store_failures_total", "Requests that got no answer from the store of a rule, by why.", failures),
            ("leased_units_total", "Units that a rule took from its store.", leased),
            ("returned_units_total", "Units that a rule gave back to its store unused.", returned),
            ("evicted_keys_total", "Keys of a rule that were forgotten for want of room.", evicted),
        ] {
            out.labelled_counts(&format!("{PREFIX}_{name}"), help, series);
        }
    }
}

fn add(series: &mut Series<'_>, counters: &Counters, label: Option<(&'static str, &str)>, value: u64) {
    let (namespace, policy) = counters.policy.split_once('/').unwrap_or(("", &counters.policy));
    let mut labels = vec![
        ("policy_namespace", namespace.to_owned()),
        ("policy", policy.to_owned()),
        ("rule", counters.id.rule.to_string()),
    ];
    labels.extend(label.map(|(name, value)| (name, value.to_owned())));
    match series.last_mut().filter(|(before, _)| *before == labels) {
        Some((_, sum)) => *sum += value,
        None => match series.iter_mut().find(|(before, _)| *before == labels) {
            Some((_, sum)) => *sum += value,
            None => series.push((labels, value)),
        },
    }
}
