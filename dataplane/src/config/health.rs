//! How requests fare, told to a server that asked for it. Costs nothing when none did: the counters are those of the
//! metrics, read twice.

use std::sync::Arc;
use std::time::Duration;

use portcullis_ir::{ResourceKey, RouteKey};
use portcullis_wire::{ErrorClass, Figures, Health, LATENCY_BUCKETS, Observe, Version};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::observe::Metrics;

/// Shortest interval: a server that asks for less is told at this pace.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Observation {
    metrics: Arc<Metrics>,
    interval: Interval,
    since: Instant,
    /// Rules whose figures are told apart. Other resources have none of their own.
    routes: Vec<RouteKey>,
    /// What had been counted when the interval began: of each rule, and of all others.
    named: Vec<Figures>,
    rest: Figures,
}

impl Observation {
    /// None: the server asks for nothing any more.
    pub(super) fn begin(observe: Observe, metrics: &Arc<Metrics>) -> Option<Self> {
        let Observe { resources, interval_milliseconds } = observe;
        if interval_milliseconds == 0 {
            return None;
        }
        let period = Duration::from_millis(interval_milliseconds.into()).max(MIN_INTERVAL);
        let mut interval = tokio::time::interval_at(Instant::now() + period, period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let routes: Vec<_> = (resources.into_iter())
            .filter_map(|key| match key {
                ResourceKey::Route(key) => Some(key),
                _ => None,
            })
            .collect();
        let (named, rest) = metrics.figures(&routes);
        Some(Self { metrics: Arc::clone(metrics), interval, since: Instant::now(), routes, named, rest })
    }

    /// The end of the interval.
    pub(super) async fn elapsed(&mut self) {
        self.interval.tick().await;
    }

    /// What the interval brought.
    pub(super) fn report(&mut self, version: Version) -> Health {
        let (named, rest) = self.metrics.figures(&self.routes);
        let passed = self.since.elapsed();
        self.since = Instant::now();
        let grown = named.iter().zip(&self.named).map(|(after, before)| difference(after, before));
        let resources = self.routes.iter().cloned().map(ResourceKey::Route).zip(grown);
        let health = Health {
            version,
            interval_milliseconds: u32::try_from(passed.as_millis()).unwrap_or(u32::MAX),
            resources: resources.filter(|(_, figures)| figures.requests > 0).collect(),
            rest: difference(&rest, &self.rest),
        };
        (self.named, self.rest) = (named, rest);
        health
    }
}

/// Counters go with their rule, so that a sum may have become smaller: then the interval has nothing to tell.
fn difference(after: &Figures, before: &Figures) -> Figures {
    let count =
        |list: &[(ErrorClass, u64)], class| list.iter().find(|(of, _)| *of == class).map_or(0, |(_, count)| *count);
    Figures {
        requests: after.requests.saturating_sub(before.requests),
        backend_errors: after.backend_errors.saturating_sub(before.backend_errors),
        gateway_errors: (after.gateway_errors.iter())
            .map(|&(class, now)| (class, now.saturating_sub(count(&before.gateway_errors, class))))
            .filter(|(_, count)| *count > 0)
            .collect(),
        latency: std::array::from_fn::<_, LATENCY_BUCKETS, _>(|bucket| {
            after.latency[bucket].saturating_sub(before.latency[bucket])
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Flags, flags};

    #[tokio::test]
    async fn an_interval_tells_what_it_brought_and_no_more() {
        let metrics = Arc::new(Metrics::default());
        let [named, other] = ["named", "other"].map(|name| RouteKey::http("ns", name, 0));
        let count = |key: &RouteKey, status, flags| {
            metrics.request(key, &metrics.rule(key), status, flags, Duration::from_micros(3));
        };
        count(&named, 200, Flags::NONE);
        let observe = Observe { resources: vec![ResourceKey::Route(named.clone())], interval_milliseconds: 1000 };
        let mut observation = Observation::begin(observe, &metrics).expect("an interval is asked for");
        count(&named, 503, flags::NO_ENDPOINTS);
        count(&other, 500, Flags::NONE);
        metrics.unmatched.request(404, flags::NO_ROUTE, Duration::ZERO);

        let version = Version { epoch: 1, number: 2 };
        let health = observation.report(version);
        let [(key, figures)] = &health.resources[..] else { panic!("{health:?}") };
        assert_eq!(*key, ResourceKey::Route(named));
        assert_eq!((figures.requests, figures.backend_errors, figures.latency[2]), (1, 0, 1));
        assert_eq!(figures.gateway_errors, [(ErrorClass::NoEndpoints, 1)]);
        assert_eq!((health.rest.requests, health.rest.backend_errors), (2, 1));
        assert_eq!(health.rest.gateway_errors, [(ErrorClass::NoRoute, 1)]);

        metrics.remove_rule(&other, &metrics.rule(&other));
        let quiet = observation.report(version);
        assert_eq!((quiet.resources.len(), quiet.rest.requests), (0, 0));
    }

    #[test]
    fn an_interval_of_nothing_ends_the_observation() {
        let observe = Observe { resources: Vec::new(), interval_milliseconds: 0 };
        assert!(Observation::begin(observe, &Arc::default()).is_none());
    }
}
