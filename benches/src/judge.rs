//! What is measured, what it may cost, and whether it does.

use std::collections::BTreeMap;

/// One thing that is measured. The order is the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Names the figure in `baseline.json` and in limits of others.
    pub key: &'static str,
    pub bench: &'static str,
    pub subject: &'static str,
    pub unit: &'static str,
    pub must: Option<Limit>,
    pub stretch: Option<Limit>,
    /// Compared with the baseline, and measured by the gate of `make test`, but for [`TOO_LONG_FOR_THE_GATE`].
    pub gated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    AtMost(u64),
    /// At most this many hundredths of another figure of the same run.
    Percent(u64, &'static str),
    /// At most this much above another figure of the same run.
    Above(u64, &'static str),
}

const fn peer(key: &'static str, bench: &'static str, subject: &'static str) -> Measure {
    Measure { key, bench, subject, unit: "instr/request", must: None, stretch: None, gated: false }
}

const fn ours(
    key: &'static str,
    bench: &'static str,
    unit: &'static str,
    must: Option<Limit>,
    stretch: Option<Limit>,
    gated: bool,
) -> Measure {
    Measure { key, bench, subject: "ours", unit, must, stretch, gated }
}

/// Compared with the baseline by the quick table alone: introducing 100,000 clients takes minutes that `make test` has not.
pub const TOO_LONG_FOR_THE_GATE: &str = "b4@local";

pub const MEASURES: &[Measure] = &[
    ours(
        "b1",
        "B1 plain, 64 at once",
        "instr/request",
        Some(Limit::AtMost(46_000)),
        Some(Limit::AtMost(36_000)),
        false,
    ),
    peer("b1/pingora", "B1 plain, 64 at once", "stock pingora"),
    peer("b1/hyper", "B1 plain, 64 at once", "bare hyper"),
    peer("b1/nginx", "B1 plain, 64 at once", "nginx"),
    ours(
        "b1_single",
        "B1 plain, one at a time",
        "instr/request",
        Some(Limit::Percent(75, "b1_single/pingora")),
        None,
        true,
    ),
    peer("b1_single/pingora", "B1 plain, one at a time", "stock pingora"),
    peer("b1_single/hyper", "B1 plain, one at a time", "bare hyper"),
    peer("b1_single/nginx", "B1 plain, one at a time", "nginx"),
    ours("cost@canary", "B1 one at a time, two backends 9:1", "instr/request", None, None, false),
    ours("cost@log", "B1 one at a time, every request logged", "instr/request", None, None, false),
    ours("cost@silent", "B1 one at a time, none logged", "instr/request", None, None, false),
    ours("b2@1", "B2 routes, 1", "instr/request", None, None, true),
    ours(
        "b2@1000",
        "B2 routes, 1,000",
        "instr/request",
        Some(Limit::Above(2_000, "b2@1")),
        Some(Limit::Above(1_000, "b2@1")),
        false,
    ),
    ours(
        "b2@5000",
        "B2 routes, 5,000",
        "instr/request",
        Some(Limit::Above(2_000, "b2@1")),
        Some(Limit::Above(1_000, "b2@1")),
        true,
    ),
    ours(
        "b2@50000",
        "B2 routes, 50,000",
        "instr/request",
        Some(Limit::Above(2_000, "b2@1")),
        Some(Limit::Above(1_000, "b2@1")),
        false,
    ),
    peer("b2/pingora", "B2 request, no routing", "stock pingora"),
    peer("b2/hyper", "B2 request, no routing", "bare hyper"),
    peer("b2/nginx", "B2 request, no routing", "nginx"),
    ours("b3@none", "B3 a token, no policy", "instr/request", None, None, true),
    ours("b3@jwt", "B3 RS256, one token repeated", "instr/request", Some(Limit::Above(1_500, "b3@none")), None, true),
    // The gate compares a key and a limit with the baseline only, and not with the same request without them: they are within what they may cost by
    // little more than two builds differ.
    ours("b3@key_none", "B3 an API key, no policy", "instr/request", None, None, false),
    ours(
        "b3@key",
        "B3 an API key among 100,000",
        "instr/request",
        Some(Limit::Above(1_000, "b3@key_none")),
        None,
        true,
    ),
    ours("b4@none", "B4 100,000 clients, no limit", "instr/request", None, None, false),
    ours(
        "b4@local",
        "B4 100,000 clients, local limit",
        "instr/request",
        Some(Limit::Above(500, "b4@none")),
        Some(Limit::Above(250, "b4@none")),
        true,
    ),
    peer("b4/nginx", "B4 100,000 clients, no limit", "nginx"),
    peer("b4/nginx_limit", "B4 100,000 clients, local limit", "nginx limit_req"),
    ours("b7@100", "B7 apply, 100", "instr/change", None, None, true),
    ours("b7@1000", "B7 apply, 1,000", "instr/change", Some(Limit::Percent(200, "b7@100")), None, false),
    ours("b7@5000", "B7 apply, 5,000", "instr/change", Some(Limit::Percent(200, "b7@100")), None, true),
    ours("b7@50000", "B7 apply, 50,000", "instr/change", None, Some(Limit::Percent(200, "b7@100")), false),
    ours("b7_bytes", "B7 on the wire, 5,000", "bytes/change", Some(Limit::AtMost(4_096)), None, true),
    ours(
        "rss",
        "B8 idle data plane, 5,000",
        "KiB",
        Some(Limit::AtMost(35 * 1024)),
        Some(Limit::AtMost(25 * 1024)),
        false,
    ),
    ours(
        "rss@strangers",
        "B8 idle data plane, 5,000 that share nothing",
        "KiB",
        Some(Limit::AtMost(35 * 1024)),
        Some(Limit::AtMost(25 * 1024)),
        false,
    ),
];

/// A figure, or why there is none.
pub type Figures = BTreeMap<&'static str, Result<f64, String>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Stretch,
    Fail,
    Reported,
    NotJudged(String),
}

