//! B9, canary: whether a share is the share that was asked for, and whether moving it costs a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_ir::Resource;

use super::upstream::Upstreams;
use super::{Effort, Findings, b7};
use crate::child::free_address;
use crate::line::{Bound, Kind, Line};
use crate::load::sequential::{Connection, Loop};
use crate::load::{Ask, fixed, wrk};
use crate::peers::{
    LiveDataPlane, Peer, Programs, RouteSetup, Server, Setup, TargetSetup, Upstream, route, snapshot_of,
};
use crate::stats::{greatest, percentile};
use crate::usage::Foreign;

/// Name and weights.
const SPLITS: [(&str, &[u32]); 3] = [("90/10", &[90, 10]), ("99.9/0.1", &[999, 1]), ("60/30/10", &[60, 30, 10])];
const NAMES: [&str; 3] = ["a", "b", "c"];
const PEERS: [Peer; 2] = [Peer::EnvoyList, Peer::Traefik];
const REQUESTS: usize = 6_000;
/// Any so many requests in a row.
const WINDOW: usize = 1_000;
/// Taken in turn, one request in flight: the order of answers is the order of choices.
const CONNECTIONS: usize = 8;
/// From 0 to 100 % by 5.
const STEPS: u32 = 20;
/// Whole moves from one backend to the other and back, to see when a change shows, beside B7's load.
const MOVES: usize = 20;
/// Between two of them: more than any of the peers takes.
const PAUSE: Duration = Duration::from_millis(200);
/// Of the load that asks as fast as it is answered while shares move.
const LOAD: usize = 16;

pub(super) async fn run(programs: &Programs, _effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let upstreams = Upstreams::start(&NAMES).await?;
    for workers in [1, 4] {
        for (name, weights) in SPLITS {
            let case = format!("{name}, {workers} workers");
            let setup = || anyhow::Ok(split(free_address()?, &upstreams.all, weights, workers));
            let most = f64::from(u32::try_from(workers).unwrap_or(u32::MAX));
            let ours = exactness(&Proxy::ours(programs, setup()?).await?, weights).await?;
            let line = |peer: &str, theirs: Option<f64>| Line {
                ours: Some(ours),
                theirs,
                ..Line::new("B9", case.clone(), peer, "requests off, of any 1,000")
            };
            findings.lines.push(line("–", None).must(Bound::Ours(most)));
            for peer in PEERS {
                let theirs = async { exactness(&Proxy::peer(programs, peer, setup()?).await?, weights).await };
                findings.lines.push(match theirs.await {
                    Ok(theirs) => line(peer.name(), Some(theirs)),
                    Err(error) => not_run(peer, &case, &error),
                });
            }
        }
    }
    let setup = || anyhow::Ok(split(free_address()?, &upstreams.all[..2], &[100, 0], 1));
    let ours = shift(Proxy::ours(programs, setup()?).await?).await?;
    let (steps, shows) = ("0 to 100 in 20 steps under load", "a moved share shows under load");
    let failed = |peer: &str, theirs: Option<f64>| Line {
        ours: Some(count(ours.failed)),
        theirs,
        ..Line::new("B9", steps, peer, "requests failed")
    };
    findings.lines.push(failed("–", None).must(Bound::Ours(0.0)));
    let visible = |peer: &str, theirs: Option<&Shifted>| Line {
        ours: ours.visible(),
        theirs: theirs.and_then(Shifted::visible),
        foreign: Some(ours.foreign),
        rounds: ours.shows.len(),
        ..Line::new("B9", shows, peer, "ms")
    };
    findings.lines.push(
        visible("–", None)
            .kind(Kind::Timed)
            .must(Bound::Ours(5.0))
            .note(format!("longest {:.1} ms", greatest(&ours.shows))),
    );
    for peer in PEERS {
        match async { shift(Proxy::peer(programs, peer, setup()?).await?).await }.await {
            Ok(theirs) => findings
                .lines
                .extend([failed(peer.name(), Some(count(theirs.failed))), visible(peer.name(), Some(&theirs))]),
            Err(error) => findings.lines.push(not_run(peer, steps, &error)),
        }
    }
    Ok(())
}

fn not_run(peer: Peer, case: &str, error: &anyhow::Error) -> Line {
    Line { peer: peer.name().to_owned(), ..Line::did_not_run("B9", case, format!("{error:#}")) }
}

/// One route, shared out by weights.
fn split(listen: SocketAddr, upstreams: &[Upstream], weights: &[u32], workers: usize) -> Setup {
    let targets = upstreams
        .iter()
        .zip(weights)
        .map(|(upstream, weight)| TargetSetup { name: upstream.name.clone(), weight: *weight });
    let routes = vec![RouteSetup { targets: targets.collect(), ..RouteSetup::new("/", "a") }];
    Setup {
        upstreams: upstreams.to_vec(),
        routes,
        workers,
        reloads: true,
        ..Setup::plain(listen, upstreams[0].address)
    }
}

/// Ours or a peer, whose weights can be changed.
enum Proxy {
    Ours(LiveDataPlane, Setup),
    Peer(Server),
}

impl Proxy {
    async fn ours(programs: &Programs, setup: Setup) -> anyhow::Result<Self> {
        let plane = LiveDataPlane::start(&programs.binaries, &setup).await?;
        Self::Ours(plane, setup).answers().await
    }

    async fn peer(programs: &Programs, peer: Peer, setup: Setup) -> anyhow::Result<Self> {
        Self::Peer(Server::start(programs, peer, setup).await?).answers().await
    }

