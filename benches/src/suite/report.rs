//! The report of the whole suite: Markdown for people, JSON for comparison between releases, SVG beside them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::plot::Plot;
use crate::line::{Bound, Line, Verdict};
use crate::stats::Spread;
use crate::table::{cell, markdown, maybe, short, thousands};

/// What is printed for readers and never judged: it cannot be compared between machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    pub bench: String,
    pub case: String,
    pub subject: String,
    pub rps: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Processor time of one request, in microseconds.
    pub cpu_us: Option<f64>,
    pub rss_mib: Option<f64>,
}

/// What one bench found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    pub lines: Vec<Line>,
    pub sides: Vec<Side>,
    pub plots: Vec<Plot>,
}

#[derive(Debug)]
pub struct SuiteReport<'a> {
    pub head: &'a [(&'static str, String)],
    pub findings: &'a [&'a Findings],
    /// Of the whole run.
    pub foreign: f64,
    pub seconds: u64,
}

impl SuiteReport<'_> {
    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.findings.iter().flat_map(|findings| &findings.lines)
    }

    fn plots(&self) -> impl Iterator<Item = &Plot> {
        self.findings.iter().flat_map(|findings| &findings.plots)
    }

    #[must_use]
    pub fn failed(&self) -> bool {
        self.lines().any(|line| matches!(line.verdict(), Verdict::Fail(_)))
    }

    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = "# Portcullis beside its peers\n\n".to_owned();
        for (name, value) in self.head {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "- {name}: {value}");
        }
        let _ = writeln!(text, "- foreign processor time over the whole run: {:.2} core", self.foreign);
        let _ = writeln!(text, "- took: {} s\n", self.seconds);
        let header = [
            "bench",
            "case",
            "peer",
            "ours",
            "peer's",
            "unit",
            "ratio [IQR]",
            "rounds",
            "instr ours/peer",
            "foreign",
            "must",
            "stretch",
            "verdict",
            "note",
        ];
        text += &markdown(header, &self.lines().map(row).collect::<Vec<_>>());
        text += "\nThe peers keep no access log here and fewer metrics than we do; that is in our figures and not in theirs.\n";
        text += "\n## Not comparable between machines\n\nNever judged; for readers only.\n\n";
        let sides: Vec<_> = self.findings.iter().flat_map(|findings| &findings.sides).map(side).collect();
        text += &markdown(
            ["bench", "case", "subject", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "RSS MiB"],
            &sides,
        );
        for plot in self.plots() {
            let _ = write!(text, "\n![{}]({})\n", plot.title, plot.file());
        }
        text
    }

    /// Writes `suite.md`, `suite.json` and the plots into `folder`.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let keep = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        let lines: Vec<_> = self.lines().map(|line| json!({ "line": line, "verdict": line.verdict() })).collect();
        let sides: Vec<_> = self.findings.iter().flat_map(|findings| &findings.sides).collect();
        let head: serde_json::Map<_, _> =
            self.head.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let document = json!({ "head": head, "foreign": self.foreign, "seconds": self.seconds, "lines": lines,
            "not_comparable": sides });
        keep("suite.md", &self.markdown())?;
        keep("suite.json", &(serde_json::to_string_pretty(&document)? + "\n"))?;
        for plot in self.plots() {
            keep(&plot.file(), &plot.svg())?;
        }
        Ok(())
    }
}

fn row(line: &Line) -> [String; 14] {
    let bound = |bound: Option<Bound>| match bound {
        Some(Bound::Ratio(limit)) => format!("≤ {}x", short(limit)),
        Some(Bound::Ours(limit)) => format!("≤ {}", short(limit)),
        None => "–".to_owned(),
    };
    let instructions = match line.instructions {
        (None, None) => "–".to_owned(),
        (ours, theirs) => {
            let shown = |one: Option<f64>| one.map_or_else(|| "–".to_owned(), thousands);
            format!("{} / {}", shown(ours), shown(theirs))
        }
    };
    let mut note = line.note.clone();
    if line.errors != (0, 0) {
        let _ = write!(note, " errors: {} ours, {} peer's", line.errors.0, line.errors.1);
    }
    [
        line.bench.clone(),
        cell(&line.case),
        cell(&line.peer),
        maybe(line.ours),
        maybe(line.theirs),
        line.unit.clone(),
        line.ratio.map_or_else(|| "–".to_owned(), spread),
        if line.rounds == 0 { "–".to_owned() } else { line.rounds.to_string() },
        instructions,
        line.foreign.map_or_else(|| "–".to_owned(), |foreign| format!("{foreign:.2}")),
        bound(line.must),
        bound(line.stretch),
        verdict(&line.verdict()),
        cell(note.trim()),
    ]
}

fn spread(ratio: Spread) -> String {
    format!("{} [{}–{}]", short(ratio.median), short(ratio.low), short(ratio.high))
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Stretch => "pass (stretch)".to_owned(),
        Verdict::Fail(why) if why.is_empty() => "FAIL".to_owned(),
        Verdict::Fail(why) => format!("FAIL: {}", cell(why)),
        Verdict::Reported => "reported only".to_owned(),
        Verdict::NotJudged(why) => format!("not judged: {}", cell(why)),
        Verdict::DidNotRun(why) => format!("did not run: {}", cell(why)),
    }
}

fn side(side: &Side) -> [String; 8] {
    [
        side.bench.clone(),
        cell(&side.case),
        cell(&side.subject),
        maybe(side.rps),
        maybe(side.p50_ms),
        maybe(side.p99_ms),
        maybe(side.cpu_us),
        maybe(side.rss_mib),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Kind;

    fn findings() -> Findings {
        let ratio = Spread { median: 0.31, low: 0.3, high: 0.33 };
        let line = Line {
            ours: Some(25.0),
            theirs: Some(80.0),
            ratio: Some(ratio),
            rounds: 12,
            foreign: Some(0.02),
            ..Line::new("B1", "64 at once", "envoy", "µs").kind(Kind::Paired).must(Bound::Ratio(0.4))
        };
        let side = Side { bench: "B1".to_owned(), subject: "ours".to_owned(), rps: Some(30_000.0), ..Side::default() };
        Findings {
            lines: vec![line, Line::did_not_run("B3", "", "there is no AuthPolicy yet")],
            sides: vec![side],
            plots: Vec::new(),
        }
    }

    #[test]
    fn a_line_holds_the_ratio_with_its_quartiles_and_the_verdict() {
        let findings = findings();
        let report =
            SuiteReport { head: &[("machine", "small".to_owned())], findings: &[&findings], foreign: 0.02, seconds: 9 };
        let text = report.markdown();
        for part in [
            "0.31 [0.30–0.33]",
            "≤ 0.40x",
            "| pass",
            "did not run: there is no AuthPolicy yet",
            "Not comparable",
            "30,000",
            "- machine: small",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!report.failed());
    }

    #[test]
    fn what_is_written_can_be_read_by_a_program() {
        let (findings, folder) = (findings(), tempfile::tempdir().unwrap());
        SuiteReport { head: &[], findings: &[&findings], foreign: 0.0, seconds: 0 }.write(folder.path()).unwrap();
        let text = fs::read_to_string(folder.path().join("suite.json")).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["lines"][0]["verdict"], "pass");
        assert_eq!(document["lines"][1]["verdict"]["did_not_run"], "there is no AuthPolicy yet");
    }
}