/// Judges one figure against its limits.
#[must_use]
pub fn judge(measure: &Measure, figures: &Figures) -> Verdict {
    let value = match figures.get(measure.key) {
        Some(Ok(value)) => *value,
        Some(Err(reason)) => return Verdict::NotJudged(reason.clone()),
        None => return Verdict::NotJudged("not part of this run".to_owned()),
    };
    match (measure.must.map(|limit| allowed(limit, figures)), measure.stretch.map(|limit| allowed(limit, figures))) {
        (Some(Err(reason)), _) | (None, Some(Err(reason))) => Verdict::NotJudged(reason),
        (Some(Ok(must)), _) if value > must => Verdict::Fail,
        (_, Some(Ok(stretch))) if value <= stretch => Verdict::Stretch,
        (Some(Ok(_)), _) => Verdict::Pass,
        (None, _) => Verdict::Reported,
    }
}

/// The number that a limit stands for in this run.
#[expect(clippy::cast_precision_loss, reason = "limits stay far below 2^52")]
pub fn allowed(limit: Limit, figures: &Figures) -> Result<f64, String> {
    let figure = |key: &str| match figures.get(key) {
        Some(Ok(value)) => Ok(*value),
        _ => Err(format!("{key}, which it is compared with, was not measured")),
    };
    match limit {
        Limit::AtMost(most) => Ok(most as f64),
        Limit::Percent(percent, key) => Ok(figure(key)? * percent as f64 / 100.0),
        Limit::Above(above, key) => Ok(figure(key)? + above as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURE: Measure = ours("x", "x", "x", Some(Limit::Above(10, "y")), Some(Limit::AtMost(5)), true);

    #[test]
    fn a_figure_within_its_limit_passes_and_one_above_fails() {
        let judged = |x: f64| judge(&MEASURE, &Figures::from([("x", Ok(x)), ("y", Ok(0.0))]));
        assert_eq!(judged(10.0), Verdict::Pass);
        assert_eq!(judged(10.1), Verdict::Fail);
        assert_eq!(judged(5.0), Verdict::Stretch);
    }

    #[test]
    fn a_limit_that_rests_on_a_missing_figure_is_not_judged() {
        assert!(matches!(judge(&MEASURE, &Figures::from([("x", Ok(1.0))])), Verdict::NotJudged(_)));
        assert_eq!(
            judge(&MEASURE, &Figures::from([("x", Err("no nginx".to_owned()))])),
            Verdict::NotJudged("no nginx".to_owned())
        );
    }

    #[test]
    fn limits_name_measures_that_exist() {
        for measure in MEASURES {
            for limit in [measure.must, measure.stretch].into_iter().flatten() {
                if let Limit::Percent(_, key) | Limit::Above(_, key) = limit {
                    assert!(MEASURES.iter().any(|other| other.key == key), "{key}");
                }
            }
        }
    }
}
