//! Counters of rules of bytes and datagrams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use portcullis_ir::RouteKey;

use super::exposition::Exposition;
use super::{Counter, Flags, Gauge, flags};

/// Of all rules, by key; a rule's series end with the rule.
#[derive(Debug, Default)]
pub(crate) struct StreamRules {
    /// Connections and datagrams that no rule has.
    pub(crate) unmatched: StreamMetrics,
    rules: Mutex<BTreeMap<RouteKey, Arc<StreamMetrics>>>,
}

/// The numbers are allocated by the first connection: an idle rule costs one pointer and shows no series.
#[derive(Debug, Default)]
pub(crate) struct StreamMetrics {
    numbers: OnceLock<Box<StreamNumbers>>,
}

#[derive(Debug, Default)]
pub(crate) struct StreamNumbers {
    outcomes: [Counter; Outcome::ALL.len()],
    pub(crate) open: Gauge,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) datagrams_in: Counter,
    pub(crate) datagrams_out: Counter,
    dropped: [Counter; Dropped::ALL.len()],
}

/// What became of a connection, or of a client's first datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It reached a backend.
    Ok,
    NoRoute,
    /// It was the turn of a backend that does not exist, may not be named or cannot be honoured.
    Invalid,
    NoEndpoints,
    ConnectFailed,
    /// A rate limit was used up.
    Limited,
    /// It ended (the client's listener, say) before a backend was reached.
    Aborted,
}

/// Why a datagram went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    NoRoute,
    Invalid,
    NoEndpoints,
    /// No socket to the endpoint could be had.
    ConnectFailed,
    /// The listener has as many sessions as it may have.
    Full,
    /// The network takes no more, or the other side is not there.
    SendFailed,
    /// A new client of a listener that is going away.
    Draining,
    /// A new client, and a rate limit was used up.
    Limited,
}

impl StreamRules {
    /// The counters of a rule. They stay the same as long as the rule is there.
    pub(crate) fn rule(&self, key: &RouteKey) -> Arc<StreamMetrics> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rules.entry(key.clone()).or_default())
    }

    /// Ends a rule's series.
    pub(crate) fn remove_rule(&self, key: &RouteKey) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    pub(super) fn render(&self, out: &mut Exposition) {
        let rules: Vec<(RouteKey, Arc<StreamMetrics>)> = {
            let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
            rules.iter().map(|(key, rule)| (key.clone(), Arc::clone(rule))).collect()
        };
        let matched = rules.iter().filter_map(|(key, rule)| {
            let RouteKey { kind, namespace, name, rule: index } = key;
            let labels = [kind.as_str().to_owned(), namespace.to_string(), name.to_string(), index.to_string()];
            Some((labels, &**rule.numbers.get()?))
        });
        let unmatched = self.unmatched.numbers.get().map(|numbers| {
            let labels = ["", "", "", "unmatched"].map(str::to_owned);
            (labels, &**numbers)
        });
        let all: Vec<([String; 4], &StreamNumbers)> = matched.chain(unmatched).collect();
        render_families(out, &all);
    }
}

const LABELS: [&str; 4] = ["route_kind", "route_namespace", "route", "rule"];

fn render_families(out: &mut Exposition, all: &[([String; 4], &StreamNumbers)]) {
    let with = |values: &'_ [String; 4], more: Option<(&'static str, &'static str)>| -> Vec<(&'static str, String)> {
        let labels = LABELS.into_iter().zip(values.iter().cloned());
        labels.chain(more.map(|(name, value)| (name, value.to_owned()))).collect()
    };
    let outcomes = all.iter().flat_map(|(values, numbers)| {
        let counters = Outcome::ALL.iter().zip(&numbers.outcomes);
        counters.map(move |(outcome, counter)| (with(values, Some(("outcome", outcome.label()))), counter))
    });
    out.labelled_counters(
        "portcullis_dataplane_stream_connections_total",
        "TLS and TCP connections and UDP sessions by rule, and by what became of them.",
        outcomes,
    );
    let open = all.iter().map(|(values, numbers)| (with(values, None), &numbers.open));
    out.labelled_gauges(
        "portcullis_dataplane_stream_connections",
        "TLS and TCP connections and UDP sessions that are open now, by rule.",
        open,
    );
    type Of = fn(&StreamNumbers) -> &Counter;
    let families: [(&str, &str, Of); 4] = [
        ("bytes_in_total", "Bytes from clients, by rule.", |numbers| &numbers.bytes_in),
        ("bytes_out_total", "Bytes to clients, by rule.", |numbers| &numbers.bytes_out),
        ("datagrams_in_total", "Datagrams from clients that were sent on, by rule.", |numbers| &numbers.datagrams_in),
        ("datagrams_out_total", "Datagrams sent back to clients, by rule.", |numbers| &numbers.datagrams_out),
    ];
    for (name, help, counter) in families {
        let series = all.iter().map(|(values, numbers)| (with(values, None), counter(numbers)));
        out.labelled_counters(&format!("portcullis_dataplane_stream_{name}"), help, series);
    }
    let dropped = all.iter().flat_map(|(values, numbers)| {
        let counters = Dropped::ALL.iter().zip(&numbers.dropped);
        counters.map(move |(reason, counter)| (with(values, Some(("reason", reason.label()))), counter))
    });
    out.labelled_counters(
        "portcullis_dataplane_stream_datagrams_dropped_total",
        "Datagrams that went nowhere, by rule and reason.",
        dropped,
    );
}

