//! A fixed rate: requests go when they are due, whatever the answers do, and one that is sent late is counted from when it was due.
//!
//! A thread for each connection, because a sleeping thread is woken within microseconds and a runtime's timer within a millisecond. It runs as a
//! process of its own, on the load's core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
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

/// `rate` requests a second over so many connections, to each of several servers in turn: never to two of them at once, by chance
/// or for a whole window.
pub fn run(asks: &[Ask], connections: u32, rate: u32, time: Duration) -> Outcome {
    // In one connection's turn.
    let interval = Duration::from_secs(1) * connections / rate.max(1);
    let turns = (0..connections).flat_map(|_| asks);
    let all = connections * u32::try_from(asks.len()).unwrap_or(u32::MAX);
    // All connections are open before the first request is due.
    let start = Instant::now() + Duration::from_millis(200);
    let threads: Vec<_> = turns
        .zip(0..all)
        .map(|(ask, index)| {
            let (request, address) = (ask.bytes(), ask.address);
            let first = start + interval * index / all.max(1);
            let goes_on = move |due| due < start + time;
            thread::spawn(move || connection(&mut Connection::new(address), &request, first, interval, goes_on))
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

/// The same in this process, until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(Vec<f64>, u64)>>,
}

impl Load {
    /// `rate` requests a second over so many connections.
    #[must_use]
    pub fn start(ask: &Ask, connections: u32, rate: u32) -> Self {
        let interval = Duration::from_secs(1) * connections / rate.max(1);
        let (stop, start) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let threads = (0..connections).map(|index| {
            let (request, address, stop) = (ask.bytes(), ask.address, Arc::clone(&stop));
            let first = start + interval * index / connections;
            let goes_on = move |_| !stop.load(Ordering::Relaxed);
            thread::spawn(move || connection(&mut Connection::new(address), &request, first, interval, goes_on))
        });
        Self { threads: threads.collect(), stop }
    }

    /// Ends it, and gives how many requests were answered and how many were not.
    #[must_use]
    pub fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self
            .threads
            .into_iter()
            .map(|thread| thread.join().map_or((0, 1), |(some, failed)| (some.len() as u64, failed)));
        ended.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

fn connection(
    connection: &mut Connection,
    request: &str,
    first: Instant,
    interval: Duration,
    goes_on: impl Fn(Instant) -> bool,
) -> (Vec<f64>, u64) {
    let (mut latencies, mut errors, mut due) = (Vec::new(), 0, first);
    let mut free = first;
    while goes_on(due) {
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
