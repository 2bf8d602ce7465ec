//! B7, apply: one route moves in a table of so many, under load: how soon the new path answers, what goes over the wire, and whom it hurts.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::plot::{Axis, Plot};
use super::upstream::Upstreams;
use super::{Effort, Findings};
use crate::child::free_address;
use crate::line::{Bound, Kind, Line};
use crate::load::sequential::{Connection, Loop, Sample, until};
use crate::load::{Ask, fixed, wrk};
use crate::peers::{LiveDataPlane, Peer, Programs, RouteSetup, Server, Setup, snapshot_of};
use crate::stats::{Spread, greatest, percentile};
use crate::usage::Foreign;

const SIZES: [usize; 4] = [100, 1_000, 5_000, 50_000];
/// Peers take seconds for a change, and minutes to start, with the largest table.
const LARGEST_FOR_PEERS: usize = 5_000;
const PEERS: [Peer; 4] = [Peer::EnvoyList, Peer::Nginx, Peer::Haproxy, Peer::Traefik];
/// The load beside the one client that is looked at: so many requests a second over so many connections. At full speed both cores are always busy, and
/// what is measured is when the kernel lets whoever waits have one.
pub(super) const RATE: u32 = 5_000;
pub(super) const CONNECTIONS: u32 = 8;
/// In a table of so many it is also measured while as much is asked as can be answered.
const AT_FULL_SPEED: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two changes: what the last one left to do is done, and little of what the next one needs has been taken away by a host that lets its guests'
/// memory rest.
const PAUSE: Duration = Duration::from_millis(100);
/// So long after the first answer a request still belongs to the change: half a pause, so that as much time lies within changes as without.
const AFTERMATH: Duration = Duration::from_millis(50);
const PAUSES: &str =
    "it compares two single requests, and a host that pauses its guest may decide it: see the upper quartiles";

/// What else is asked meanwhile.
#[derive(Clone, Copy, Debug)]
enum Pressure {
    Rate,
    FullSpeed,
}

/// What moving a route so many times came to.
#[derive(Debug, Default)]
struct Applied {
    /// From the change to the first 200 on the new path, in milliseconds.
    took: Vec<f64>,
    /// Of the sequential client and of the load.
    errors: u64,
    /// The longest request of the sequential client within each change, and within as much time before it; in milliseconds.
    longest: Vec<(f64, f64)>,
    /// Of a change, on the wire; ours alone.
    bytes: Option<f64>,
    foreign: f64,
}

