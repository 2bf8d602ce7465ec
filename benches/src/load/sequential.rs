//! One keep-alive client, one request after another, each answer with its time: what a user in the middle of a change sees.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

const PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions of [`until`].
const POLL: Duration = Duration::from_millis(1);

/// An answer: its status, and who gave it (`x-backend`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub backend: String,
}

/// A blocking connection: its clock is no runtime's.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: Vec::with_capacity(4096) }
    }

    /// Sends one request and reads its answer. After an error the next one takes a new connection.
    pub fn ask(&mut self, request: &str) -> anyhow::Result<Answer> {
        let outcome = self.exchange(request);
        if outcome.is_err() {
            self.stream = None;
        }
        outcome
    }

    fn exchange(&mut self, request: &str) -> anyhow::Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                none.insert(stream)
            }
        };
        stream.write_all(request.as_bytes())?;
        self.buffer.clear();
        let mut part = [0; 4096];
        loop {
            let count = stream.read(&mut part)?;
            if count == 0 {
                bail!("the connection was closed under a request");
            }
            self.buffer.extend_from_slice(&part[..count]);
            if let Some((answer, closes)) = parse(&self.buffer)? {
                if closes {
                    self.stream = None;
                }
                return Ok(answer);
            }
        }
    }
}

/// None: not whole yet. True: the connection ends with it.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Answer, bool)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    let header = |name: &str| {
        let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let whole = match (header("content-length"), header("transfer-encoding")) {
        (Some(length), _) => bytes.len() >= end + 4 + length.parse::<usize>()?,
        (None, Some(_)) => bytes.ends_with(b"0\r\n\r\n"),
        (None, None) => bail!("the answer has no length"),
    };
    if !whole {
        return Ok(None);
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some((Answer { status, backend: header("x-backend").unwrap_or_default().to_owned() }, closes)))
}

/// One request as it went.
#[derive(Clone, Debug)]
pub struct Sample {
    pub began: Instant,
    pub took: Duration,
    pub answer: Result<Answer, String>,
}

impl Sample {
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.status == 200)
    }
}

/// Asks without a pause, on a thread of its own, until it is stopped.
#[derive(Debug)]
pub struct Loop {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Loop {
    /// `pause` between two requests; zero asks as fast as answers come.
    #[must_use]
    pub fn start(address: SocketAddr, request: String, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut connection = Connection::new(address);
            let mut samples = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = connection.ask(&request).map_err(|error| format!("{error:#}"));
                samples.push(Sample { began, took: began.elapsed(), answer });
                if !pause.is_zero() {
                    std::thread::sleep(pause);
                }
            }
            samples
        });
        Self { stop, thread }
    }

    /// Ends it and gives what it saw.
    pub fn stop(self) -> anyhow::Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the sequential client panicked"))
    }
}

/// Asks for `request` each millisecond from `began` on, or as soon after as the answer before has come, until the answer satisfies; gives how long
/// after `began` it was there, and what came before that was neither 404 nor it.
pub fn until(
    connection: &mut Connection,
    request: &str,
    began: Instant,
    limit: Duration,
    satisfies: impl Fn(&Answer) -> bool,
) -> anyhow::Result<(Duration, u64)> {
    let mut others = 0;
    let mut due = began;
    loop {
        match connection.ask(request) {
            Ok(answer) if satisfies(&answer) => return Ok((began.elapsed(), others)),
            Ok(answer) if answer.status == 404 => {}
            Ok(_) | Err(_) => others += 1,
        }
        if began.elapsed() > limit {
            bail!("not seen within {} s", limit.as_secs());
        }
        // What is late already is not made up for.
        due = (due + POLL).max(Instant::now());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_by_its_length_or_its_last_chunk() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Backend: a\r\n\r\n";
        assert_eq!(parse(head).unwrap(), None);
        let (answer, closes) = parse(&[&head[..], b"ok"].concat()).unwrap().unwrap();
        assert_eq!((answer.status, &*answer.backend, closes), (200, "a", false));
        let chunked = b"HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        assert_eq!(parse(chunked).unwrap(), None);
        assert!(parse(&[&chunked[..], b"0\r\n\r\n"].concat()).unwrap().unwrap().1);
    }
}
