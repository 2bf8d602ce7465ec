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

/// Counts the processor time that is not ours: not this process's, nor that of anything it started.
#[derive(Debug)]
pub struct Foreign {
    since: Instant,
    root: u32,
    busy: f64,
    own: f64,
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
        Self { since: Instant::now(), root, busy: busy_seconds(), own: cpu_seconds(root) }
    }

    /// Cores, since it began to watch. The kernel counts in hundredths of a second: short windows are blurred.
    #[must_use]
    pub fn cores(&self) -> f64 {
        let others = (busy_seconds() - self.busy) - (cpu_seconds(self.root) - self.own);
        (others / self.since.elapsed().as_secs_f64()).max(0.0)
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

/// Of all processors: user, nice, system and steal (the host's other guests). Interrupts are left out: on loopback they are our own traffic.
fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> =
        text.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|one| one.parse().ok()).collect();
    [0, 1, 2, 7].into_iter().filter_map(|index| fields.get(index)).sum::<f64>() / TICKS
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
