//! User instructions of a process, counted by cachegrind.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::child::{Launch, Running};
use crate::client::{self, Script};

/// Requests of the shorter run; the longer has five times as many.
pub const REQUESTS: usize = 1920;
/// Under cachegrind 50,000 routes take their time to load.
const START: Duration = Duration::from_secs(240);
const STOP: Duration = Duration::from_secs(60);
/// Valgrind seems to count `rep movsb` once per byte, so every process is told never to use it.
const TUNABLES: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000");

/// What is sent, and over how many connections at once. With one, every run takes the same path through the event loop and a figure repeats
/// within 0.1 %; with 64, as the targets are set, how many events a wake-up finds varies, and the figure with it by 1 to 2 %.
#[derive(Clone, Debug)]
pub struct Load {
    pub script: Script,
    pub concurrency: usize,
    /// Of the shorter run.
    pub requests: usize,
}

/// Instructions per request: two runs side by side, of N and of 5N requests. `launch` is asked once for each, for ports of its own.
pub async fn per_request(load: Load, mut launch: impl FnMut(&Path) -> anyhow::Result<Launch>) -> anyhow::Result<f64> {
    let (short_folder, long_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (short_launch, long_launch) = (launch(short_folder.path())?, launch(long_folder.path())?);
    let (short, long) = tokio::try_join!(
        serve(&short_launch, &load, load.requests, short_folder.path()),
        serve(&long_launch, &load, 5 * load.requests, long_folder.path())
    )?;
    difference(short, long, 4 * load.requests)
}

async fn serve(launch: &Launch, load: &Load, requests: usize, folder: &Path) -> anyhow::Result<u64> {
    let counts = folder.join("cachegrind.out");
    let mut running = start(&launch.program, &launch.arguments, &counts, folder)?;
    running.listening(launch.listen, START).await?;
    client::ready(launch.listen, &load.script, START).await?;
    client::introduce(launch.listen, &load.script).await?;
    running.settled(START).await?;
    client::load(launch.listen, &load.script, load.concurrency, requests).await?;
    running.cut_off(STOP).await?;
    total(&counts)
}

/// Instructions per repetition of a program that takes its number of repetitions as its last argument, and what the shorter run printed.
pub async fn per_repetition(
    program: &Path,
    arguments: &[OsString],
    repetitions: usize,
) -> anyhow::Result<(f64, String)> {
    let (short_folder, long_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (short, long) = tokio::try_join!(
        run(program, arguments, repetitions, short_folder.path()),
        run(program, arguments, 5 * repetitions, long_folder.path())
    )?;
    Ok((difference(short.0, long.0, 4 * repetitions)?, short.1))
}

async fn run(
    program: &Path,
    arguments: &[OsString],
    repetitions: usize,
    folder: &Path,
) -> anyhow::Result<(u64, String)> {
    let counts = folder.join("cachegrind.out");
    let mut arguments = arguments.to_vec();
    arguments.push(repetitions.to_string().into());
    let printed = start(program, &arguments, &counts, folder)?.finished(START).await?;
    Ok((total(&counts)?, printed))
}

fn start(program: &Path, arguments: &[OsString], counts: &Path, folder: &Path) -> anyhow::Result<Running> {
    let mut out = OsString::from("--cachegrind-out-file=");
    out.push(counts);
    let mut all: Vec<OsString> = vec![
        "--tool=cachegrind".into(),
        "--cache-sim=no".into(),
        "--log-file=valgrind.log".into(),
        out,
        program.into(),
    ];
    all.extend_from_slice(arguments);
    Running::start(&PathBuf::from("valgrind"), &all, &[TUNABLES], folder)
}

fn total(counts: &Path) -> anyhow::Result<u64> {
    let text = fs::read(counts).with_context(|| format!("cachegrind wrote no {}", counts.display()))?;
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(200)..]).into_owned();
    let summary = tail
        .lines()
        .find_map(|line| line.strip_prefix("summary:"))
        .context("cachegrind's file has no summary: the process was killed")?;
    summary.trim().parse().with_context(|| format!("cachegrind's summary is not a number: {summary}"))
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn difference(short: u64, long: u64, count: usize) -> anyhow::Result<f64> {
    if long <= short {
        bail!("the longer run took fewer instructions than the shorter one: something else ran in it");
    }
    Ok((long - short) as f64 / count as f64)
}
