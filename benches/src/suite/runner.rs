//! Runs the benches one after the other, keeps the report up to date, and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::process::Command;
use tokio::time::timeout;

use super::report::SuiteReport;
use super::{BENCHES, BenchKind, Effort, Findings};
use crate::line::Line;
use crate::peers::{LOAD_CORE, Programs, versions};
use crate::usage::{Foreign, tree};
use crate::{child, machine};

#[derive(Clone, Debug)]
pub struct Options {
    pub programs: Programs,
    pub effort: Effort,
    /// Keys of benches; all if there are none.
    pub only: Vec<String>,
    /// Folder for the report.
    pub out: PathBuf,
}

/// Runs what is chosen. True: no line failed.
pub async fn run(options: &Options) -> anyhow::Result<bool> {
    let chosen: Vec<&BenchKind> = BENCHES
        .iter()
        .filter(|bench| options.only.is_empty() || options.only.iter().any(|key| key == bench.key))
        .collect();
    for key in &options.only {
        let known: Vec<&str> = BENCHES.iter().map(|bench| bench.key).collect();
        anyhow::ensure!(known.contains(&key.as_str()), "there is no bench {key}: choose among {}", known.join(", "));
    }
    let start = Instant::now();
    let head = head(&options.programs).await?;
    let whole = Foreign::watch();
    // Until a bench has ended its line says that the run was cut short; the report is written anew after each.
    let mut findings: Vec<Findings> = chosen.iter().map(|bench| cut_short(bench)).collect();
    let mut good = true;
    for index in 0..=chosen.len() {
        let all: Vec<&Findings> = findings.iter().collect();
        let report =
            SuiteReport { head: &head, findings: &all, foreign: whole.cores(), seconds: start.elapsed().as_secs() };
        report.write(&options.out)?;
        good = !report.failed();
        let Some(bench) = chosen.get(index) else { break };
        super::say(&format!("{} at {} s", bench.title, start.elapsed().as_secs()));
        findings[index] = measured(bench, options).await;
    }
    Ok(good)
}

fn cut_short(bench: &BenchKind) -> Findings {
    let line = Line::did_not_run(bench.title, "", "the run was cut short before this bench had ended");
    Findings { lines: vec![line], ..Findings::default() }
}

/// What a bench found, or one line that says why it found nothing; and a line more if it left something running.
async fn measured(bench: &BenchKind, options: &Options) -> Findings {
    let outcome = separately(bench, options).await;
    let mut findings = outcome.unwrap_or_else(|error| {
        let lines = vec![Line::did_not_run(bench.title, "", format!("{error:#}"))];
        Findings { lines, ..Findings::default() }
    });
    let left = end_all_but_us().await;
    if left > 0 {
        let why = format!("{left} processes were still running after it, and were ended");
        findings.lines.push(Line::did_not_run(bench.title, "clean end", why));
    }
    findings
}

async fn separately(bench: &BenchKind, options: &Options) -> anyhow::Result<Findings> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("findings.json");
    let Effort { rounds, probes, churn_minutes } = options.effort;
    let mut command = Command::new("taskset");
    // The cluster's programs take what room there is; of the other benches the runner belongs to the load's side.
    let cores = if matches!(bench.key, "b6" | "b8" | "b12") { "0-63".to_owned() } else { LOAD_CORE.to_string() };
    command.arg("-c").arg(cores).arg(std::env::current_exe()?).arg("one").arg(bench.key);
    command.arg("--programs").arg(serde_json::to_string(&options.programs)?);
    command.args(["--rounds", &rounds.to_string(), "--probes", &probes.to_string()]);
    command.args(["--churn-minutes", &churn_minutes.to_string()]).arg("--findings").arg(&file);
    let limit = Duration::from_secs(bench.minutes * 60) + Duration::from_secs(churn_minutes * 60);
    let status = bounded(command, limit).await?;
    let text = std::fs::read_to_string(&file);
    let text = text.with_context(|| format!("it ended with {status} and no findings; its words are above"))?;
    serde_json::from_str(&text).context("its findings do not parse")
}

/// Waits for a command, and ends it and all that it started when it takes too long.
async fn bounded(mut command: Command, limit: Duration) -> anyhow::Result<ExitStatus> {
    let mut child = command.stdin(Stdio::null()).kill_on_drop(true).spawn()?;
    let id = child.id().unwrap_or_default();
    match timeout(limit, child.wait()).await {
        Ok(status) => Ok(status?),
        Err(_) => {
            end(tree(id)).await;
            // Reaped, so that its id is not taken for somebody else's.
            let _ = child.wait().await;
            anyhow::bail!("it was ended after {} minutes", limit.as_secs() / 60)
        }
    }
}

/// Ends whatever still runs below this process, and, where this process is the first of its own process namespace, whatever runs at all.
pub async fn end_all_but_us() -> usize {
    let me = std::process::id();
    let left: Vec<u32> = tree(me).into_iter().filter(|id| *id != me && !is_ending(*id)).collect();
    let count = left.len();
    end(left).await;
    count
}

/// A process that has ended and waits for its parent is no longer running.
fn is_ending(id: u32) -> bool {
    let text = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).unwrap_or_default();
    text.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

async fn end(ids: Vec<u32>) {
    for id in ids {
        // One that has just ended by itself is no failure.
        let _ = child::signal(id, "KILL").await;
    }
}

/// What ran where, with the peers and whether the machine was quiet before anything began.
async fn head(programs: &Programs) -> anyhow::Result<Vec<(&'static str, String)>> {
    let before = Foreign::watch();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let busy = before.cores();
    let mut head = machine::describe(&std::env::current_dir()?);
    head.extend(versions(programs));
    let quiet =
        if busy > crate::line::QUIET { "the machine is under load: absolute times are not judged" } else { "quiet" };
    head.push(("before the run", format!("{busy:.2} core of other work ({quiet})")));
    let rested = tokio::task::spawn_blocking(crate::usage::rested_page_us).await?;
    head.push(("memory", format!("a look at a page that rested for half a second takes {rested:.2} µs")));
    head.push(("ours", "release binaries, metrics on, one request in a hundred logged".to_owned()));
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bench_that_hangs_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let ids = folder.path().join("ids");
        let mut command = Command::new("sh");
        // A child of a child: ended by its id, because nobody waits for it.
        let script = format!("(sleep 1000 & echo $! > {0}.part; mv {0}.part {0}; wait) & wait", ids.display());
        command.arg("-c").arg(script);
        let running = bounded(command, Duration::from_secs(2));
        assert!(running.await.unwrap_err().to_string().contains("it was ended"));
        let id: u32 = std::fs::read_to_string(&ids).unwrap().trim().parse().unwrap();
        while !is_ending(id) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[test]
    fn a_bench_that_never_ended_says_that_the_run_was_cut_short() {
        let findings = cut_short(&BENCHES[0]);
        assert!(findings.lines[0].problem.as_ref().unwrap().contains("cut short"));
    }
}