pub(super) async fn run(programs: &Programs, effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let upstreams = Upstreams::start(&["up"]).await?;
    let mut curves: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for size in SIZES {
        let setup = || anyhow::Ok(Setup { reloads: true, ..Setup::routed(free_address()?, upstreams.first(), size) });
        let measured = ours(programs, setup()?, effort.rounds, Pressure::Rate).await;
        let ours = measured.with_context(|| format!("ours with {size} routes"))?;
        findings.lines.extend(own_lines(size, &ours));
        if size == AT_FULL_SPEED {
            findings.lines.push(at_full_speed(programs, setup()?, effort.rounds).await?);
        }
        extend(&mut curves, "ours", size, &ours);
        for peer in PEERS {
            let case = format!("{size} routes");
            if size > LARGEST_FOR_PEERS {
                let why = format!("with more than {LARGEST_FOR_PEERS} routes only ours is measured");
                let line = Line::did_not_run("B7", case, why);
                findings.lines.push(Line { peer: peer.name().to_owned(), ..line });
                continue;
            }
            super::say(&format!("{} with {size} routes", peer.name()));
            findings.lines.push(match theirs(programs, peer, setup()?, effort.rounds).await {
                Ok(applied) => {
                    extend(&mut curves, peer.name(), size, &applied);
                    against(peer, size, &ours, &applied)
                }
                Err(error) => {
                    Line { peer: peer.name().to_owned(), ..Line::did_not_run("B7", case, format!("{error:#}")) }
                }
            });
        }
    }
    findings.plots.push(Plot {
        name: "b7".to_owned(),
        title: "B7: one route changes, until it answers".to_owned(),
        x: Axis::logarithmic("routes in the table"),
        y: Axis::logarithmic("ms"),
        series: curves,
    });
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a number of routes")]
fn extend(curves: &mut Vec<(String, Vec<(f64, f64)>)>, name: &str, size: usize, applied: &Applied) {
    let Some(median) = percentile(&applied.took, 0.5) else { return };
    let point = (size as f64, median);
    match curves.iter_mut().find(|(known, _)| known == name) {
        Some((_, points)) => points.push(point),
        None => curves.push((name.to_owned(), vec![point])),
    }
}

fn own_lines(size: usize, applied: &Applied) -> Vec<Line> {
    let line = |what: &str, unit: &str, value: Option<f64>| Line {
        ours: value,
        rounds: applied.took.len(),
        foreign: Some(applied.foreign),
        errors: (applied.errors, 0),
        ..Line::new("B7", format!("{size} routes, {what}"), "–", unit)
    };
    let time = line("change to first 200", "ms", percentile(&applied.took, 0.5)).kind(Kind::Timed);
    let time = match size {
        5_000 => time.must(Bound::Ours(2.0)),
        50_000 => time.must(Bound::Ours(5.0)),
        _ => time,
    };
    let spread = Spread::of(&applied.took).map(|spread| format!("quartiles {:.2}–{:.2}", spread.low, spread.high));
    let (within, before) = longest_of_all(&applied.longest);
    let slowest = line("request slowed by a change", "ms", Some((within - before).max(0.0))).kind(Kind::Timed);
    let slowest = if size == 5_000 { slowest.must(Bound::Ours(2.0)).cause(PAUSES) } else { slowest };
    let note = format!(
        "longest {within:.1} ms in a change, {before:.1} ms without one; by the upper quartile of each change's {:.1} ms",
        slowed(&applied.longest).unwrap_or(f64::NAN)
    );
    let bytes = line("on the wire, encrypted", "bytes/change", applied.bytes);
    let bytes = if size == 5_000 { bytes.must(Bound::Ours(4_000.0)) } else { bytes };
    vec![time.note(spread.unwrap_or_default()), slowest.note(note), bytes]
}

fn against(peer: Peer, size: usize, ours: &Applied, theirs: &Applied) -> Line {
    let mut theirs_sorted = theirs.took.clone();
    let mut ours_sorted = ours.took.clone();
    // A change has no round in common with one of another server: the spread is that of the ordered pairs.
    for values in [&mut ours_sorted, &mut theirs_sorted] {
        values.sort_by(f64::total_cmp);
    }
    let line = Line {
        ours: percentile(&ours.took, 0.5),
        theirs: percentile(&theirs.took, 0.5),
        ratio: Spread::of_ratios(&ours_sorted, &theirs_sorted),
        rounds: ours.took.len().min(theirs.took.len()),
        foreign: Some(ours.foreign.max(theirs.foreign)),
        // What a peer drops is a finding, and no reason not to compare times.
        errors: (ours.errors, 0),
        ..Line::new("B7", format!("{size} routes"), peer.name(), "ms").kind(Kind::Paired)
    };
    let line = if size == 5_000 { line.must(Bound::Ratio(0.02)) } else { line };
    line.note(format!("peer: {} requests failed, longest {:.1} ms", theirs.errors, longest_of_all(&theirs.longest).0))
}

/// By the upper quartiles: what a change does to a request it does in each change, and a machine that stands still does it now and then.
fn slowed(longest: &[(f64, f64)]) -> Option<f64> {
    let (within, before): (Vec<f64>, Vec<f64>) = longest.iter().copied().unzip();
    Some((percentile(&within, 0.75)? - percentile(&before, 0.75)?).max(0.0))
}

fn longest_of_all(longest: &[(f64, f64)]) -> (f64, f64) {
    let (within, before): (Vec<f64>, Vec<f64>) = longest.iter().copied().unzip();
    (greatest(&within), greatest(&before))
}

async fn at_full_speed(programs: &Programs, setup: Setup, changes: usize) -> anyhow::Result<Line> {
    // Moved, not called from a frame that holds it: two such futures in one would be too large.
    let applied = Box::pin(ours(programs, setup, changes, Pressure::FullSpeed)).await.context("ours at full speed")?;
    let spread = Spread::of(&applied.took).map(|spread| format!("quartiles {:.2}–{:.2}", spread.low, spread.high));
    let line = Line {
        ours: percentile(&applied.took, 0.5),
        rounds: applied.took.len(),
        foreign: Some(applied.foreign),
        errors: (applied.errors, 0),
        ..Line::new("B7", format!("{AT_FULL_SPEED} routes, change to first 200 at full speed"), "–", "ms")
    };
    Ok(line.kind(Kind::Timed).note(spread.unwrap_or_default()))
}

async fn ours(programs: &Programs, setup: Setup, changes: usize, pressure: Pressure) -> anyhow::Result<Applied> {
    let plane = LiveDataPlane::start(&programs.binaries, &setup).await?;
    let mut snapshot = snapshot_of(&setup)?;
    let mut bytes = Vec::new();
    let mut sent = plane.publishing.bytes_sent();
    let listen = setup.listen;
    let applied = measure(&setup, listen, changes, pressure, async |route, index| {
        let resource = portcullis_ir::Resource::Route(std::sync::Arc::new(crate::peers::route(index, route)));
        snapshot.insert(resource);
        // By now whatever the last change caused has been sent.
        let now = plane.publishing.bytes_sent();
        bytes.push(now - sent);
        sent = now;
        let began = Instant::now();
        plane.publishing.publish(&snapshot)?;
        Ok(began)
    });
    let mut applied = applied.await?;
    // The first holds what came before.
    let bytes: Vec<f64> =
        bytes.iter().skip(1).map(|bytes| f64::from(u32::try_from(*bytes).unwrap_or(u32::MAX))).collect();
    applied.bytes = percentile(&bytes, 0.5);
    plane.running.stop(Duration::from_secs(20)).await?;
    Ok(applied)
}

async fn theirs(programs: &Programs, peer: Peer, setup: Setup, changes: usize) -> anyhow::Result<Applied> {
    let mut server = Server::start(programs, peer, setup.clone()).await?;
    let mut now = setup.clone();
    let applied = measure(&setup, setup.listen, changes, Pressure::Rate, async |route, index| {
        now.routes[index] = route.clone();
        let next = now.clone();
        let began = Instant::now();
        server.change(next).await?;
        Ok(began)
    });
    let applied = applied.await?;
    server.stop().await?;
    Ok(applied)
}

/// Moves the last route to a new path again and again, beside a load and one sequential client on the first route. `change` gives when it began.
async fn measure(
    setup: &Setup,
    listen: std::net::SocketAddr,
    changes: usize,
    pressure: Pressure,
    mut change: impl AsyncFnMut(&RouteSetup, usize) -> anyhow::Result<Instant>,
) -> anyhow::Result<Applied> {
    let ask = Ask::routed(listen, 1);
    let (mut connection, last) = (Connection::new(listen), setup.routes.len() - 1);
    let ready = Ask::routed(listen, last + 1).bytes();
    until(&mut connection, &ready, Instant::now(), PATIENCE * 4, |answer| answer.status == 200)?;
    let load = Load::start(&ask, pressure)?;
    let client = Loop::start(listen, ask.bytes(), Duration::ZERO);
    let foreign = Foreign::watch();
    let (mut took, mut windows) = (Vec::new(), Vec::new());
    let mut outcome = Ok(());
    for number in 0..changes {
        tokio::time::sleep(PAUSE).await;
        let prefix = format!("/moved-{number:05}");
        let route = RouteSetup { prefix: prefix.clone(), ..setup.routes[last].clone() };
        let request = Ask { path: format!("{prefix}/item"), ..Ask::routed(listen, 1) }.bytes();
        let began = match change(&route, last).await {
            Ok(began) => began,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
        let asked = tokio::task::spawn_blocking(move || {
            // A reload may close the connection that asks; that is counted by the other client.
            let mut connection = Connection::new(listen);
            until(&mut connection, &request, began, PATIENCE, |answer| answer.status == 200)
        });
        match asked.await? {
            Ok((time, _)) => took.push(time.as_secs_f64() * 1000.0),
            Err(error) => {
                outcome = Err(error.context(format!("change {number}")));
                break;
            }
        }
        windows.push((began, Instant::now() + AFTERMATH));
    }
    let foreign = foreign.cores();
    let loaded = load.stop().await;
    let samples = client.stop()?;
    outcome?;
    let failed = samples.iter().filter(|sample| !sample.is_ok()).count() as u64;
    Ok(Applied { took, errors: failed + loaded?, longest: longest(&samples, &windows), bytes: None, foreign })
}

/// It ends with the run, whatever becomes of it.
enum Load {
    Rate(fixed::Load),
    FullSpeed(tokio::process::Child),
}

impl Load {
    fn start(ask: &Ask, pressure: Pressure) -> anyhow::Result<Self> {
        Ok(match pressure {
            Pressure::Rate => Self::Rate(fixed::Load::start(ask, CONNECTIONS, RATE)),
            Pressure::FullSpeed => Self::FullSpeed(wrk::start(ask, CONNECTIONS as usize, Duration::from_secs(3600))?),
        })
    }

    /// How many requests failed.
    async fn stop(self) -> anyhow::Result<u64> {
        match self {
            Self::Rate(load) => {
                let (answered, failed) = tokio::task::spawn_blocking(|| load.stop()).await?;
                ensure!(answered > 0, "the load had no answer");
                Ok(failed)
            }
            Self::FullSpeed(mut wrk) => {
                ensure!(wrk.try_wait()?.is_none(), "wrk had ended before");
                // It tells what it counted when it is interrupted.
                if let Some(id) = wrk.id() {
                    crate::child::signal(id, "INT").await?;
                }
                Ok(wrk::finish(wrk).await?.errors)
            }
        }
    }
}

/// For each window the longest request that reaches into it, and the longest of those that end before it and begin after the one before.
fn longest(samples: &[Sample], windows: &[(Instant, Instant)]) -> Vec<(f64, f64)> {
    let greatest_of = |some: &dyn Fn(&Sample) -> bool| {
        let some = samples.iter().filter(|sample| some(sample));
        greatest(&some.map(|sample| sample.took.as_secs_f64() * 1000.0).collect::<Vec<_>>())
    };
    let of = |(number, (from, to)): (usize, &(Instant, Instant))| {
        let free = number.checked_sub(1).map_or(*from - (PAUSE - AFTERMATH), |before| windows[before].1);
        let within = greatest_of(&|sample| sample.began + sample.took >= *from && sample.began <= *to);
        let before = greatest_of(&|sample| sample.began > free && sample.began + sample.took < *from);
        (within, before)
    };
    windows.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these are exact")]
    use super::*;

    #[test]
    fn a_request_that_reaches_into_a_change_belongs_to_it() {
        let start = Instant::now();
        let sample = |at: u64, took: u64| Sample {
            began: start + Duration::from_millis(at),
            took: Duration::from_millis(took),
            answer: Err(String::new()),
        };
        let window = |from: u64, to: u64| (start + Duration::from_millis(from), start + Duration::from_millis(to));
        let samples = [
            sample(60, 3),
            sample(78, 7),
            sample(85, 1),
            sample(95, 6),
            sample(110, 2),
            sample(115, 9),
            sample(130, 1),
        ];
        assert_eq!(longest(&samples, &[window(80, 100), window(120, 140)]), [(7.0, 3.0), (9.0, 2.0)]);
    }

    #[test]
    fn one_change_in_which_the_machine_stood_still_does_not_decide_and_all_of_them_do() {
        let mut longest = vec![(1.5, 1.0); 12];
        longest[3].0 = 9.0;
        assert_eq!((slowed(&longest), longest_of_all(&longest)), (Some(0.5), (9.0, 1.0)));
        assert_eq!(slowed(&[(4.5, 1.0); 12]), Some(3.5));
        assert_eq!(slowed(&[(1.0, 4.5); 12]), Some(0.0));
        assert_eq!(slowed(&[]), None);
    }
}
