//! B1, plain: the least that every proxy does. HTTP/1.1, 64 keep-alive connections; and p50 at a fixed rate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::Context;
use rand::seq::SliceRandom;
use tokio::process::Command;

use super::paired::{self, LoadKind, Subject};
use super::report::Side;
use super::upstream::Upstreams;
use super::{Effort, Findings, instructions, servers};
use crate::child::free_address;
use crate::line::{Bound, Kind, Line};
use crate::load::Ask;
use crate::load::fixed::Outcome;
use crate::peers::{LOAD_CORE, Peer, Programs, Setup};
use crate::stats::{Spread, percentile};
use crate::usage::Foreign;

const PEERS: [Peer; 8] = [
    Peer::Ours,
    Peer::Nginx,
    Peer::Haproxy,
    Peer::EnvoyList,
    Peer::Traefik,
    Peer::StockPingora,
    Peer::BareHyper,
    Peer::RawRelay,
];
const CONNECTIONS: usize = 64;
const CASE: &str = "64 connections";
/// About 30 % of what Envoy can do.
const RATE: u32 = 3_000;
const WINDOW_SECONDS: u64 = 3;
const TRIED: &str = "quiet machines differ: 0.70 on an Intel Xeon, 0.91 on an AMD EPYC, at 0.60 of its instructions (docs/performance.md, \
    \"What the runs found\" and \"What paid, and what did not\")";
const WAKING: &str = "a relay that only copies bytes adds 0.30 to 0.81 of what Envoy adds, nginx 0.37 to 0.84: at this rate nearly \
    all of it is the waking of processes whose core sleeps (docs/performance.md, \"What the runs found\")";
const DIRECT: &str = "direct";

pub(super) async fn run(programs: &Programs, effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let upstreams = Upstreams::start(&["up"]).await?;
    let upstream = upstreams.first();
    let up =
        servers::start(programs, &PEERS, "B1", CASE, || Ok(Setup::plain(free_address()?, upstream)), findings).await?;
    let subjects: Vec<Subject> = up
        .iter()
        .map(|server| servers::subject(server, Ask::plain(server.setup.listen), LoadKind::Connections(CONNECTIONS)))
        .collect();
    let rounds = paired::run(&subjects, effort.rounds, paired::no_handshakes).await?;
    let latencies = fixed_rate(
        &up.iter().map(|server| (server.peer.name(), server.setup.listen)).collect::<Vec<_>>(),
        upstream,
        effort.rounds,
    )
    .await?;
    servers::stop(up).await;

    let mut counted = BTreeMap::new();
    for peer in PEERS.into_iter().filter(|peer| *peer != Peer::Traefik && *peer != Peer::RawRelay) {
        counted.insert(peer.name(), instructions::plain(programs, peer, upstream).await);
    }
    let instructions = |name: &str| counted.get(name).copied().flatten();
    let ours = Peer::Ours.name();
    findings.lines.push(
        Line { ours: instructions(ours), ..Line::new("B1", CASE, "–", "instr/request") }
            .must(Bound::Ours(46_000.0))
            .stretch(Bound::Ours(36_000.0)),
    );
    for subject in subjects.iter().filter(|subject| subject.name != ours) {
        let line = rounds.line("B1", CASE, ours, &subject.name);
        let line = Line { instructions: (instructions(ours), instructions(&subject.name)), ..line };
        findings.lines.push(match subject.name.as_str() {
            name if name == Peer::EnvoyList.name() => {
                line.must(Bound::Ratio(0.40)).stretch(Bound::Ratio(0.30)).cause(TRIED)
            }
            name if name == Peer::StockPingora.name() => line.must(Bound::Ratio(0.75)).cause(TRIED),
            _ => line,
        });
    }
    findings.lines.extend(latencies.lines());
    rounds.sides("B1", CASE, findings);
    latencies.sides(findings);
    Ok(())
}

/// p50 of every server, round by round, and of the upstream itself.
struct Latencies {
    by_name: BTreeMap<String, Vec<Outcome>>,
    foreign: f64,
}

async fn fixed_rate(servers: &[(&str, SocketAddr)], upstream: SocketAddr, rounds: usize) -> anyhow::Result<Latencies> {
    let mut all: Vec<(&str, SocketAddr)> = servers.to_vec();
    all.push((DIRECT, upstream));
    let (foreign, mut by_name) = (Foreign::watch(), BTreeMap::<String, Vec<Outcome>>::new());
    for round in 0..rounds {
        all.shuffle(&mut rand::rng());
        for (name, address) in &all {
            let outcome = fixed(&[*address], RATE).await.with_context(|| (*name).to_owned())?;
            by_name.entry((*name).to_owned()).or_default().push(outcome);
        }
        super::say(&format!("fixed rate, round {} of {rounds}", round + 1));
    }
    Ok(Latencies { by_name, foreign: foreign.cores() })
}

/// One window, by a process of its own on the load's core; `rate` to each.
pub(super) async fn fixed(addresses: &[SocketAddr], rate: u32) -> anyhow::Result<Outcome> {
    let mut command = Command::new("taskset");
    command.args(["-c", &LOAD_CORE.to_string()]).arg(std::env::current_exe()?).arg("fixed");
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    command.args(["--addresses", &addresses.join(","), "--connections", &CONNECTIONS.to_string()]);
    command.args(["--rate", &rate.to_string(), "--seconds", &WINDOW_SECONDS.to_string()]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim()).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

impl Latencies {
    fn p50(&self, name: &str) -> Vec<f64> {
        self.by_name.get(name).into_iter().flatten().map(|outcome| outcome.p50_us).collect()
    }

    /// Above the upstream's own, in the same round.
    fn added(&self, name: &str) -> Vec<f64> {
        self.p50(name).iter().zip(self.p50(DIRECT)).map(|(through, direct)| through - direct).collect()
    }

    fn errors(&self, name: &str) -> u64 {
        self.by_name.get(name).into_iter().flatten().map(|outcome| outcome.errors).sum()
    }

    fn lines(&self) -> Vec<Line> {
        let ours = Peer::Ours.name();
        let (added, case) = (self.added(ours), format!("added p50 at {RATE} requests/s"));
        let others = self.by_name.keys().filter(|name| *name != ours && *name != DIRECT);
        let line = |name: &String| {
            let theirs = self.added(name);
            let line = Line {
                ours: percentile(&added, 0.5),
                theirs: percentile(&theirs, 0.5),
                ratio: Spread::of_ratios(&added, &theirs),
                rounds: added.len().min(theirs.len()),
                foreign: Some(self.foreign),
                errors: (self.errors(ours), self.errors(name)),
                ..Line::new("B1", case.clone(), name.clone(), "µs").kind(Kind::Paired)
            };
            if name == Peer::EnvoyList.name() { line.must(Bound::Ratio(0.35)).cause(WAKING) } else { line }
        };
        others.map(line).collect()
    }

    fn sides(&self, findings: &mut Findings) {
        for (name, outcomes) in &self.by_name {
            let of = |value: fn(&Outcome) -> f64| percentile(&outcomes.iter().map(value).collect::<Vec<_>>(), 0.5);
            findings.sides.push(Side {
                bench: "B1".to_owned(),
                case: format!("{RATE} requests/s"),
                subject: name.clone(),
                p50_ms: of(|outcome| outcome.p50_us / 1000.0),
                p99_ms: of(|outcome| outcome.p99_us / 1000.0),
                ..Side::default()
            });
        }
    }
}
