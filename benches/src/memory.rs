//! Resident memory of a process that has nothing to do.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::sleep;

use crate::child::Running;

/// Readings half a second apart, until three in a row agree within a hundredth.
const READINGS: usize = 40;

/// `VmRSS` in KiB, once it has settled.
pub async fn settled(running: &Running) -> anyhow::Result<f64> {
    let mut last = Vec::new();
    for _ in 0..READINGS {
        sleep(Duration::from_millis(500)).await;
        last.push(resident(running.id())?);
        if let [.., a, b, c] = last[..]
            && (a.max(b).max(c) - a.min(b).min(c)) / c < 0.01
        {
            return Ok(c);
        }
    }
    bail!("memory did not settle: the last reading was {:?} KiB", last.last())
}

fn resident(id: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{id}/status")).context("the process is gone")?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.context("the kernel names no VmRSS")
}
