//! The figures that a change is compared with: `benches/baseline.json`, renewed on purpose only.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::judge::{Figures, MEASURES};

/// A figure may be this many hundredths of its baseline. Two runs of one binary differ by less than half of the room.
const ALLOWED_PERCENT: f64 = 102.0;
/// Below this it is time to renew the baseline, or the room grows.
const BETTER_PERCENT: f64 = 97.0;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Baseline {
    /// Where and with what the figures were taken, for whoever compares.
    pub machine: String,
    pub figures: BTreeMap<String, f64>,
}

impl Baseline {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text).with_context(|| {
            format!("{} does not parse: renew it with `make bench ONLY=quick UPDATE=1`", path.display())
        })
    }

    /// Takes the gated figures of this run; a figure that could not be taken keeps its old value.
    pub fn renew(mut self, figures: &Figures, machine: &str, path: &Path) -> anyhow::Result<()> {
        machine.clone_into(&mut self.machine);
        self.figures.retain(|key, _| MEASURES.iter().any(|measure| measure.gated && measure.key == key));
        for measure in MEASURES.iter().filter(|measure| measure.gated) {
            if let Some(Ok(value)) = figures.get(measure.key) {
                self.figures.insert(measure.key.to_owned(), value.round());
            }
        }
        fs::write(path, serde_json::to_string_pretty(&self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// One line per gated measure, and whether all of them hold.
    #[must_use]
    pub fn compare(&self, figures: &Figures) -> (Vec<String>, bool) {
        let mut holds = true;
        let mut lines = Vec::new();
        for measure in MEASURES.iter().filter(|measure| measure.gated) {
            let before = self.figures.get(measure.key);
            let text = match (figures.get(measure.key), before) {
                (Some(Ok(now)), Some(before)) => {
                    let percent = now / before * 100.0;
                    let change = percent - 100.0;
                    if percent > ALLOWED_PERCENT {
                        holds = false;
                        format!(
                            "FAIL: {now:.0}, {change:+.1} % over the baseline of {before:.0}; find what costs it, or renew the baseline and say why in the commit"
                        )
                    } else if percent < BETTER_PERCENT {
                        format!(
                            "better: {now:.0}, {change:+.1} %; renew the baseline of {before:.0} with `make bench ONLY=quick UPDATE=1`"
                        )
                    } else {
                        format!("ok: {now:.0}, {change:+.1} %")
                    }
                }
                (Some(Ok(now)), None) => format!("not judged: {now:.0}, and no baseline yet"),
                (Some(Err(reason)), Some(_)) => {
                    holds = false;
                    format!("FAIL: there is a baseline, but it could not be measured: {reason}")
                }
                (Some(Err(reason)), None) => format!("not judged: {reason}"),
                (None, _) => continue,
            };
            lines.push(format!("{:<24} {text}", measure.bench));
        }
        (lines, holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        Baseline { machine: String::new(), figures: BTreeMap::from([("b1_single".to_owned(), 1000.0)]) }
    }

    #[test]
    fn more_than_two_percent_above_the_baseline_fails() {
        assert!(baseline().compare(&Figures::from([("b1_single", Ok(1020.0))])).1);
        assert!(!baseline().compare(&Figures::from([("b1_single", Ok(1021.0))])).1);
    }

    #[test]
    fn a_figure_with_a_baseline_that_cannot_be_measured_fails() {
        assert!(!baseline().compare(&Figures::from([("b1_single", Err("it did not start".to_owned()))])).1);
    }

    #[test]
    fn a_figure_without_a_baseline_is_not_judged() {
        assert!(Baseline::default().compare(&Figures::from([("b1_single", Ok(1.0))])).1);
    }
}
