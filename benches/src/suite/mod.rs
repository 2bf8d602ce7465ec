//! The whole suite: every bench of the specification in one run, each in a process of its own, and one report.
//!
//! ```text
//! bench suite ─► for each bench: bench one NAME ─► findings.json ─► report (after every bench, so that a run cut short leaves one)
//!                                  └─ peers, upstreams, load: all of them end with it
//! ```
//! What did not run is a line that says why.

mod b1;
mod b10;
mod b12;
mod b2;
mod b3;
mod b4;
mod b4_global;
mod b5;
mod b6;
mod b7;
mod b8;
mod b9;
mod instructions;

mod later;
pub mod paired;
pub mod plot;
pub mod report;
mod runner;
mod servers;
pub mod upstream;
mod world;

use std::io::Write as _;

pub use report::Findings;
pub use runner::{Options, end_all_but_us, run};

use crate::line::Line;
use crate::peers::Programs;

/// One bench: its key, what it is, and how long it may take before it counts as hung.
#[derive(Clone, Copy, Debug)]
pub struct BenchKind {
    pub key: &'static str,
    pub title: &'static str,
    pub minutes: u64,
}

/// In the order of value (performance, part 2): a run that is cut short has the best first.
pub const BENCHES: &[BenchKind] = &[
    BenchKind { key: "b6", title: "B6", minutes: 40 },
    BenchKind { key: "b7", title: "B7", minutes: 30 },
    BenchKind { key: "b8", title: "B8", minutes: 75 },
    BenchKind { key: "b2", title: "B2", minutes: 60 },
    BenchKind { key: "b3", title: "B3", minutes: 30 },
    BenchKind { key: "b4", title: "B4", minutes: 30 },
    BenchKind { key: "b5", title: "B5", minutes: 30 },
    BenchKind { key: "b1", title: "B1", minutes: 40 },
    BenchKind { key: "b9", title: "B9", minutes: 20 },
    BenchKind { key: "b10", title: "B10", minutes: 40 },
    BenchKind { key: "b12", title: "B12", minutes: 45 },
    BenchKind { key: "b11", title: "B11", minutes: 1 },
];

/// How much of a bench is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Of paired windows; fewer than twelve are measured and not judged.
    pub rounds: usize,
    /// Routes that B6 adds, one at a time.
    pub probes: usize,
    /// Minutes of churn in B8, after which memory is looked at again.
    pub churn_minutes: u64,
}

/// Runs one bench in this process. What it found before it failed is kept, and a line says why it did not go on.
pub async fn one(key: &str, programs: &Programs, effort: Effort) -> Findings {
    let mut findings = Findings::default();
    let into = &mut findings;
    let outcome = match key {
        "b1" => b1::run(programs, effort, into).await,
        "b2" => b2::run(programs, effort, into).await,
        "b3" => b3::run(programs, effort, into).await,
        "b4" => b4::run(programs, effort, into).await,
        "b5" => b5::run(programs, effort, into).await,
        "b6" => b6::run(programs, effort, into).await,
        "b7" => b7::run(programs, effort, into).await,
        "b8" => b8::run(programs, effort, into).await,
        "b9" => b9::run(programs, effort, into).await,
        "b10" => b10::run(programs, effort, into).await,
        "b12" => b12::run(programs, into).await,
        other => later::run(other, into),
    };
    if let Err(error) = outcome {
        let case = if findings.lines.is_empty() { "" } else { "the rest" };
        // One line: a backtrace is for whoever looks for a mistake of the bench.
        let why: Vec<String> = error.chain().map(ToString::to_string).collect();
        findings.lines.push(Line::did_not_run(&key.to_uppercase(), case, why.join(": ")));
        say(&format!("{error:?}"));
    }
    findings
}

/// A word on progress, for whoever waits.
#[expect(clippy::print_stderr, reason = "a command line tool")]
pub fn say(what: &str) {
    eprintln!("    {what}");
    // Nothing can be done about a terminal that is gone.
    let _ = std::io::stderr().flush();
}
