//! What processes use of the machine, from `/proc`: processor time, memory, and how much of it is somebody else's.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// Ticks of the kernel in a second, as `/proc` shows them on every Linux that matters (`USER_HZ`).
const TICKS: f64 = 100.0;

/// A process and all that it started, itself first.
#[must_use]
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for id in processes() {
        if let Some(parent) = stat(id).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(id) = found.get(next).copied() {
        found.extend(children.remove(&id).unwrap_or_default());
        next += 1;
    }
    found
}

/// Processor time of all threads of a process and of what it started, in nanoseconds. What a thread used is gone with it.
pub fn cpu_ns(root: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    let mut found = false;
    for id in tree(root) {
        let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { continue };
        for thread in threads.flatten() {
            // A thread may end while we look.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            sum +=
                text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).context("schedstat has no time")?;
            found = true;
        }
    }
    ensure!(found, "process {root} is gone, or this kernel keeps no schedstat");
    Ok(sum)
}

/// User and system time of the tree, and of those of it that have ended, to the hundredth. What a thread used stays when it ends.
#[must_use]
pub fn cpu_seconds(root: u32) -> f64 {
    let of = |id: u32| {
        let fields = stat(id)?;
        let times = fields.get(11..15)?.iter().filter_map(|one| one.parse::<f64>().ok());
        Some(times.sum::<f64>())
    };
    tree(root).into_iter().filter_map(of).sum::<f64>() / TICKS
}

/// Resident memory of a process and of what it started, in KiB. Pages that they share are counted for each.
pub fn resident_kib(root: u32) -> anyhow::Result<f64> {
    let of = |id: u32| {
        let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok())
    };
    let sum: f64 = tree(root).into_iter().filter_map(of).sum();
    ensure!(sum > 0.0, "process {root} is gone");
    Ok(sum)
}

/// Counts the processor time that is not ours: not this process's, nor that of anything it started. What the host gives to its other guests
/// (steal) is the first part of it, and in no process's time.
#[derive(Debug)]
pub struct Foreign {
    since: Instant,
    root: u32,
    machine: Machine,
    own: f64,
}

/// Seconds of all processors since the machine was started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Machine {
    /// User, nice and system. Interrupts are left out: on loopback they are our own traffic. Where the kernel counts them to whom they interrupt,
    /// as much of others' work is not seen as they took.
    busy: f64,
    steal: f64,
}

impl Foreign {
    /// From now on.
    #[must_use]
    pub fn watch() -> Self {
        Self::watch_beside(std::process::id())
    }

    /// Takes `root` and all that it started for ours.
    #[must_use]
    pub fn watch_beside(root: u32) -> Self {
        Self { since: Instant::now(), root, machine: Machine::now(), own: cpu_seconds(root) }
    }

    /// Cores, since it began to watch. The kernel counts in hundredths of a second: short windows are blurred.
    #[must_use]
    pub fn cores(&self) -> f64 {
        self.machine.foreign(Machine::now(), cpu_seconds(self.root) - self.own) / self.since.elapsed().as_secs_f64()
    }
}

impl Machine {
    fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(stat: &str) -> Self {
        let words = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let fields: Vec<f64> = words.filter_map(|one| one.parse().ok()).collect();
        let of = |index: usize| fields.get(index).copied().unwrap_or_default() / TICKS;
        Self { busy: of(0) + of(1) + of(2), steal: of(7) }
    }

    /// Seconds until `now` that were not `own`.
    fn foreign(self, now: Self, own: f64) -> f64 {
        (now.busy - self.busy - own).max(0.0) + (now.steal - self.steal)
    }
}

/// Microseconds that a look at a page takes after half a second's rest: some hundredths where memory is the machine's own, a thousand times as much for
/// some pages where a host takes what rests from its guests' page tables. Whatever is done once in a while is slow on such a machine.
#[must_use]
pub fn rested_page_us() -> f64 {
    const PAGES: u16 = 400;
    const PAGE: usize = 4096;
    let memory = std::hint::black_box(vec![1_u8; usize::from(PAGES) * PAGE]);
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    let sum: u64 = memory.iter().step_by(PAGE).map(|byte| u64::from(*byte)).sum();
    std::hint::black_box(sum);
    began.elapsed().as_secs_f64() * 1e6 / f64::from(PAGES)
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fields of `/proc/ID/stat` after the name, which may hold spaces: state, parent, ...
fn stat(id: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_takes_is_foreign_however_many_interrupts_are_counted_as_ours() {
        let (before, after) = ("cpu  100 0 50 900 0 0 10 5\ncpu0 1 1 1", "cpu  1840 0 415 2468 1 0 218 142\n");
        let (before, after) = (Machine::parse(before), Machine::parse(after));
        assert_eq!(before, Machine { busy: 1.5, steal: 0.05 });
        assert!((before.foreign(after, 23.15) - 1.37).abs() < 1e-9, "our own 23.15 s hold 2.08 of interrupts");
        assert!((before.foreign(after, 20.0) - 2.42).abs() < 1e-9);
    }

    #[test]
    fn what_a_process_started_belongs_to_it() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(tree(std::process::id()).contains(&child.id()));
        assert!(!tree(child.id()).contains(&std::process::id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn processor_time_grows_with_work_and_memory_is_there() {
        let before = cpu_ns(std::process::id()).unwrap();
        // Until the clock of this very process has moved; the kernel updates it at every switch of tasks.
        while cpu_ns(std::process::id()).unwrap() == before {
            std::hint::black_box((0..10_000u64).sum::<u64>());
        }
        assert!(resident_kib(std::process::id()).unwrap() > 100.0);
        assert!(cpu_ns(u32::MAX).is_err());
    }
}
