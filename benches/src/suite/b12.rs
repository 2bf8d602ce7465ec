//! B12, pods: what many data planes cost one controller that has 5,000 routes, and how soon the last of them has a change.
//!
//! One data plane is real. The others are subscribers in this process that have a pod, a token, a certificate and a stream of their own, answer as
//! the real one does, and count what they are sent.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kube::api::{Patch, PatchParams};
use tokio::time::sleep;

use super::Findings;
use super::b8::{count, served, settle};
use super::plot::{Axis, Plot};
use super::world::edits::{self, NAMESPACES, ROUTES};
use super::world::probe::{Watcher, milliseconds};
use super::world::subscribers::{Pod, Subscribers, pods};
use super::world::{OurSide, World, metric, objects, page};
use crate::line::{Bound, Line};
use crate::peers::Programs;
use crate::stats::{greatest, percentile};
use crate::table::thousands;
use crate::usage::{Foreign, cpu_seconds, resident_kib};

/// Data planes in all, the real one among them. No more than 1,000: so many endpoints has a slice.
const FLEETS: [usize; 3] = [1, 100, 1_000];
/// Of one route each, one after the other.
const EDITS: usize = 20;
/// Routes of one namespace are edited, for one watcher.
const SPACE: usize = 0;
/// Until all have the whole table.
const JOINING: Duration = Duration::from_secs(600);
/// Until all have one change, or until the controller has noticed that they left.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often memory is looked at while they join.
const LOOK: Duration = Duration::from_millis(100);
/// How long the controller is watched while nothing changes.
const IDLE: Duration = Duration::from_secs(10);
/// Between two edits, for answers and statuses: they belong to the edit before.
const PAUSE: Duration = Duration::from_millis(300);

pub(super) async fn run(programs: &Programs, findings: &mut Findings) -> anyhow::Result<()> {
    let world = World::start(programs).await?;
    let mut side = OurSide::start(&world, programs).await?;
    super::say("filling the world with 5,000 routes, Services and slices");
    edits::fill(&world, NAMESPACES, ROUTES).await?;
    side.check()?;
    super::say("waiting until all are served");
    served(side.listen).await.context("after the world was filled")?;
    // All of them before anything is measured: pods that are there cost the same in every fleet.
    super::say("making the pods and their tokens");
    let most = FLEETS.into_iter().max().unwrap_or_default();
    let pods = pods(&world, most.saturating_sub(1)).await.context("pods cannot be made")?;
    let mut bench = Bench { world, side, pods, turn: 0, alone_kib: 0.0 };
    let mut joining = Vec::new();
    let outcome = fleets(&mut bench, &mut joining, findings).await;
    findings.plots.push(Plot {
        name: "b12".to_owned(),
        title: "B12: first dial to the whole table of 5,000 routes".to_owned(),
        x: Axis::linear("data planes that have it"),
        y: Axis::linear("s"),
        series: joining,
    });
    outcome
}

/// A name and its points.
type Series = (String, Vec<(f64, f64)>);

async fn fleets(bench: &mut Bench, joining: &mut Vec<Series>, findings: &mut Findings) -> anyhow::Result<()> {
    for data_planes in FLEETS {
        super::say(&format!("{data_planes} data planes"));
        let measured = bench.measure(data_planes).await;
        bench.side.check()?;
        let measured = measured.with_context(|| format!("with {data_planes} data planes"))?;
        findings.lines.extend(lines(data_planes, &measured, bench.alone_kib));
        if let Some(joined) = measured.joined {
            joining.push((format!("of {}", thousands(count(data_planes))), joined.curve()));
        }
    }
    Ok(())
}

struct Bench {
    // Ends before the world that it works in.
    side: OurSide,
    world: World,
    pods: Vec<Pod>,
    /// Every edit is another one.
    turn: usize,
    /// The controller's memory with the real data plane alone.
    alone_kib: f64,
}

/// What one size of fleet found.
struct Measured {
    /// None of the real one alone: it was there before.
    joined: Option<Joined>,
    memory_kib: f64,
    /// Cores of the controller while nothing changes.
    idle: f64,
    edited: Edited,
    /// Attempts that failed and streams that broke off.
    failures: u64,
    trouble: Option<String>,
    foreign: f64,
}

struct Joined {
    /// From the first dial until each has the whole table, in seconds and in order.
    seconds: Vec<f64>,
    /// The greatest of the controller meanwhile.
    memory_kib: f64,
}

struct Edited {
    /// From before each edit is applied until the last data plane has it, in milliseconds.
    total: Vec<f64>,
    /// The same, less what the API server took until any watcher had the event.
    own: Vec<f64>,
    /// Of the controller for each edit, less what it uses while nothing changes, in milliseconds.
    cpu_ms: f64,
    /// To each data plane for each edit.
    bytes: f64,
}

