//! B6, propagation: how soon after apply a route is served, less what the API server needs to tell anybody.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};

use super::plot::{Axis, Plot};
use super::world::probe::{Probed, Watcher, milliseconds, probe};
use super::world::{NAMESPACE, OurSide, TraefikSide, World, edits, objects};
use super::{Effort, Findings};
use crate::line::{Bound, Kind, Line};
use crate::load::sequential::{Connection, until};
use crate::peers::Programs;
use crate::stats::{mean, percentile};
use crate::usage::Foreign;

const SERVICE: &str = "app";
/// With its default throttle Traefik takes two seconds for a route.
const THROTTLED: usize = 30;
const UNTHROTTLED: usize = 200;
/// Changes of an EndpointSlice.
const MOVES: usize = 100;

pub(super) async fn run(programs: &Programs, effort: Effort, findings: &mut Findings) -> anyhow::Result<()> {
    let ours = ours(programs, effort.probes, findings).await?;
    for (throttled, count) in [(false, UNTHROTTLED.min(effort.probes)), (true, THROTTLED)] {
        let case = if throttled { "traefik, default throttle" } else { "traefik, throttle 0" };
        let line = match traefik(programs, throttled, count).await {
            Ok((probed, foreign)) => Line {
                ours: ours.mean(),
                theirs: probed.mean(),
                foreign: Some(foreign),
                errors: (0, probed.wrong),
                ..Line::new("B6", format!("mean, {count} routes"), case, "ms")
            }
            .note(format!("traefik: {}", probed.describe())),
            Err(error) => Line { peer: case.to_owned(), ..Line::did_not_run("B6", "mean", format!("{error:#}")) },
        };
        findings.lines.push(line);
    }
    // Published figures never form a ratio with ours.
    for (name, published) in [("agentgateway", 16.6), ("istio", 221.0), ("envoy gateway", 320.0)] {
        let line = Line { theirs: Some(published), ..Line::new("B6", "mean, 3,000 routes", name, "ms") };
        findings.lines.push(line.note("published (gateway-api-bench v2, 16 cores), apply to 200, not run here"));
    }
    Ok(())
}

async fn ours(programs: &Programs, probes: usize, findings: &mut Findings) -> anyhow::Result<Probed> {
    let world = World::start(programs).await?;
    world.create(objects::service(NAMESPACE, SERVICE)).await?;
    world.create(objects::slice(NAMESPACE, SERVICE, world.upstream(0))).await?;
    let mut side = OurSide::start(&world, programs).await?;
    super::say("the Gateway is programmed");
    let foreign = Foreign::watch();
    let probed = probe(&world, side.listen, NAMESPACE, SERVICE, "probe", probes).await?;
    let foreign = Some(foreign.cores());
    side.check()?;
    let note = format!("{}; {}", probed.describe(), passes(&side).await?);
    let line = |case: &str, unit: &str, value: Option<f64>| Line {
        ours: value,
        foreign,
        ..Line::new("B6", format!("{case}, {probes} routes"), "–", unit)
    };
    findings.lines.extend([
        line("mean", "ms", probed.mean()).kind(Kind::Timed).must(Bound::Ours(5.0)).stretch(Bound::Ours(2.0)).note(note),
        line("p99", "ms", probed.p99()).kind(Kind::Timed).must(Bound::Ours(15.0)),
        line("last 100 / first 100", "x", probed.slope())
            .must(Bound::Ours(1.2))
            .cause("one pause of the machine among a hundred routes may be enough: see the medians")
            .note(probed.steady_slope().map_or_else(String::new, |slope| format!("of medians {slope:.2}"))),
        line("answers but 404, then 200", "requests", Some(count(probed.wrong))).must(Bound::Ours(0.0)),
    ]);
    findings.plots.push(plot(&probed));
    findings.lines.push(moves(&world, &side).await?);
    Ok(probed)
}

