//! The rest of B4: two replicas that count together in a real Redis.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use rand::seq::SliceRandom;
use tempfile::TempDir;
use tokio::process::Command;

use super::servers::{self, Variant};
use super::upstream::Upstreams;
use super::{Effort, Findings, b1, b4};
use crate::child::{Running, free_address};
use crate::line::{Bound, Kind, Line};
use crate::load::fixed::Outcome;
use crate::load::{Ask, wrk};
use crate::peers::{FleetSetup, LimitSetup, Peer, Programs, Server, Setup};
use crate::policies::Case;
use crate::stats::{Spread, percentile};
use crate::usage::{Foreign, cpu_ns};

/// Of the limit, in a second or in a day.
const LIMIT: u64 = 12_800;
const REPLICAS: u32 = 2;
/// Requests a second to each replica: together less than the limit.
const RATE: u32 = 1_500;
const CASE: &str = "global, 2 replicas, 12,800/s";
const OVER: &str = "global, 2 replicas, 12,800/day, more is sent";
const NONE: &str = "ours, no limit";
const LEASED: &str = "ours";
const EXACT: &str = "one store call for each request";
/// Closed loops that ask for more than the limit allows.
const CONNECTIONS: usize = 32;
const COLD: &str = "what a leased limit adds runs from cold caches where a core sleeps between requests (docs/performance.md, \
    \"One run of all\")";
/// What a lease adds is a small difference of two p50s: so many windows of each in a round.
const WINDOWS: usize = 2;
const RUSH: Duration = Duration::from_secs(4);

/// What one window found of two replicas.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    p50_us: f64,
    p99_us: f64,
    requests: u64,
    errors: u64,
    /// Scripts that the store ran for it.
    operations: u64,
    /// Processor time of the store, in nanoseconds.
    store_ns: u64,
}

pub(super) async fn run(programs: &Programs, effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let upstreams = Upstreams::start(&["up"]).await?;
    let store = match Redis::start().await {
        Ok(store) => store,
        Err(error) => {
            findings.lines.push(Line::did_not_run("B4", CASE, format!("{error:#}")));
            return Ok(());
        }
    };
    let limit = |exact, window| LimitSetup {
        requests: LIMIT,
        window,
        told: true,
        scope: Some(FleetSetup { store: store.address, replicas: REPLICAS, exact }),
    };
    let second = Duration::from_secs(1);
    let mut all = Vec::new();
    for (name, limit) in [(NONE, None), (LEASED, Some(limit(false, second))), (EXACT, Some(limit(true, second)))] {
        all.push((name, replicas(programs, upstreams.first(), name, limit.as_ref(), findings).await?));
    }
    let foreign = Foreign::watch();
    let mut readings: BTreeMap<&str, Vec<Reading>> = BTreeMap::new();
    let rounds = WINDOWS * effort.rounds;
    for round in 0..rounds {
        all.shuffle(&mut rand::rng());
        for (name, servers) in &all {
            readings.entry(name).or_default().push(window(servers, &store).await.context(*name)?);
        }
        super::say(&format!("{CASE}: round {} of {rounds}", round + 1));
    }
    findings.lines.extend(lines(&readings, foreign.cores()));
    for (_, servers) in all {
        servers::stop(servers).await;
    }
    let [without, with] = Case::fleet(LimitSetup { told: false, ..limit(false, second) });
    let silent = b4::counted(programs, &upstreams, Peer::Ours, &without, &with).await?;
    let [without, with] = Case::fleet(limit(false, second));
    let told = b4::counted(programs, &upstreams, Peer::Ours, &without, &with).await?;
    let line = Line { ours: Some(told), ..Line::new("B4", format!("{CASE}: added"), "–", "instr/request") };
    findings
        .lines
        .push(line.note(format!("{silent:.0} where clients are not told; its part of the store's answers included")));

    // A store that knows nothing of what came before.
    let store = Redis::start().await?;
    let day = Duration::from_secs(24 * 3600);
    let scope = Some(FleetSetup { store: store.address, replicas: REPLICAS, exact: false });
    let limit = LimitSetup { requests: LIMIT, window: day, told: true, scope };
    let servers = replicas(programs, upstreams.first(), OVER, Some(&limit), findings).await?;
    findings.lines.push(rush(&servers, &store).await?);
    servers::stop(servers).await;
    Ok(())
}

async fn replicas(
    programs: &Programs,
    upstream: SocketAddr,
    name: &'static str,
    limit: Option<&LimitSetup>,
    findings: &mut Findings,
) -> anyhow::Result<Vec<Server>> {
    let mut variants = Vec::new();
    for _ in 0..REPLICAS {
        let setup = Setup { limit: limit.cloned(), ..Setup::plain(free_address()?, upstream) };
        variants.push(Variant { name, peer: Peer::Ours, ask: Ask::plain(setup.listen), setup });
    }
    Ok(servers::start_variants(programs, variants, "B4", CASE, findings).await?.0)
}

