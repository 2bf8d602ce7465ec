//! `make bench`: measures, prints the table with verdicts, keeps it, and compares with the baseline.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser};
use portcullis_benches::baseline::Baseline;
use portcullis_benches::judge::{Figures, MEASURES, Measure};
use portcullis_benches::report::Report;
use portcullis_benches::subject::Bench;
use portcullis_benches::{apply, machine, nginx};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser, Debug)]
enum Command {
    /// Everything that fits ten minutes, beside the peers.
    Quick(Arguments),
    /// Our own gated figures only, against the baseline.
    Gate(Arguments),
    /// What is counted as B7; the other two start it.
    Apply {
        #[arg(long)]
        routes: usize,
        #[arg(long)]
        changes: usize,
    },
}

#[derive(Args, Debug)]
struct Arguments {
    /// Folder with the release binaries.
    #[arg(long)]
    bin_dir: PathBuf,
    /// Folder for `report.md` and `report.json`.
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    baseline: PathBuf,
    /// Make the figures of this run the baseline.
    #[arg(long)]
    update_baseline: bool,
    /// Measure these keys only.
    #[arg(long, value_delimiter = ',')]
    measures: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let (arguments, everything) = match Command::parse() {
        Command::Quick(arguments) => (arguments, true),
        Command::Gate(arguments) => (arguments, false),
        Command::Apply { routes, changes } => {
            println!("bytes per change: {}", apply::run(routes, changes)?);
            return Ok(ExitCode::SUCCESS);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        // Whichever way this ends, dropping the run kills what it started.
        tokio::select! {
            outcome = run(&arguments, everything) => outcome,
            _ = interrupt.recv() => anyhow::bail!("interrupted"),
            _ = terminate.recv() => anyhow::bail!("terminated"),
        }
    })
}

async fn run(arguments: &Arguments, everything: bool) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let chosen = |measure: &&Measure| {
        if arguments.measures.is_empty() {
            everything || measure.gated
        } else {
            arguments.measures.iter().any(|key| key == measure.key)
        }
    };
    let measures: Vec<&Measure> = MEASURES.iter().filter(chosen).collect();
    let folder = tempfile::tempdir()?;
    let (upstream, address) = nginx::upstream(folder.path()).await?;
    let bench = Bench { binaries: arguments.bin_dir.canonicalize()?, upstream: address };
    let mut figures = Figures::new();
    for (index, measure) in measures.iter().enumerate() {
        eprint!(
            "[{:>2}/{}] {:>4} s  {} ({}) ... ",
            index + 1,
            measures.len(),
            start.elapsed().as_secs(),
            measure.bench,
            measure.subject
        );
        let figure = bench.measure(measure.key).await.map_err(|error| format!("{error:#}"));
        match &figure {
            Ok(value) => eprintln!("{value:.0} {}", measure.unit),
            Err(reason) => eprintln!("not measured: {reason}"),
        }
        figures.insert(measure.key, figure);
    }
    upstream.stop(std::time::Duration::from_secs(10)).await?;

    let head = machine::describe(&std::env::current_dir()?);
    let place: Vec<&str> = head
        .iter()
        .filter(|(name, _)| ["machine", "rust", "valgrind"].contains(name))
        .map(|(_, value)| value.as_str())
        .collect();
    let report =
        Report { head: head.clone(), measures: &measures, figures: &figures, seconds: start.elapsed().as_secs() };
    println!("\n{}", report.markdown());
    report.write(&arguments.out)?;
    eprintln!("kept in {}", arguments.out.display());

    let baseline = Baseline::read(&arguments.baseline)?;
    let (lines, holds) = baseline.compare(&figures);
    println!("against {}:\n  {}", arguments.baseline.display(), lines.join("\n  "));
    if arguments.update_baseline {
        baseline.renew(&figures, &place.join("; "), &arguments.baseline)?;
        println!("renewed {}", arguments.baseline.display());
    }
    let good = !report.failed() && (holds || arguments.update_baseline);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