impl StreamMetrics {
    pub(crate) fn numbers(&self) -> &StreamNumbers {
        self.numbers.get_or_init(Box::default)
    }

    pub(crate) fn outcome(&self, outcome: Outcome) {
        self.numbers().outcomes[outcome as usize].increment();
    }

    pub(crate) fn dropped(&self, reason: Dropped) {
        self.numbers().dropped[reason as usize].increment();
    }
}

impl Outcome {
    const ALL: [Self; 7] =
        [Self::Ok, Self::NoRoute, Self::Invalid, Self::NoEndpoints, Self::ConnectFailed, Self::Limited, Self::Aborted];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoRoute => "no_route",
            Self::Invalid => "invalid",
            Self::NoEndpoints => "no_endpoints",
            Self::ConnectFailed => "connect_failed",
            Self::Limited => "limited",
            Self::Aborted => "aborted",
        }
    }

    /// As a request would say it.
    pub(crate) fn flags(self) -> Flags {
        match self {
            Self::Ok | Self::Aborted => Flags::NONE,
            Self::NoRoute => flags::NO_ROUTE,
            Self::Invalid => flags::INVALID_BACKEND,
            Self::NoEndpoints => flags::NO_ENDPOINTS,
            Self::ConnectFailed => flags::UPSTREAM_CONNECT_FAILURE,
            Self::Limited => flags::RATE_LIMITED,
        }
    }

    /// Why datagrams of a session that came to nothing are dropped.
    pub(crate) fn dropped(self) -> Dropped {
        match self {
            Self::NoRoute => Dropped::NoRoute,
            Self::Invalid => Dropped::Invalid,
            Self::NoEndpoints => Dropped::NoEndpoints,
            Self::ConnectFailed => Dropped::ConnectFailed,
            Self::Limited => Dropped::Limited,
            Self::Ok | Self::Aborted => Dropped::SendFailed,
        }
    }
}

impl Dropped {
    const ALL: [Self; 8] = [
        Self::NoRoute,
        Self::Invalid,
        Self::NoEndpoints,
        Self::ConnectFailed,
        Self::Full,
        Self::SendFailed,
        Self::Draining,
        Self::Limited,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::Invalid => "invalid",
            Self::NoEndpoints => "no_endpoints",
            Self::ConnectFailed => "connect_failed",
            Self::Full => "full",
            Self::SendFailed => "send_failed",
            Self::Draining => "draining",
            Self::Limited => "limited",
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_ir::RouteKind;

    use super::*;

    #[test]
    fn labels_stand_where_their_counters_are() {
        assert!(Outcome::ALL.iter().enumerate().all(|(at, outcome)| *outcome as usize == at));
        assert!(Dropped::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
    }

    #[test]
    fn series_appear_with_the_first_connection_and_go_with_the_rule() {
        let rules = StreamRules::default();
        let key = RouteKey::new(RouteKind::TcpRoute, "shop", "cart", 0);
        let rendered = || {
            let mut out = Exposition::default();
            rules.render(&mut out);
            out.render()
        };
        let rule = rules.rule(&key);
        assert_eq!(rendered(), "");

        rule.outcome(Outcome::Ok);
        rule.numbers().open.add(1);
        rule.dropped(Dropped::Full);
        let text = rendered();
        for part in [
            "portcullis_dataplane_stream_connections_total{",
            r#"outcome="ok""#,
            r#"route_kind="TCPRoute""#,
            "portcullis_dataplane_stream_connections{",
            r#"reason="full""#,
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("no_route"), "{text}");

        rules.remove_rule(&key);
        assert_eq!(rendered(), "");
    }
}
