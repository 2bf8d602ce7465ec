//! Benches whose place is here and that have no figure: they say so.

use anyhow::bail;

use super::Findings;
use crate::line::Line;

const FAULTS: &str = "faults are tests, not figures: `make test` and `make e2e` run them";

/// Bench, case, peer, reason.
const LATER: &[(&str, &str, &str, &str)] = &[("B11", "F1 to F25 under load", "–", FAULTS)];

pub(super) fn run(key: &str, findings: &mut Findings) -> anyhow::Result<()> {
    let of = |entry: &&(&str, &str, &str, &str)| entry.0.eq_ignore_ascii_case(key);
    let lines: Vec<Line> = LATER
        .iter()
        .filter(of)
        .map(|(bench, case, peer, why)| Line { peer: (*peer).to_owned(), ..Line::did_not_run(bench, *case, *why) })
        .collect();
    if lines.is_empty() {
        bail!("nothing measures {key}");
    }
    findings.lines.extend(lines);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::BENCHES;
    use super::*;

    #[test]
    fn a_bench_without_a_figure_has_a_line_and_no_other_name_does() {
        assert!(BENCHES.iter().any(|bench| bench.key == "b11"));
        let mut findings = Findings::default();
        run("b11", &mut findings).unwrap();
        assert!(!findings.lines.is_empty() && findings.lines.iter().all(|line| line.problem.is_some()));
        assert!(run("b99", &mut Findings::default()).is_err());
    }
}
