//! A fixed rate: requests go when they are due, whatever the answers do, and one that is sent late is counted from when it was due.
//!
//! A thread for each connection, because a sleeping thread is woken within microseconds and a runtime's timer within a millisecond. It runs as a
//! process of its own, on the load's core.

use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Ask;
use super::sequential::Connection;
use crate::stats::percentile;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub p50_us: f64,
    pub p99_us: f64,
    pub requests: u64,
    pub errors: u64,
}

/// `rate` requests a second over so many connections.
pub fn run(ask: &Ask, connections: u32, rate: u32, time: Duration) -> Outcome {
    // In one connection's turn.
    let interval = Duration::from_secs(1) * connections / rate.max(1);
    // All connections are open before the first request is due.
    let start = Instant::now() + Duration::from_millis(200);
    let threads: Vec<_> = (0..connections)
        .map(|index| {
            let (request, address) = (ask.bytes(), ask.address);
            let first = start + interval * index / connections;
            thread::spawn(move || connection(&mut Connection::new(address), &request, first, interval, start + time))
        })
        .collect();
    let (mut latencies, mut errors) = (Vec::new(), 0);
    for thread in threads {
        match thread.join() {
            Ok((mut some, failed)) => {
                latencies.append(&mut some);
                errors += failed;
            }
            Err(_) => errors += 1,
        }
    }
    let at = |share| percentile(&latencies, share).unwrap_or_default();
    Outcome { p50_us: at(0.5), p99_us: at(0.99), requests: latencies.len() as u64, errors }
}

fn connection(
    connection: &mut Connection,
    request: &str,
    first: Instant,
    interval: Duration,
    end: Instant,
) -> (Vec<f64>, u64) {
    let (mut latencies, mut errors, mut due) = (Vec::new(), 0, first);
    let mut free = first;
    while due < end {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // The wake-up's own lateness is the generator's; waiting for the answer before is the server's.
        let began = if free > due { due } else { Instant::now() };
        match connection.ask(request) {
            Ok(answer) if answer.status == 200 => latencies.push(began.elapsed().as_secs_f64() * 1e6),
            _ => errors += 1,
        }
        free = Instant::now();
        due += interval;
    }
    (latencies, errors)
}