impl Bench {
    async fn measure(&mut self, data_planes: usize) -> anyhow::Result<Measured> {
        settle(&self.side).await?;
        let foreign = Foreign::watch();
        let others = data_planes - 1;
        let began = Instant::now();
        let subscribers =
            Subscribers::start(self.side.stream, &self.side.authority()?, self.pods.get(..others).unwrap_or_default())?;
        let joined = match subscribers.is_empty() {
            true => None,
            false => Some(self.joined(&subscribers, began).await.context("the whole table")?),
        };
        self.ready(others).await?;
        settle(&self.side).await?;
        let idle = self.idle().await;
        let memory_kib = resident_kib(self.side.controller.id())?;
        if others == 0 {
            self.alone_kib = memory_kib;
        }
        let edited = self.edited(&subscribers, idle).await?;
        let foreign = foreign.cores();
        let (failures, trouble) = subscribers.failures();
        // Before they leave, or the Gateway would be said to be out of step.
        self.ready(0).await?;
        subscribers.end().await?;
        self.is_alone().await?;
        Ok(Measured { joined, memory_kib, idle, edited, failures, trouble, foreign })
    }

    async fn joined(&self, subscribers: &Subscribers, began: Instant) -> anyhow::Result<Joined> {
        let version = self.version().await?;
        let arriving = subscribers.all_at(version, JOINING);
        tokio::pin!(arriving);
        let mut memory_kib: f64 = 0.0;
        let arrived = loop {
            tokio::select! {
                arrived = &mut arriving => break arrived?,
                () = sleep(LOOK) => memory_kib = memory_kib.max(resident_kib(self.side.controller.id())?),
            }
        };
        let seconds = arrived.iter().map(|at| at.saturating_duration_since(began).as_secs_f64()).collect();
        Ok(Joined { seconds, memory_kib })
    }

    /// Seconds that the controller has used. Its passes run on threads that end when there are none.
    fn cpu(&self) -> f64 {
        cpu_seconds(self.side.controller.id())
    }

    /// So many subscribers take traffic, as far as the controller knows.
    async fn ready(&self, others: usize) -> anyhow::Result<()> {
        let names: Vec<&str> = self.pods.iter().take(others).map(|pod| pod.name.as_str()).collect();
        self.side.ready_beside(&self.world, &names).await
    }

    async fn idle(&self) -> f64 {
        let (began, before) = (Instant::now(), self.cpu());
        sleep(IDLE).await;
        (self.cpu() - before) / began.elapsed().as_secs_f64()
    }

    async fn edited(&mut self, subscribers: &Subscribers, idle: f64) -> anyhow::Result<Edited> {
        let namespace = edits::namespace(SPACE);
        let routes = self.world.api(Some(&namespace), &objects::resource("HTTPRoute")?);
        let watcher = Watcher::start(&self.world, &namespace, "HTTPRoute").await?;
        let mut version = self.version().await?;
        self.all_have(subscribers, version).await?;
        let (mut total, mut own) = (Vec::new(), Vec::new());
        let (since, bytes) = (Instant::now(), self.pushed(subscribers));
        let cpu = self.cpu();
        for number in 0..EDITS {
            self.turn += 1;
            version += 1;
            let name = edits::name(SPACE, number);
            watcher.forget(&name);
            let patch = Patch::Merge(edits::configuration(&name, self.turn));
            let began = Instant::now();
            routes.patch(&name, &PatchParams::default(), &patch).await?;
            let last = self.all_have(subscribers, version).await.with_context(|| format!("the edit of {name}"))?;
            total.push(milliseconds(last.saturating_duration_since(began)));
            own.push(milliseconds(last.saturating_duration_since(watcher.seen(&name).await?)));
            sleep(PAUSE).await;
        }
        let used = self.cpu() - cpu - idle * since.elapsed().as_secs_f64();
        let bytes = self.pushed(subscribers) - bytes;
        let newest = self.version().await?;
        ensure!(
            newest == version,
            "{EDITS} edits led to version {newest}, not {version}: times are not those of edits"
        );
        #[expect(clippy::cast_precision_loss, reason = "bytes of a few edits")]
        let bytes = bytes as f64 / count(subscribers.len().max(1)) / count(EDITS);
        Ok(Edited { total, own, cpu_ms: 1000.0 * used.max(0.0) / count(EDITS), bytes })
    }

    /// When the last has this version: subscribers say so themselves; of the real one alone its own metrics do.
    async fn all_have(&self, subscribers: &Subscribers, version: u64) -> anyhow::Result<Instant> {
        if let Some(last) = subscribers.all_at(version, PATIENCE).await?.last() {
            return Ok(*last);
        }
        let began = Instant::now();
        loop {
            let text = page(self.side.data_plane_admin, "/metrics").await?;
            let at = Instant::now();
            if whole(metric(&text, "portcullis_dataplane_config_version").unwrap_or_default()) >= version {
                return Ok(at);
            }
            ensure!(began.elapsed() < PATIENCE, "the data plane never came to version {version}");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Bytes to all subscribers; to the real one, if it is alone.
    fn pushed(&self, subscribers: &Subscribers) -> u64 {
        match subscribers.is_empty() {
            true => self.side.relay.sent.load(std::sync::atomic::Ordering::Relaxed),
            false => subscribers.bytes(),
        }
    }

    /// The newest of the one Gateway.
    async fn version(&self) -> anyhow::Result<u64> {
        let version = metric(&self.side.metrics().await?, "portcullis_controller_version{");
        Ok(whole(version.context("the controller names no version of the Gateway")?))
    }

    /// Waits until the controller has only the real one's stream.
    async fn is_alone(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let open = metric(&self.side.metrics().await?, "portcullis_controller_stream_streams_open");
            if open.is_some_and(|open| open <= 1.0) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "the controller still has {} streams", open.unwrap_or_default());
            sleep(LOOK).await;
        }
    }
}

