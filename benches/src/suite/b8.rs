//! B8, scale: what 5,000 routes with their Services and EndpointSlices cost while a workload changes every 2 s and a configuration every 1 s, and
//! how soon 1,000 routes are attached.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::plot::{Axis, Plot};
use super::world::edits::{self, Churn, NAMESPACES, ROUTES};
use super::world::probe::{Probed, probe};
use super::world::{GATEWAY, NAMESPACE, OurSide, TraefikSide, World, metric, objects, page, series, sum};
use super::{Effort, Findings};
use crate::line::{Bound, Kind, Line};
use crate::load::sequential::{Connection, until};
use crate::peers::Programs;
use crate::usage::{Foreign, cpu_ns, resident_kib};

/// Routes of the test of attached routes.
const ATTACHED: usize = 1_000;
/// Routes that are added while the churn goes on.
const PROBES: usize = 100;
/// Traefik's churn is shorter: its memory is shown, not its leaks.
const PEER_CHURN: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_secs(5);
/// What the controller has written, by kind.
const WRITES: &str = "portcullis_controller_status_writes_total{";

pub(super) async fn run(programs: &Programs, effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let churn = Duration::from_secs(60 * effort.churn_minutes);
    let ours = ours(programs, churn, findings).await?;
    match traefik(programs).await {
        Ok((theirs, served)) => {
            let line = |case: &str, unit: &str, ours, theirs| Line {
                ours: Some(ours),
                theirs: Some(theirs),
                ..Line::new("B8", case, "traefik", unit)
            };
            let both = (ours.controller_mib.max(0.0) + ours.data_plane_mib, theirs.data_plane_mib);
            findings.lines.extend([
                line("memory under churn, controller and data plane", "MiB", both.0, both.1),
                line(
                    "processor under churn, controller and data plane",
                    "core",
                    ours.controller_cores + ours.data_plane_cores,
                    theirs.data_plane_cores,
                ),
                Line { theirs: Some(served), ..Line::new("B8", "start to all 5,000 served", "traefik", "s") },
            ]);
        }
        Err(error) => {
            let line = Line::did_not_run("B8", "5,000 routes", format!("{error:#}"));
            findings.lines.push(Line { peer: "traefik".to_owned(), ..line });
        }
    }
    let published =
        [("agentgateway, data plane", 45.5), ("kgateway, control plane", 511.0), ("istio, data plane", 1771.5)];
    for (name, memory) in published {
        let line = Line { theirs: Some(memory), ..Line::new("B8", "memory under churn", name, "MiB") };
        findings.lines.push(line.note("published (gateway-api-bench v2, 16 cores), not run here"));
    }
    Ok(())
}

/// What steady churn costs.
#[derive(Clone, Copy, Debug, Default)]
struct Steady {
    controller_mib: f64,
    data_plane_mib: f64,
    controller_cores: f64,
    data_plane_cores: f64,
}

async fn ours(programs: &Programs, churn: Duration, findings: &mut Findings) -> anyhow::Result<Steady> {
    let world = World::start(programs).await?;
    let mut side = OurSide::start(&world, programs).await?;
    findings.lines.extend(attached(&world, &side).await.context("attached routes")?);
    super::say("filling the world with 5,000 routes, Services and slices");
    edits::fill(&world, NAMESPACES, ROUTES).await?;
    side.check()?;
    // Before anything is asked: a route has series from its first request on.
    settle(&side).await?;
    let text = page(side.data_plane_admin, "/metrics").await?;
    let line = Line {
        ours: Some(count(series(&text))),
        ..Line::new("B8", "series before traffic, data plane", "–", "series")
    };
    findings.lines.push(line.must(Bound::Ours(600.0)));
    super::say("waiting until all are served");
    served(side.listen).await.context("after the world was filled")?;
    let (mut side, lines) = cold_start(side, &world, programs).await?;
    findings.lines.extend(lines);
    world.create(objects::service(NAMESPACE, "app")).await?;
    world.create(objects::slice(NAMESPACE, "app", world.upstream(0))).await?;
    let quiet = probe(&world, side.listen, NAMESPACE, "app", "quiet", PROBES).await?;
    let (steady, lines) = steady(&world, &side, churn, findings).await?;
    findings.lines.extend(lines);
    let churning = Churn::start(&world)?;
    let busy = probe(&world, side.listen, NAMESPACE, "app", "busy", PROBES).await?;
    churning.stop().await;
    side.check()?;
    findings.lines.extend(under_churn(&quiet, &busy));
    Ok(steady)
}