/// EndpointSlice to data plane: the port of the only endpoint changes, and the next backend answers.
async fn moves(world: &World, side: &OurSide) -> anyhow::Result<Line> {
    let watcher = Watcher::start(world, NAMESPACE, "EndpointSlice").await?;
    let slices = world.api(Some(NAMESPACE), &objects::resource("EndpointSlice")?);
    let (mut own, mut wrong) = (Vec::new(), 0);
    let mut connection = Connection::new(side.listen);
    let foreign = Foreign::watch();
    for turn in 1..=MOVES {
        watcher.forget(SERVICE);
        let upstream = &world.upstreams.all[turn % 2];
        let (name, request) = (upstream.name.clone(), objects::request("probe-0"));
        let began = Instant::now();
        let asking = tokio::task::spawn_blocking(move || {
            // The backend before is a right answer until the change is there.
            let limit = Duration::from_secs(30);
            let found = loop {
                match connection.ask(&request) {
                    Ok(answer) if answer.status == 200 && answer.backend == name => break Ok((began.elapsed(), 0)),
                    Ok(answer) if answer.status == 200 && began.elapsed() < limit => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    _ => {
                        break until(&mut connection, &request, began, limit, |answer| answer.backend == name)
                            .map(|(took, others)| (took, others + 1));
                    }
                }
            };
            (connection, found)
        });
        let patch = Patch::Merge(edits::endpoint(upstream.address));
        slices.patch(SERVICE, &PatchParams::default(), &patch).await?;
        let (back, found) = asking.await?;
        connection = back;
        let (took, others) = found?;
        wrong += others;
        own.push(milliseconds((began + took).saturating_duration_since(watcher.seen(SERVICE).await?)));
    }
    let note = format!(
        "p50 {:.2}, p99 {:.2} ms",
        percentile(&own, 0.5).unwrap_or_default(),
        percentile(&own, 0.99).unwrap_or_default()
    );
    let line = Line::new("B6", format!("EndpointSlice to data plane, mean of {MOVES}"), "–", "ms");
    Ok(Line { ours: mean(&own), foreign: Some(foreign.cores()), errors: (wrong, 0), ..line }.note(note))
}

async fn traefik(programs: &Programs, throttled: bool, count: usize) -> anyhow::Result<(Probed, f64)> {
    let world = World::start(programs).await?;
    world.create(objects::service(NAMESPACE, SERVICE)).await?;
    world.create(objects::slice(NAMESPACE, SERVICE, world.upstream(0))).await?;
    let side = TraefikSide::start(&world, programs, throttled).await?;
    super::say("traefik listens");
    let foreign = Foreign::watch();
    let probed = probe(&world, side.listen, NAMESPACE, SERVICE, "probe", count).await?;
    Ok((probed, foreign.cores()))
}

/// What the controller says of its own passes.
async fn passes(side: &OurSide) -> anyhow::Result<String> {
    let text = side.metrics().await?;
    let of = |what: &str, lane: &str| {
        let start = format!("portcullis_controller_pass_duration_seconds_{what}{{lane=\"{lane}\"}}");
        super::world::metric(&text, &start).unwrap_or_default()
    };
    let (sum, passes) = (of("sum", "full"), of("count", "full"));
    Ok(format!("{passes:.0} translations of {:.2} ms on average", 1000.0 * sum / passes.max(1.0)))
}

fn plot(probed: &Probed) -> Plot {
    // A mean of every twenty keeps the picture small.
    let points =
        probed.own.chunks(20).enumerate().filter_map(|(index, part)| Some((count(index as u64 * 20), mean(part)?)));
    Plot {
        name: "b6".to_owned(),
        title: "B6: apply to 200, less apply to watch".to_owned(),
        x: Axis::linear("routes that are there"),
        y: Axis::linear("ms"),
        series: vec![("portcullis".to_owned(), points.collect())],
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count")]
fn count(value: u64) -> f64 {
    value as f64
}