impl Joined {
    fn last(&self) -> Option<f64> {
        self.seconds.last().copied()
    }

    /// Fifty points are a picture.
    fn curve(&self) -> Vec<(f64, f64)> {
        let step = self.seconds.len().div_ceil(50).max(1);
        let last = self.seconds.len();
        let points = self.seconds.iter().zip(1..).filter(|(_, number)| number % step == 0 || *number == last);
        points.map(|(at, number)| (count(number), *at)).collect()
    }
}

fn lines(data_planes: usize, measured: &Measured, alone_kib: f64) -> Vec<Line> {
    let Measured { joined, memory_kib, idle, edited, failures, trouble, foreign } = measured;
    let whose = if data_planes == 1 { "data plane" } else { "data planes" };
    let line = |case: &str, unit: &str, value: Option<f64>| Line {
        ours: value,
        foreign: Some(*foreign),
        ..Line::new("B12", format!("{} {whose}: {case}", thousands(count(data_planes))), "–", unit)
    };
    let mut lines = Vec::new();
    let memory = line("controller, memory", "MiB", Some(memory_kib / 1024.0));
    if let Some(joined) = joined {
        lines.extend([
            line("first dial until all have the whole table", "s", joined.last()),
            memory.note(format!("at most {:.1} MiB while they joined", joined.memory_kib / 1024.0)),
            line("controller, memory of each", "KiB", Some((memory_kib - alone_kib) / count(data_planes - 1)))
                .note("beside the real one alone"),
        ]);
    } else {
        lines.push(memory);
    }
    let Edited { total, own, cpu_ms, bytes } = edited;
    let own = format!(
        "without the API server: median {:.1}, longest {:.1} ms",
        percentile(own, 0.5).unwrap_or_default(),
        greatest(own)
    );
    let (until, counted) = match joined {
        Some(_) => ("the last subscriber has it", "messages, not encrypted"),
        None => ("it is in force", "encrypted"),
    };
    lines.extend([
        line("controller, processor while nothing changes", "core", Some(*idle)),
        line(&format!("apply until {until}, median of {EDITS} edits"), "ms", percentile(total, 0.5)).note(own),
        line(&format!("apply until {until}, longest of {EDITS} edits"), "ms", Some(greatest(total))),
        line("pushed to each for an edit", "B", Some(*bytes)).note(counted),
        line("controller, processor for an edit", "ms", Some(*cpu_ms)).note("less what it uses while nothing changes"),
    ]);
    if joined.is_some() {
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let failures = line("attempts that failed, streams lost", "errors", Some(*failures as f64));
        lines.push(failures.must(Bound::Ours(0.0)).note(trouble.clone().unwrap_or_default()));
    }
    lines
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a version number")]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(joined: Option<Joined>) -> Measured {
        let edited = Edited { total: vec![5.0, 7.0, 30.0], own: vec![2.0, 3.0, 20.0], cpu_ms: 9.0, bytes: 175.0 };
        let trouble = None;
        Measured { joined, memory_kib: 3_000.0, idle: 0.01, edited, failures: 0, trouble, foreign: 0.0 }
    }

    fn value(lines: &[Line], case: &str) -> Option<f64> {
        lines.iter().find(|line| line.case.contains(case)).and_then(|line| line.ours)
    }

    #[test]
    fn memory_of_each_is_what_the_others_add_to_the_real_one() {
        let joined = Joined { seconds: vec![1.0, 2.5], memory_kib: 4_000.0 };
        let lines = lines(11, &measured(Some(joined)), 2_000.0);
        assert_eq!(value(&lines, "memory of each"), Some(100.0));
        assert_eq!(value(&lines, "whole table"), Some(2.5));
        assert_eq!(value(&lines, "median"), Some(7.0));
        assert_eq!(value(&lines, "longest"), Some(30.0));
    }

    #[test]
    fn of_the_real_one_alone_nobody_joins_and_nothing_is_lost() {
        let lines = lines(1, &measured(None), 3_000.0);
        assert!(lines.iter().all(|line| line.case.starts_with("1 data plane: ")));
        assert!(["whole table", "memory of each", "lost"].iter().all(|case| value(&lines, case).is_none()));
    }

    #[test]
    fn a_curve_ends_with_the_last_of_them() {
        let joined = |count: usize| Joined { seconds: vec![1.0; count], memory_kib: 0.0 };
        assert_eq!(joined(999).curve().last(), Some(&(999.0, 1.0)));
        assert!(joined(999).curve().len() <= 51);
        assert_eq!(joined(3).curve().len(), 3);
        assert!(joined(0).curve().is_empty());
    }
}
