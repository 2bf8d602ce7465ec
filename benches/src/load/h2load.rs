//! h2load: HTTP/2 streams over a few connections.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::Ask;
use super::wrk::Window;
use crate::peers::LOAD_CORE;

/// Connections, and streams at once on each.
const CONNECTIONS: usize = 8;
const STREAMS: usize = 8;

/// Runs for `time` on the load's core.
pub async fn window(ask: &Ask, time: Duration) -> anyhow::Result<Window> {
    let seconds = time.as_secs().max(1).to_string();
    let mut command = Command::new("taskset");
    command.args(["-c", &LOAD_CORE.to_string(), "h2load", "-t1", "-D", &seconds]);
    command.arg(format!("-c{CONNECTIONS}")).arg(format!("-m{STREAMS}")).arg(ask.url());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.context("h2load is missing: scripts/peers.sh installs it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "h2load: {text}{}", String::from_utf8_lossy(&output.stderr));
    parse(&text, time).with_context(|| format!("h2load said something new: {text}"))
}

fn parse(text: &str, time: Duration) -> Option<Window> {
    ensure_h2(text)?;
    let codes = text.lines().find_map(|line| line.strip_prefix("status codes:"))?;
    let count =
        |kind: &str| codes.split(',').find_map(|part| part.trim().strip_suffix(kind)?.trim().parse::<u64>().ok());
    let requests = count("2xx")?;
    let wrong: u64 = ["3xx", "4xx", "5xx"].into_iter().filter_map(count).sum();
    let failed = text.lines().find_map(|line| line.strip_prefix("requests:"))?;
    let failed = failed.split(',').find_map(|part| part.trim().strip_suffix("errored")?.trim().parse::<u64>().ok())?;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let rps = requests as f64 / time.as_secs_f64();
    Some(Window { requests, errors: wrong + failed, rps, ..Window::default() })
}

/// A server that chose HTTP/1.1 would be measured at something else.
fn ensure_h2(text: &str) -> Option<()> {
    text.lines().any(|line| line.starts_with("Application protocol: h2")).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_are_understood_and_another_protocol_is_not() {
        let text = "Application protocol: h2\n\nrequests: 90 total, 90 started, 80 done, 78 succeeded, 2 failed, 1 errored, 0 timeout\n\
                    status codes: 78 2xx, 0 3xx, 1 4xx, 1 5xx\n";
        let window = parse(text, Duration::from_secs(2)).unwrap();
        assert_eq!((window.requests, window.errors), (78, 3));
        assert_eq!(parse(&text.replace(": h2", ": http/1.1"), Duration::from_secs(2)), None);
    }
}