fn under_churn(quiet: &Probed, busy: &Probed) -> [Line; 2] {
    let case = |what: &str| format!("{what}, {PROBES} routes beside 5,000 under churn");
    let line = Line {
        ours: busy.mean(),
        theirs: quiet.mean(),
        ..Line::new("B6", case("mean"), "the same without churn", "ms")
    };
    let wrong = Line {
        ours: Some(count(usize::try_from(busy.wrong).unwrap_or(usize::MAX))),
        ..Line::new("B6", case("answers but 404, then 200"), "–", "requests")
    };
    [line.must(Bound::Ratio(1.2)).note(busy.describe()), wrong.must(Bound::Ours(0.0))]
}

/// 1,000 routes at once: how long after the last create the Gateway counts them all, by how many writes of its status, and back.
async fn attached(world: &World, side: &OurSide) -> anyhow::Result<Vec<Line>> {
    world.create(objects::namespace("attached")).await?;
    world.create(objects::service("attached", "app")).await?;
    let before = writes(side).await?;
    let routes: Vec<String> = (0..ATTACHED).map(|number| format!("attached-{number}")).collect();
    world.create_all(routes.iter().map(|name| objects::route("attached", name, "app")).collect()).await?;
    let setup = attached_is(world, ATTACHED).await?;
    let written = writes(side).await? - before;
    let names = routes.into_iter().map(|name| ("attached".to_owned(), name)).collect();
    world.delete_all(&objects::resource("HTTPRoute")?, names).await?;
    let teardown = attached_is(world, 0).await?;
    let line = |case: &str, unit: &str, value| Line { ours: Some(value), ..Line::new("B8", case, "–", unit) };
    Ok(vec![
        line("attached routes, 1,000: last create to count", "s", setup).must(Bound::Ours(1.0)),
        line("attached routes, 1,000: writes of the Gateway's status", "writes", written).must(Bound::Ours(20.0)),
        line("attached routes: last delete to none", "s", teardown),
    ])
}

async fn writes(side: &OurSide) -> anyhow::Result<f64> {
    Ok(sum(&side.metrics().await?, "portcullis_controller_status_writes_total{kind=\"Gateway\""))
}