/// Both replicas in turn, at a fixed rate. Two loads that begin by themselves would meet for a whole window, or not at all.
async fn window(servers: &[Server], store: &Redis) -> anyhow::Result<Reading> {
    let (before, store_before) = (store.operations().await?, cpu_ns(store.running.id())?);
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.setup.listen).collect();
    let Outcome { p50_us, p99_us, requests, errors } = b1::fixed(&addresses, RATE).await?;
    let store_ns = cpu_ns(store.running.id())? - store_before;
    let operations = store.operations().await? - before;
    Ok(Reading { p50_us, p99_us, requests, errors, operations, store_ns })
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn lines(readings: &BTreeMap<&str, Vec<Reading>>, foreign: f64) -> Vec<Line> {
    let of = |name: &str| readings.get(name).map_or(&[][..], Vec::as_slice);
    let errors = |name: &str| of(name).iter().map(|reading| reading.errors).sum::<u64>();
    let operations = |name: &str| {
        let (operations, requests) =
            of(name).iter().fold((0, 0), |sum, one| (sum.0 + one.operations, sum.1 + one.requests));
        (requests > 0).then(|| operations as f64 / requests as f64)
    };
    // One call for each request: so many that nothing else the store does in a window matters.
    let (store_ns, stored) = of(EXACT).iter().fold((0, 0), |sum, one| (sum.0 + one.store_ns, sum.1 + one.operations));
    let median =
        |name: &str, value: fn(&Reading) -> f64| percentile(&of(name).iter().map(value).collect::<Vec<_>>(), 0.5);
    let added = |name: &str| -> Vec<f64> {
        of(name).iter().zip(of(NONE)).map(|(with, without)| with.p50_us - without.p50_us).collect()
    };
    let errors = (errors(LEASED), errors(EXACT));
    let (ours, theirs) = (operations(LEASED), operations(EXACT));
    let (leased, exact) = (added(LEASED), added(EXACT));
    let p50 = |name| median(name, |reading| reading.p50_us).unwrap_or(f64::NAN);
    let p99 = |name| median(name, |reading| reading.p99_us).unwrap_or(f64::NAN);
    let quartiles = Spread::of(&leased).map(|spread| format!("quartiles {:.2}–{:.2}", spread.low, spread.high));
    let quartiles = quartiles.unwrap_or_default();
    vec![
        Line { ours, theirs, errors, ..Line::new("B4", CASE, EXACT, "store operations/request") }
            .must(Bound::Ours(0.02))
            .note("scripts run, by the store's own counter"),
        Line {
            ours: percentile(&leased, 0.5),
            theirs: percentile(&exact, 0.5),
            ratio: Spread::of_ratios(&leased, &exact),
            spread: Spread::of(&leased),
            rounds: leased.len().min(exact.len()),
            foreign: Some(foreign),
            errors,
            ..Line::new("B4", format!("{CASE}: added p50"), EXACT, "µs").kind(Kind::Timed)
        }
        .must(Bound::Ours(10.0))
        .cause(COLD)
        .note(format!(
            "{quartiles}; p50 and p99: {:.0} and {:.0} µs without, {:.0} and {:.0} with, {:.0} and {:.0} one call each",
            p50(NONE),
            p99(NONE),
            p50(LEASED),
            p99(LEASED),
            p50(EXACT),
            p99(EXACT)
        )),
        Line {
            ours: (stored > 0).then(|| store_ns as f64 / stored as f64 / 1000.0),
            foreign: Some(foreign),
            ..Line::new("B4", format!("{CASE}: processor of the store"), "–", "µs/operation").kind(Kind::Timed)
        },
    ]
}

/// Far more than the limit, to both replicas at once.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
async fn rush(servers: &[Server], store: &Redis) -> anyhow::Result<Line> {
    let before = store.operations().await?;
    let asks: Vec<Ask> = servers.iter().map(|server| Ask::plain(server.setup.listen)).collect();
    let windows = futures::future::try_join_all(asks.iter().map(|ask| wrk::window(ask, CONNECTIONS, RUSH))).await?;
    let operations = store.operations().await? - before;
    // One more was let pass by each while it was asked whether it is there.
    let asked = u64::from(REPLICAS);
    let admitted = windows.iter().map(|window| window.requests - window.not_ok).sum::<u64>() + asked;
    let requests: u64 = windows.iter().map(|window| window.requests).sum();
    let broken: u64 = windows.iter().map(|window| window.errors - window.not_ok).sum();
    ensure!(requests > 2 * LIMIT, "{requests} requests are not enough to use up the limit");
    let over = (admitted.saturating_sub(LIMIT)) as f64 / LIMIT as f64 * 100.0;
    let line = Line { ours: Some(over), errors: (broken, 0), ..Line::new("B4", OVER, "–", "% over the limit") };
    Ok(line.must(Bound::Ours(1.0)).note(format!(
        "{admitted} of {requests} were let pass, {} fewer than allowed; {operations} store operations",
        LIMIT.saturating_sub(admitted)
    )))
}

/// A real server with nothing in it, on loopback.
struct Redis {
    address: SocketAddr,
    running: Running,
    _folder: TempDir,
}

impl Redis {
    async fn start() -> anyhow::Result<Self> {
        let (address, folder) = (free_address()?, tempfile::tempdir()?);
        let words = ["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let mut arguments: Vec<OsString> = words.map(OsString::from).into();
        arguments.extend(["--dir".into(), folder.path().into()]);
        let mut running = Running::start(Path::new("redis-server"), &arguments, &[], folder.path())
            .context("redis-server is missing: install the Debian package of that name")?;
        running.listening(address, Duration::from_secs(10)).await?;
        Ok(Self { address, running, _folder: folder })
    }

    /// Scripts that it has run. What a script itself asks for is no further way to the store.
    async fn operations(&self) -> anyhow::Result<u64> {
        let port = self.address.port().to_string();
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &port, "INFO", "commandstats"]).kill_on_drop(true);
        let output = command.output().await.context("redis-cli is missing: install the Debian package redis-tools")?;
        ensure!(output.status.success(), "redis-cli: {}", String::from_utf8_lossy(&output.stderr).trim());
        let text = String::from_utf8_lossy(&output.stdout);
        let calls = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            ["eval", "evalsha"].contains(&name).then(|| rest.split(',').next()?.parse::<u64>().ok())?
        };
        Ok(text.lines().filter_map(calls).sum())
    }
}
