//! One line of the report: what was measured of us and of a peer, what it may be, and whether it is.

use serde::{Deserialize, Serialize};

use crate::stats::{ENOUGH_ROUNDS, Spread};

/// Above this many cores of somebody else's work an absolute time says nothing (performance: "judged at release on a quiet run").
pub const QUIET: f64 = 0.10;

/// What a line may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Of the ratio ours ÷ theirs.
    Ratio(f64),
    /// Of our own figure, in the line's unit.
    Ours(f64),
}

/// How far a figure can be trusted on a machine that others use too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Counts, bytes, instructions: the same on a busy machine.
    #[default]
    Exact,
    /// Formed within rounds: needs enough of them.
    Paired,
    /// An absolute time or share of a core: judged on a quiet run only.
    Timed,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// "B1".
    pub bench: String,
    /// What of it: "64 connections", "5,000 routes".
    pub case: String,
    /// Whom we are compared with; "–" if with nobody.
    pub peer: String,
    pub unit: String,
    pub ours: Option<f64>,
    pub theirs: Option<f64>,
    pub ratio: Option<Spread>,
    /// Of our own figure over the rounds, where it is a difference: chance alone may make one that is not there.
    pub spread: Option<Spread>,
    pub rounds: usize,
    /// User instructions per request, ours and theirs.
    pub instructions: (Option<f64>, Option<f64>),
    /// Cores busy with what is not ours, the upstream's or the load's.
    pub foreign: Option<f64>,
    pub must: Option<Bound>,
    pub stretch: Option<Bound>,
    pub kind: Kind,
    /// Requests that failed on our side, and on the peer's.
    pub errors: (u64, u64),
    /// Why there is nothing, or less than there should be.
    pub problem: Option<String>,
    /// What a reader should know beside the numbers.
    pub note: String,
    /// Should it fail: what is known of the cause, and what was tried.
    pub cause: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    Stretch,
    Fail(String),
    Reported,
    NotJudged(String),
    DidNotRun(String),
}

impl Line {
    #[must_use]
    pub fn new(bench: &str, case: impl Into<String>, peer: impl Into<String>, unit: &str) -> Self {
        Self { bench: bench.to_owned(), case: case.into(), peer: peer.into(), unit: unit.to_owned(), ..Self::default() }
    }

    /// A bench or a part of one that did not run: a line that says so, never a missing one.
    #[must_use]
    pub fn did_not_run(bench: &str, case: impl Into<String>, why: impl Into<String>) -> Self {
        Self { problem: Some(why.into()), ..Self::new(bench, case, "–", "") }
    }

    #[must_use]
    pub fn must(mut self, bound: Bound) -> Self {
        self.must = Some(bound);
        self
    }

    #[must_use]
    pub fn stretch(mut self, bound: Bound) -> Self {
        self.stretch = Some(bound);
        self
    }

    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }

    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if let Some(why) = &self.problem {
            return Verdict::DidNotRun(why.clone());
        }
        let (ours, theirs) = self.errors;
        if ours > 0 {
            return Verdict::Fail(format!("{ours} requests failed"));
        }
        let Some(must) = self.must.or(self.stretch) else { return Verdict::Reported };
        if let Some(why) = self.unjudgeable(theirs) {
            return Verdict::NotJudged(why);
        }
        let holds = |bound: Bound| self.measured(bound).map(|value| value <= bound.limit());
        match (holds(must), self.stretch.and_then(holds)) {
            (None, _) => Verdict::NotJudged("there is no figure".to_owned()),
            (_, Some(true)) => Verdict::Stretch,
            (Some(true), _) => Verdict::Pass,
            (Some(false), _) if self.must.is_none() => Verdict::Reported,
            (Some(false), _) => Verdict::Fail(self.cause.clone()),
        }
    }

    fn unjudgeable(&self, errors_of_the_peer: u64) -> Option<String> {
        if errors_of_the_peer > 0 && matches!(self.must, Some(Bound::Ratio(_))) {
            return Some(format!("{errors_of_the_peer} requests failed at the peer"));
        }
        if self.kind == Kind::Paired && self.rounds < ENOUGH_ROUNDS {
            return Some(format!("{} rounds, and {ENOUGH_ROUNDS} are needed", self.rounds));
        }
        if let (Some(spread), Some(Bound::Ours(limit))) = (self.spread, self.must) {
            let doubt = spread.doubt(self.rounds);
            if (spread.median - limit).abs() <= doubt {
                return Some(format!(
                    "{:.1} ± {doubt:.1} {} after {} rounds, and {limit} lies within",
                    spread.median, self.unit, self.rounds
                ));
            }
        }
        match self.foreign {
            Some(foreign) if self.kind == Kind::Timed && foreign > QUIET => Some(format!(
                "{foreign:.2} core of other work: absolute times are judged on a quiet machine ({QUIET:.2})"
            )),
            _ => None,
        }
    }

    fn measured(&self, bound: Bound) -> Option<f64> {
        match bound {
            Bound::Ours(_) => self.ours,
            // Where nothing repeats within rounds, the two figures themselves are set against each other.
            Bound::Ratio(_) => self.ratio.map(|ratio| ratio.median).or_else(|| match (self.ours, self.theirs) {
                (Some(ours), Some(theirs)) if theirs > 0.0 => Some(ours / theirs),
                _ => None,
            }),
        }
    }
}

