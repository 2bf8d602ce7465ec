//! The report: a table for the terminal and for Markdown, JSON beside it for comparison between releases.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::judge::{Figures, Limit, Measure, Verdict, allowed, judge};
use crate::table::{self, thousands};

#[derive(Debug)]
pub struct Report<'a> {
    pub head: Vec<(&'static str, String)>,
    pub measures: &'a [&'a Measure],
    pub figures: &'a Figures,
    pub seconds: u64,
}

impl Report<'_> {
    #[must_use]
    pub fn failed(&self) -> bool {
        self.measures.iter().any(|measure| judge(measure, self.figures) == Verdict::Fail)
    }

    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.head {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "- {name}: {value}");
        }
        let _ = writeln!(text, "- took: {} s; instructions are user code only, counted by cachegrind\n", self.seconds);
        let rows: Vec<[String; 7]> = self.measures.iter().map(|measure| self.row(measure)).collect();
        text += &table::markdown(["bench", "subject", "figure", "unit", "must", "stretch", "verdict"], &rows);
        text
    }

    fn row(&self, measure: &Measure) -> [String; 7] {
        let figure = match self.figures.get(measure.key) {
            Some(Ok(value)) => thousands(*value),
            _ => "–".to_owned(),
        };
        let limit = |limit: Option<Limit>| limit.map_or_else(|| "–".to_owned(), |limit| self.limit(limit));
        let verdict = match judge(measure, self.figures) {
            Verdict::Pass => "pass".to_owned(),
            Verdict::Stretch => "pass (stretch)".to_owned(),
            Verdict::Fail => "FAIL".to_owned(),
            Verdict::Reported => "reported".to_owned(),
            Verdict::NotJudged(reason) => format!("not judged: {}", table::cell(&reason)),
        };
        [
            measure.bench.to_owned(),
            measure.subject.to_owned(),
            figure,
            measure.unit.to_owned(),
            limit(measure.must),
            limit(measure.stretch),
            verdict,
        ]
    }

    fn limit(&self, limit: Limit) -> String {
        let number = allowed(limit, self.figures).map_or_else(|_| "?".to_owned(), thousands);
        match limit {
            Limit::AtMost(_) => format!("≤ {number}"),
            Limit::Percent(percent, key) => format!("≤ {number} ({}.{:02}x {key})", percent / 100, percent % 100),
            Limit::Above(above, key) => format!("≤ {number} ({key} + {above})"),
        }
    }

    /// Writes `report.md` and `report.json` into `folder`.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let lines: Vec<_> = self
            .measures
            .iter()
            .map(|measure| {
                let (value, reason) = match self.figures.get(measure.key) {
                    Some(Ok(value)) => (Some(*value), None),
                    Some(Err(reason)) => (None, Some(reason.clone())),
                    None => (None, None),
                };
                let verdict = format!("{:?}", judge(measure, self.figures));
                json!({ "key": measure.key, "subject": measure.subject, "unit": measure.unit, "value": value, "reason": reason, "verdict": verdict })
            })
            .collect();
        let head: serde_json::Map<_, _> =
            self.head.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let document = serde_json::to_string_pretty(&json!({ "head": head, "seconds": self.seconds, "lines": lines }))?;
        let markdown = folder.join("report.md");
        fs::write(&markdown, self.markdown()).with_context(|| format!("cannot write {}", markdown.display()))?;
        fs::write(folder.join("report.json"), document + "\n")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::MEASURES;

    #[test]
    fn a_bench_that_did_not_run_is_a_line_that_says_so() {
        let measures: Vec<&Measure> = MEASURES.iter().collect();
        let figures = Figures::from([("b1", Ok(36_000.0)), ("b1/nginx", Err("nginx is missing".to_owned()))]);
        let report =
            Report { head: vec![("date", "today".to_owned())], measures: &measures, figures: &figures, seconds: 1 };
        let text = report.markdown();
        assert!(text.contains("not judged: nginx is missing"), "{text}");
        assert!(text.contains("36,000"), "{text}");
        assert!(!report.failed());
    }
}