/// Seconds until the Gateway says so.
async fn attached_is(world: &World, wanted: usize) -> anyhow::Result<f64> {
    let gateways = world.api(Some(NAMESPACE), &objects::resource("Gateway")?);
    let began = Instant::now();
    loop {
        let gateway = serde_json::to_value(gateways.get(GATEWAY).await?)?;
        let attached = &gateway["status"]["listeners"][0]["attachedRoutes"];
        if attached.as_u64() == u64::try_from(wanted).ok() {
            return Ok(began.elapsed().as_secs_f64());
        }
        ensure!(began.elapsed() < PATIENCE, "attachedRoutes is {attached} and never {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A controller that starts with 5,000 routes there.
async fn cold_start(side: OurSide, world: &World, programs: &Programs) -> anyhow::Result<(OurSide, Vec<Line>)> {
    // What the first one wrote must have arrived, or the second finds work.
    settle(&side).await?;
    let foreign = Foreign::watch();
    let (side, began) = side.restart_controller(world, programs).await?;
    let listed = side.listed().await?;
    // Programmed: the data plane runs the newest program of this controller, which holds them all.
    let mut in_force = None;
    while in_force.is_none() {
        ensure!(began.elapsed() < PATIENCE, "the data plane is never told by the new controller");
        tokio::time::sleep(Duration::from_millis(5)).await;
        let text = side.metrics().await?;
        let version = metric(&text, "portcullis_controller_version{");
        // It holds that program already, by its digest, and is in force once its stream is open.
        let streams = metric(&text, "portcullis_controller_stream_streams_open").unwrap_or_default();
        in_force = version.filter(|_| streams > 0.0).map(|_| Instant::now());
    }
    let programmed = in_force.unwrap_or(listed).saturating_duration_since(listed).as_secs_f64();
    served(side.listen).await?;
    settle(&side).await?;
    let text = side.metrics().await?;
    let written = sum(&text, WRITES);
    let of_kinds: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix(WRITES)).filter(|line| !line.ends_with(" 0")).collect();
    let line = |case: &str, unit: &str, value| Line {
        ours: Some(value),
        foreign: Some(foreign.cores()),
        ..Line::new("B8", case, "–", unit)
    };
    let lines = vec![
        line("cold start with 5,000 routes: list to programmed", "s", programmed)
            .kind(Kind::Timed)
            .must(Bound::Ours(5.0))
            .note(format!("process start to list {:.2} s", listed.saturating_duration_since(began).as_secs_f64())),
        line("writes of a restart with unchanged statuses", "writes", written)
            .must(Bound::Ours(0.0))
            .note(of_kinds.join(", ").replace('}', "")),
    ];
    Ok((side, lines))
}

/// Waits until the controller has written nothing for two seconds.
pub(super) async fn settle(side: &OurSide) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut before = (f64::NAN, Instant::now());
    loop {
        let now = sum(&side.metrics().await?, WRITES);
        // Not a number at first, which equals nothing.
        if (now - before.0).abs() >= 0.5 || before.0.is_nan() {
            before = (now, Instant::now());
        } else if before.1.elapsed() > Duration::from_secs(2) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "the controller never stops writing statuses");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until a route of every namespace answers, the last of all among them; gives the seconds.
pub(super) async fn served(listen: std::net::SocketAddr) -> anyhow::Result<f64> {
    let asking = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let mut connection = Connection::new(listen);
        for space in 0..NAMESPACES {
            for number in [0, ROUTES - 1] {
                let name = edits::name(space, number);
                let request = objects::request(&name);
                // All of them together have that long.
                until(&mut connection, &request, began, PATIENCE, |answer| answer.status == 200).with_context(
                    || {
                        let answer = connection.ask(&request).map(|answer| answer.status);
                        format!("route {name}: {answer:?}")
                    },
                )?;
            }
        }
        anyhow::Ok(began.elapsed().as_secs_f64())
    });
    asking.await?
}