    fn setup(&self) -> &Setup {
        match self {
            Self::Ours(_, setup) => setup,
            Self::Peer(server) => &server.setup,
        }
    }

    async fn answers(self) -> anyhow::Result<Self> {
        crate::client::ready(self.setup().listen, &crate::client::Shape::Plain.into(), Duration::from_secs(60)).await?;
        Ok(self)
    }

    /// Gives when the change began.
    async fn weights(&mut self, weights: [u32; 2]) -> anyhow::Result<Instant> {
        let mut next = self.setup().clone();
        for (target, weight) in next.routes[0].targets.iter_mut().zip(weights) {
            target.weight = weight;
        }
        match self {
            Self::Ours(plane, setup) => {
                let mut snapshot = snapshot_of(setup)?;
                snapshot.insert(Resource::Route(Arc::new(route(0, &next.routes[0]))));
                setup.clone_from(&next);
                let began = Instant::now();
                plane.publishing.publish(&snapshot)?;
                Ok(began)
            }
            Self::Peer(server) => {
                let began = Instant::now();
                server.change(next).await?;
                Ok(began)
            }
        }
    }
}

/// How many requests any window is off, at the worst backend.
async fn exactness(proxy: &Proxy, weights: &'static [u32]) -> anyhow::Result<f64> {
    let ask = Ask::plain(proxy.setup().listen);
    let asked = tokio::task::spawn_blocking(move || {
        let mut connections: Vec<Connection> = (0..CONNECTIONS).map(|_| Connection::new(ask.address)).collect();
        let request = ask.bytes();
        let mut chosen = Vec::with_capacity(REQUESTS);
        for number in 0..REQUESTS {
            let answer = connections[number % CONNECTIONS].ask(&request)?;
            anyhow::ensure!(answer.status == 200, "the answer was {}", answer.status);
            chosen.push(answer.backend);
        }
        anyhow::Ok(chosen)
    });
    Ok(worst(&asked.await??, weights, WINDOW))
}

/// The greatest distance between how often a backend stands in a window and how often it should.
fn worst(chosen: &[String], weights: &[u32], window: usize) -> f64 {
    let sum: u32 = weights.iter().sum();
    let mut worst = 0.0f64;
    for (name, weight) in NAMES.iter().zip(weights) {
        let is = |index: usize| i64::from(chosen.get(index).is_some_and(|one| one == name));
        let due = f64::from(u32::try_from(window).unwrap_or(u32::MAX)) * f64::from(*weight) / f64::from(sum);
        let mut there: i64 = (0..window.min(chosen.len())).map(is).sum();
        for end in window..=chosen.len() {
            worst = worst.max((f64::from(i32::try_from(there).unwrap_or(i32::MAX)) - due).abs());
            there += is(end) - is(end - window);
        }
    }
    worst
}

#[derive(Debug, Default)]
struct Shifted {
    failed: u64,
    /// From a change to the first answer that only it can have caused, in milliseconds.
    shows: Vec<f64>,
    foreign: f64,
}

impl Shifted {
    fn visible(&self) -> Option<f64> {
        percentile(&self.shows, 0.5)
    }
}

async fn shift(mut proxy: Proxy) -> anyhow::Result<Shifted> {
    let ask = Ask::plain(proxy.setup().listen);
    let load = wrk::start(&ask, LOAD, Duration::from_secs(3600))?;
    let client = Loop::start(ask.address, ask.bytes(), Duration::ZERO);
    let foreign = Foreign::watch();
    let mut outcome = Ok(());
    for step in 1..=STEPS {
        let share = step * 100 / STEPS;
        outcome = outcome.and(proxy.weights([100 - share, share]).await.map(drop));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    if let Some(id) = load.id() {
        crate::child::signal(id, "INT").await?;
    }
    let loaded = wrk::finish(load).await;
    let load = fixed::Load::start(&ask, b7::CONNECTIONS, b7::RATE);
    // Back and forth: the first answer of the other backend can only come from the change.
    let mut moves = Vec::new();
    for turn in 0..MOVES {
        let (weights, next) = if turn % 2 == 0 { ([100, 0], "a") } else { ([0, 100], "b") };
        match proxy.weights(weights).await {
            Ok(began) => moves.push((began, next)),
            Err(error) => outcome = outcome.and(Err(error)),
        }
        tokio::time::sleep(PAUSE).await;
    }
    let foreign = foreign.cores();
    let (_, missed) = tokio::task::spawn_blocking(|| load.stop()).await?;
    let samples = client.stop()?;
    outcome?;
    let shows = moves.into_iter().filter_map(|(began, next)| {
        let first = samples.iter().find(|sample| {
            sample.began + sample.took > began && sample.answer.as_ref().is_ok_and(|answer| answer.backend == next)
        });
        first.map(|sample| (sample.began + sample.took).saturating_duration_since(began).as_secs_f64() * 1000.0)
    });
    let failed = samples.iter().filter(|sample| !sample.is_ok()).count() as u64;
    Ok(Shifted { failed: failed + missed + loaded?.errors, shows: shows.collect(), foreign })
}

#[expect(clippy::cast_precision_loss, reason = "a count")]
fn count(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these are exact")]
    use super::*;

    fn chosen(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    #[test]
    fn a_share_is_exact_if_every_window_holds_it() {
        assert_eq!(worst(&chosen("aabaabaab"), &[2, 1], 3), 0.0);
        assert_eq!(worst(&chosen("aaabab"), &[2, 1], 3), 1.0);
    }

    #[test]
    fn a_backend_that_is_never_chosen_is_off_by_all_its_share() {
        assert_eq!(worst(&chosen("aaaa"), &[1, 1], 4), 2.0);
    }
}
