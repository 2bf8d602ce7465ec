//! `make bench`: measures, prints the table with verdicts, keeps it, and compares with the baseline.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser};
use portcullis_benches::baseline::Baseline;
use portcullis_benches::judge::{Figures, MEASURES, Measure, TOO_LONG_FOR_THE_GATE};
use portcullis_benches::load::{Ask, fixed, handshake};
use portcullis_benches::peers::{Programs, client_config};
use portcullis_benches::report::Report;
use portcullis_benches::subject::Bench;
use portcullis_benches::suite::{self, Effort, Options};
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
    /// The whole suite, or some benches of it, beside live peers.
    Suite(SuiteArguments),
    /// One bench, in this very process; `suite` starts it.
    One {
        key: String,
        /// As JSON.
        #[arg(long, value_parser = programs)]
        programs: Programs,
        #[command(flatten)]
        effort: EffortArguments,
        /// File for what was found.
        #[arg(long)]
        findings: PathBuf,
    },
    /// A fixed rate of plain requests to each of some addresses, in turn; prints what was found as JSON.
    Fixed {
        #[arg(long, required = true, value_delimiter = ',')]
        addresses: Vec<SocketAddr>,
        #[arg(long)]
        connections: u32,
        #[arg(long)]
        rate: u32,
        #[arg(long)]
        seconds: u64,
    },
    /// New connections with a full TLS handshake each; prints what was found as JSON.
    Handshakes {
        #[arg(long)]
        address: SocketAddr,
        /// File with the authority, as DER.
        #[arg(long)]
        root: PathBuf,
        #[arg(long)]
        clients: usize,
        #[arg(long)]
        seconds: u64,
    },
}

#[derive(Args, Debug)]
struct SuiteArguments {
    /// Folder with the release binaries.
    #[arg(long)]
    bin_dir: PathBuf,
    /// Folder for `suite.md`, `suite.json` and the plots.
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    envoy: Option<PathBuf>,
    #[arg(long)]
    traefik: Option<PathBuf>,
    /// This process has a network of its own with 10.255.0.1 on its loopback device.
    #[arg(long)]
    own_network: bool,
    /// Keys of benches.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    effort: EffortArguments,
}

#[derive(Args, Clone, Copy, Debug)]
struct EffortArguments {
    /// Of paired windows; fewer than twelve are not judged.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Routes that B6 adds, one at a time.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    probes: u64,
    /// Minutes of churn in B8.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    churn_minutes: u64,
}

impl EffortArguments {
    fn effort(self) -> Effort {
        let count = |value| usize::try_from(value).unwrap_or(usize::MAX);
        Effort { rounds: count(self.rounds), probes: count(self.probes), churn_minutes: self.churn_minutes }
    }
}

fn programs(text: &str) -> Result<Programs, serde_json::Error> {
    serde_json::from_str(text)
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
    // The one provider of this process; an error says that it is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Command::parse() {
        Command::Quick(arguments) => block_on(run(&arguments, true)),
        Command::Gate(arguments) => block_on(run(&arguments, false)),
        Command::Apply { routes, changes } => {
            println!("bytes per change: {}", apply::run(routes, changes)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Suite(arguments) => block_on(whole(arguments)),
        Command::One { key, programs, effort, findings } => block_on(async {
            let found = suite::one(&key, &programs, effort.effort()).await;
            std::fs::write(findings, serde_json::to_string(&found)?)?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Fixed { addresses, connections, rate, seconds } => {
            let asks: Vec<Ask> = addresses.into_iter().map(Ask::plain).collect();
            let outcome = fixed::run(&asks, connections, rate, Duration::from_secs(seconds));
            println!("{}", serde_json::to_string(&outcome)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Handshakes { address, root, clients, seconds } => block_on(async {
            let config = client_config(&std::fs::read(root)?)?;
            let outcome = handshake::run(address, config, clients, Duration::from_secs(seconds)).await;
            println!("{}", serde_json::to_string(&outcome)?);
            Ok(ExitCode::SUCCESS)
        }),
    }
}

/// Runs to the end or until somebody asks it to stop. Whichever way it ends, what it started is ended with it.
fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let outcome = tokio::select! {
            outcome = work => outcome,
            _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        };
        suite::end_all_but_us().await;
        outcome
    })
}

async fn whole(arguments: SuiteArguments) -> anyhow::Result<ExitCode> {
    let SuiteArguments { bin_dir, out, envoy, traefik, own_network, only, effort } = arguments;
    let binaries = bin_dir.canonicalize()?;
    let programs = Programs { binaries, envoy, traefik, cluster: own_network };
    let options = Options { programs, effort: effort.effort(), only, out };
    let good = suite::run(&options).await?;
    println!("{}", std::fs::read_to_string(options.out.join("suite.md"))?);
    eprintln!("kept in {}", options.out.display());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(arguments: &Arguments, everything: bool) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let chosen = |measure: &&Measure| {
        if arguments.measures.is_empty() {
            everything || (measure.gated && measure.key != TOO_LONG_FOR_THE_GATE)
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