async fn steady(
    world: &World,
    side: &OurSide,
    time: Duration,
    findings: &mut Findings,
) -> anyhow::Result<(Steady, Vec<Line>)> {
    super::say(&format!("churn for {} s", time.as_secs()));
    let churning = Churn::start(world)?;
    // What filling the world left behind is not steady.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (began, foreign) = (Instant::now(), Foreign::watch());
    let cpu = || Ok::<_, anyhow::Error>((cpu_ns(side.controller.id())?, cpu_ns(side.data_plane.id())?));
    let memory = || {
        Ok::<_, anyhow::Error>((
            resident_kib(side.controller.id())? / 1024.0,
            resident_kib(side.data_plane.id())? / 1024.0,
        ))
    };
    let (before, sent) = (cpu()?, side.relay.sent.load(std::sync::atomic::Ordering::Relaxed));
    let passes = |text: &str, what: &str| {
        sum(text, &format!("portcullis_controller_pass_duration_seconds_{what}{{lane=\"full\"}}"))
    };
    let first = side.metrics().await?;
    let mut curves: [Vec<(f64, f64)>; 2] = Default::default();
    while began.elapsed() < time {
        tokio::time::sleep(LOOK).await;
        let (controller, data_plane) = memory()?;
        let at = began.elapsed().as_secs_f64() / 60.0;
        curves[0].push((at, controller));
        curves[1].push((at, data_plane));
    }
    let (after, seconds) = (cpu()?, began.elapsed().as_secs_f64());
    let bytes = side.relay.sent.load(std::sync::atomic::Ordering::Relaxed) - sent;
    let last = side.metrics().await?;
    let foreign = Some(foreign.cores());
    let (changes, failures) = churning.stop().await;
    ensure!(failures == 0, "{failures} of {changes} changes were not taken by the API server");
    let memory = memory()?;
    let cores = |before: u64, after: u64| nanoseconds(after - before) / 1e9 / seconds;
    let steady = Steady {
        controller_mib: memory.0,
        data_plane_mib: memory.1,
        controller_cores: cores(before.0, after.0),
        data_plane_cores: cores(before.1, after.1),
    };
    let note = format!(
        "{:.1} full passes of {:.2} ms each second",
        (passes(&last, "count") - passes(&first, "count")) / seconds,
        1000.0 * (passes(&last, "sum") - passes(&first, "sum"))
            / (passes(&last, "count") - passes(&first, "count")).max(1.0)
    );
    let line = |case: &str, unit: &str, value: f64| Line {
        ours: Some(value),
        foreign,
        ..Line::new("B8", format!("{case}, {:.0} min of churn", seconds / 60.0), "–", unit)
    };
    let lines = vec![
        line("controller: memory", "MiB", steady.controller_mib).must(Bound::Ours(100.0)),
        line("controller: processor", "core", steady.controller_cores)
            .kind(Kind::Timed)
            .must(Bound::Ours(0.02))
            .note(note),
        line("data plane: memory", "MiB", steady.data_plane_mib).must(Bound::Ours(35.0)).stretch(Bound::Ours(25.0)),
        line("data plane: processor", "core", steady.data_plane_cores).kind(Kind::Timed).must(Bound::Ours(0.002)),
        line("pushed, encrypted", "kB/s", nanoseconds(bytes) / 1000.0 / seconds).must(Bound::Ours(10.0)),
        line("controller: memory's growth, second half", "MiB/h", growth(&curves[0])),
        line("data plane: memory's growth, second half", "MiB/h", growth(&curves[1])),
    ];
    findings.plots.push(Plot {
        name: "b8".to_owned(),
        title: "B8: resident memory, 5,000 routes under churn".to_owned(),
        x: Axis::linear("minutes"),
        y: Axis::linear("MiB"),
        series: [("controller".to_owned(), curves[0].clone()), ("data plane".to_owned(), curves[1].clone())].into(),
    });
    Ok((steady, lines))
}

/// Per hour, by the line through the second half of points of minutes and MiB (least squares).
fn growth(points: &[(f64, f64)]) -> f64 {
    let half = &points[points.len() / 2..];
    let number = count(half.len().max(1));
    let (x, y) = half.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / number, y + point.1 / number));
    let (above, below) = half.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x) * (point.0 - x))
    });
    if below > 0.0 { above / below * 60.0 } else { 0.0 }
}

async fn traefik(programs: &Programs) -> anyhow::Result<(Steady, f64)> {
    if programs.traefik.is_none() {
        bail!("traefik is not installed: scripts/peers.sh says why");
    }
    let world = World::start(programs).await?;
    edits::fill(&world, NAMESPACES, ROUTES).await?;
    super::say("starting traefik with 5,000 routes");
    let side = TraefikSide::start(&world, programs, true).await?;
    let all = served(side.listen).await.context("traefik does not serve them all")?;
    let churning = Churn::start(&world)?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (began, before) = (Instant::now(), cpu_ns(side.running.id())?);
    tokio::time::sleep(PEER_CHURN).await;
    let used = cpu_ns(side.running.id())? - before;
    let cores = nanoseconds(used) / 1e9 / began.elapsed().as_secs_f64();
    churning.stop().await;
    let memory = resident_kib(side.running.id())? / 1024.0;
    Ok((Steady { data_plane_mib: memory, data_plane_cores: cores, ..Steady::default() }, all))
}

#[expect(clippy::cast_precision_loss, reason = "times and bytes stay far below 2^52")]
fn nanoseconds(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "a count")]
pub(super) fn count(value: usize) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_slope_of_the_second_half_in_an_hour() {
        let points: Vec<(f64, f64)> =
            (0..20u8).map(|minute| (f64::from(minute), if minute < 10 { 90.0 } else { f64::from(minute) })).collect();
        assert!((growth(&points) - 60.0).abs() < 1e-9);
        assert!(growth(&[]).abs() < 1e-9);
    }
}