impl Bound {
    #[must_use]
    pub fn limit(self) -> f64 {
        match self {
            Self::Ratio(limit) | Self::Ours(limit) => limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paired(ratio: f64, rounds: usize) -> Line {
        let spread = Spread { median: ratio, low: ratio, high: ratio };
        let line = Line { ratio: Some(spread), rounds, ..Line::new("B1", "", "envoy", "µs").kind(Kind::Paired) };
        line.must(Bound::Ratio(0.4)).stretch(Bound::Ratio(0.3))
    }

    #[test]
    fn a_ratio_passes_within_its_bound_and_fails_above() {
        assert_eq!(paired(0.40, 12).verdict(), Verdict::Pass);
        assert_eq!(paired(0.30, 12).verdict(), Verdict::Stretch);
        assert_eq!(paired(0.41, 12).verdict(), Verdict::Fail(String::new()));
        assert_eq!(paired(0.41, 12).cause("a known one").verdict(), Verdict::Fail("a known one".to_owned()));
    }

    #[test]
    fn fewer_rounds_than_twelve_are_not_judged() {
        assert!(matches!(paired(0.2, 11).verdict(), Verdict::NotJudged(_)));
    }

    #[test]
    fn a_failed_request_of_ours_fails_the_line_whatever_the_ratio() {
        assert!(matches!(Line { errors: (1, 0), ..paired(0.1, 12) }.verdict(), Verdict::Fail(_)));
    }

    #[test]
    fn a_peer_that_fails_requests_is_no_measure() {
        assert!(matches!(Line { errors: (0, 1), ..paired(0.1, 12) }.verdict(), Verdict::NotJudged(_)));
    }

    #[test]
    fn an_absolute_time_is_judged_on_a_quiet_machine_only() {
        let line =
            Line { ours: Some(3.0), ..Line::new("B6", "", "–", "ms").kind(Kind::Timed).must(Bound::Ours(5.0)) };
        assert_eq!(Line { foreign: Some(0.05), ..line.clone() }.verdict(), Verdict::Pass);
        assert!(matches!(Line { foreign: Some(0.9), ..line }.verdict(), Verdict::NotJudged(_)));
    }

    #[test]
    fn a_difference_is_judged_where_chance_alone_does_not_explain_it() {
        let line = |median, width| {
            let spread = Spread { median, low: median - width, high: median + width };
            let line =
                Line { ours: Some(median), spread: Some(spread), rounds: 12, ..Line::new("B4", "", "–", "µs") };
            line.kind(Kind::Timed).must(Bound::Ours(10.0)).verdict()
        };
        assert_eq!(line(1.3, 2.0), Verdict::Pass);
        assert_eq!(line(24.8, 5.0), Verdict::Fail(String::new()));
        for median in [1.3, 24.8] {
            assert!(matches!(line(median, 50.0), Verdict::NotJudged(_)), "whichever way it would go");
        }
    }

    #[test]
    fn what_did_not_run_says_why_and_what_has_no_bound_is_reported() {
        let line = Line::did_not_run("B3", "RS256", "no AuthPolicy yet");
        assert_eq!(line.verdict(), Verdict::DidNotRun("no AuthPolicy yet".to_owned()));
        assert_eq!(Line::new("B1", "", "nginx", "µs").verdict(), Verdict::Reported);
        assert!(matches!(Line::new("B1", "", "–", "").must(Bound::Ours(1.0)).verdict(), Verdict::NotJudged(_)));
    }

    #[test]
    fn a_stretch_without_a_must_is_reported_when_it_is_missed() {
        let line = |ours| Line { ours: Some(ours), ..Line::new("B7", "", "–", "").stretch(Bound::Ours(2.0)) };
        assert_eq!(line(1.0).verdict(), Verdict::Stretch);
        assert_eq!(line(3.0).verdict(), Verdict::Reported);
    }
}
