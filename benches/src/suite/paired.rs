//! Processor time of a request, paired: all servers stay up, every round gives each one window, in an order that is shuffled anew, and a ratio
//! is formed within a round only. What the machine does to a round it does to all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use rand::seq::SliceRandom;

use super::report::{Findings, Side};
use crate::line::{Kind, Line};
use crate::load::Ask;
use crate::load::wrk::{self, Window};
use crate::stats::{Spread, percentile};
use crate::usage::{self, Foreign};

/// Before each window: pools fill, and what the last server left behind is gone.
const WARM: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(2);

/// A server that is up, and how it is asked.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: String,
    /// The root of its processes.
    pub id: u32,
    pub ask: Ask,
    pub load: LoadKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadKind {
    /// Keep-alive connections with wrk.
    Connections(usize),
    /// HTTP/2 with h2load.
    Streams,
    /// New connection, full handshake, one request.
    Handshakes,
}

/// One window of one server.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    cpu_us: f64,
    window: Window,
}

/// All windows of all servers, by name and in the order of rounds.
#[derive(Debug, Default)]
pub struct Rounds {
    readings: BTreeMap<String, Vec<Reading>>,
    foreign: Vec<f64>,
    memory: BTreeMap<String, f64>,
}

/// So many rounds; a line of fewer than twelve is not judged. `handshakes` makes the one load that is no program of others.
pub async fn run(
    subjects: &[Subject],
    rounds: usize,
    handshakes: impl AsyncFn(&Subject, Duration) -> anyhow::Result<Window>,
) -> anyhow::Result<Rounds> {
    let mut all = Rounds::default();
    for round in 0..rounds {
        let mut order: Vec<&Subject> = subjects.iter().collect();
        order.shuffle(&mut rand::rng());
        for subject in order {
            let window = async |time| match subject.load {
                LoadKind::Connections(count) => wrk::window(&subject.ask, count, time).await,
                LoadKind::Streams => crate::load::h2load::window(&subject.ask, time).await,
                LoadKind::Handshakes => handshakes(subject, time).await,
            };
            window(WARM).await.with_context(|| subject.name.clone())?;
            let foreign = Foreign::watch();
            let before = usage::cpu_ns(subject.id)?;
            let found = window(WINDOW).await.with_context(|| subject.name.clone())?;
            let after = usage::cpu_ns(subject.id)?;
            all.foreign.push(foreign.cores());
            let reading = Reading { cpu_us: per_request(after.saturating_sub(before), found.requests), window: found };
            all.readings.entry(subject.name.clone()).or_default().push(reading);
            if round + 1 == rounds {
                all.memory.insert(subject.name.clone(), usage::resident_kib(subject.id)? / 1024.0);
            }
        }
        super::say(&format!("round {} of {rounds}", round + 1));
    }
    Ok(all)
}

/// For benches that make none.
pub async fn no_handshakes(_subject: &Subject, _time: Duration) -> anyhow::Result<Window> {
    anyhow::bail!("this bench makes no handshakes")
}

#[expect(clippy::cast_precision_loss, reason = "counts and times stay far below 2^52")]
fn per_request(nanoseconds: u64, requests: u64) -> f64 {
    nanoseconds as f64 / 1000.0 / requests.max(1) as f64
}

impl Rounds {
    fn cpu(&self, name: &str) -> Vec<f64> {
        self.readings.get(name).into_iter().flatten().map(|reading| reading.cpu_us).collect()
    }

    fn errors(&self, name: &str) -> u64 {
        self.readings.get(name).into_iter().flatten().map(|reading| reading.window.errors).sum()
    }

    fn median(&self, name: &str, of: impl Fn(&Reading) -> f64) -> Option<f64> {
        let values: Vec<f64> = self.readings.get(name)?.iter().map(of).collect();
        percentile(&values, 0.5)
    }

    /// Median processor time of a request, in microseconds.
    #[must_use]
    pub fn cpu_us(&self, name: &str) -> Option<f64> {
        self.median(name, |reading| reading.cpu_us)
    }

    /// Ours beside theirs, without bounds.
    #[must_use]
    pub fn line(&self, bench: &str, case: &str, ours: &str, theirs: &str) -> Line {
        let (a, b) = (self.cpu(ours), self.cpu(theirs));
        Line {
            ours: percentile(&a, 0.5),
            theirs: percentile(&b, 0.5),
            ratio: Spread::of_ratios(&a, &b),
            rounds: a.len().min(b.len()),
            foreign: percentile(&self.foreign, 0.5),
            errors: (self.errors(ours), self.errors(theirs)),
            ..Line::new(bench, case, theirs, "CPU µs/request").kind(Kind::Paired)
        }
    }

    /// The second table's rows.
    pub fn sides(&self, bench: &str, case: &str, into: &mut Findings) {
        for name in self.readings.keys() {
            into.sides.push(Side {
                bench: bench.to_owned(),
                case: case.to_owned(),
                subject: name.clone(),
                rps: self.median(name, |reading| reading.window.rps),
                p50_ms: self.median(name, |reading| reading.window.p50_ms).filter(|value| *value > 0.0),
                p99_ms: self.median(name, |reading| reading.window.p99_ms).filter(|value| *value > 0.0),
                cpu_us: self.cpu_us(name),
                rss_mib: self.memory.get(name).copied(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(ours: &[f64], theirs: &[f64], errors: u64) -> Rounds {
        let readings = |values: &[f64], errors| {
            let reading = |cpu_us: &f64| Reading { cpu_us: *cpu_us, window: Window { errors, ..Window::default() } };
            values.iter().map(reading).collect::<Vec<_>>()
        };
        let readings = [("ours".to_owned(), readings(ours, errors)), ("nginx".to_owned(), readings(theirs, 0))].into();
        Rounds { readings, foreign: vec![0.2, 0.4, 0.3], memory: BTreeMap::new() }
    }

    #[test]
    fn a_line_carries_the_ratio_of_rounds_their_number_and_the_foreign_load() {
        let line = rounds(&[10.0, 30.0], &[20.0, 60.0], 0).line("B1", "", "ours", "nginx");
        assert_eq!((line.ratio.unwrap().median, line.rounds, line.foreign), (0.5, 2, Some(0.3)));
    }

    #[test]
    fn errors_of_all_windows_are_added_up() {
        assert_eq!(rounds(&[1.0, 1.0], &[1.0, 1.0], 3).line("B1", "", "ours", "nginx").errors, (6, 0));
    }
}
