//! Benches whose place is here and whose subject is not yet: they say so, with the peers that they will be held against.

use anyhow::bail;

use super::Findings;
use crate::line::Line;

const AUTH: &str = "it measures AuthPolicy (JWT, API keys), which the data plane does not have yet";
const LIMITS: &str = "it measures RateLimitPolicy, which the data plane does not have yet";
const BOTH: &str = "it needs AuthPolicy and RateLimitPolicy, which the data plane does not have yet";
const FAULTS: &str = "faults are tests, not figures: `make test` and `make e2e` run them";

/// Bench, case, peer, reason.
const LATER: &[(&str, &str, &str, &str)] = &[
    ("B3", "RS256, every request a miss", "envoy jwt_authn without cache", AUTH),
    ("B3", "RS256, one token repeated", "envoy jwt_authn with cache", AUTH),
    ("B3", "ES256 and EdDSA", "–", AUTH),
    ("B3", "API key among 100,000 consumers", "–", AUTH),
    ("B4", "local, 100,000 keys", "nginx, haproxy, envoy", LIMITS),
    ("B4", "global, two replicas", "one store call for each request", LIMITS),
    ("B5", "1,000 routes, JWT, limit, canary", "envoy, list, no JWT cache", BOTH),
    ("B5", "1,000 routes, JWT, limit, canary", "envoy, tree, JWT cache", BOTH),
    ("B11", "F1 to F25 under load", "–", FAULTS),
];

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
    fn every_bench_without_a_subject_has_a_line_and_no_other_name_does() {
        for key in ["b3", "b4", "b5", "b11"] {
            assert!(BENCHES.iter().any(|bench| bench.key == key));
            let mut findings = Findings::default();
            run(key, &mut findings).unwrap();
            assert!(!findings.lines.is_empty() && findings.lines.iter().all(|line| line.problem.is_some()));
        }
        assert!(run("b99", &mut Findings::default()).is_err());
    }
}
