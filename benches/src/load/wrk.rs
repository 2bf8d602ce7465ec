//! wrk: a closed loop over so many keep-alive connections.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::{Ask, Cycle};
use crate::peers::LOAD_CORE;

/// What one window found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    pub requests: u64,
    /// Answers that were not 2xx or 3xx, and everything that went wrong with a socket.
    pub errors: u64,
    /// Of the errors, answers.
    pub not_ok: u64,
    pub rps: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Runs wrk for `time` on the load's core.
pub async fn window(ask: &Ask, connections: usize, time: Duration) -> anyhow::Result<Window> {
    let child = start(ask, connections, time)?;
    finish(child).await
}

/// Begins a load that ends by itself.
pub fn start(ask: &Ask, connections: usize, time: Duration) -> anyhow::Result<tokio::process::Child> {
    let mut command = Command::new("taskset");
    command.args(["-c", &LOAD_CORE.to_string(), "wrk", "-t1", "--latency", "--timeout", "10s"]);
    command.arg(format!("-c{connections}")).arg(format!("-d{}s", time.as_secs().max(1)));
    for (name, value) in &ask.headers {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    if let Some(Cycle { script, .. }) = &ask.cycle {
        command.arg("-s").arg(script);
    }
    command.arg(ask.url());
    if let Some(Cycle { header, values, place, .. }) = &ask.cycle {
        command.arg("--").arg(header).arg(values).arg(place);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().context("wrk is missing: scripts/peers.sh installs it")
}

/// Waits for its words.
pub async fn finish(child: tokio::process::Child) -> anyhow::Result<Window> {
    let output = child.wait_with_output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {}{}", text, String::from_utf8_lossy(&output.stderr).trim());
    parse(&text).with_context(|| format!("wrk said something new: {text}"))
}

fn parse(text: &str) -> Option<Window> {
    let line = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start));
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
    let not_ok: u64 = line("Non-2xx or 3xx responses:").map_or(Some(0), |rest| rest.trim().parse().ok())?;
    let sockets = line("Socket errors:").unwrap_or_default();
    let sockets = sockets.split_whitespace().filter_map(|word| word.trim_end_matches(',').parse::<u64>().ok());
    Some(Window {
        requests,
        errors: not_ok + sockets.sum::<u64>(),
        not_ok,
        rps: line("Requests/sec:")?.trim().parse().ok()?,
        p50_ms: milliseconds(line("50%")?)?,
        p99_ms: milliseconds(line("99%")?)?,
    })
}

/// "1.23ms", "456.00us", "1.20s".
fn milliseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (number, factor) = match text {
        _ if text.ends_with("us") => (text.trim_end_matches("us"), 0.001),
        _ if text.ends_with("ms") => (text.trim_end_matches("ms"), 1.0),
        _ => (text.trim_end_matches('s'), 1000.0),
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 2s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.76ms  210.00us   4.44ms   90.00%
    Req/Sec    34.20k     1.20k   41.30k    70.00%
  Latency Distribution
     50%    1.70ms
     75%    1.90ms
     90%    2.10ms
     99%  812.00us
  68400 requests in 2.00s, 14.00MB read
";

    #[test]
    fn its_words_are_understood() {
        let clean = parse(&format!("{TEXT}Requests/sec:  34200.00\nTransfer/sec:      7.00MB\n")).unwrap();
        assert_eq!(clean, Window { requests: 68400, errors: 0, not_ok: 0, rps: 34200.0, p50_ms: 1.7, p99_ms: 0.812 });
    }

    #[test]
    fn every_kind_of_error_counts() {
        let words = "  Socket errors: connect 1, read 2, write 0, timeout 4\n  Non-2xx or 3xx responses: 10\nRequests/sec: 1.0\n";
        let window = parse(&format!("{TEXT}{words}")).unwrap();
        assert_eq!((window.errors, window.not_ok), (17, 10));
        assert_eq!(parse("nothing"), None);
    }
}
