//! What asks: wrk in a closed loop, a fixed rate, one client after another request, handshakes, idle connections.

pub mod fixed;
pub mod h2load;
pub mod handshake;
pub mod idle;
pub mod sequential;
pub mod wrk;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::client::{Shape, prefix};

/// What is asked for: path and headers, the same for every subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub address: SocketAddr,
    pub tls: bool,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    /// One header more, with another value in every request; wrk alone can.
    pub cycle: Option<Cycle>,
}

/// Values in turn, on and on from one window to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    pub header: &'static str,
    pub first: String,
    /// With one on each line.
    pub values: PathBuf,
    /// Where the place in it is kept.
    pub place: PathBuf,
    /// wrk's program.
    pub script: PathBuf,
    /// Values of requests that go before everything that is measured, once each.
    pub before: Vec<String>,
}

impl Cycle {
    /// Files in `folder`; `name` has a place of its own, so that every subject goes through all values.
    pub fn new(header: &'static str, values: &[String], folder: &Path, name: &str) -> anyhow::Result<Self> {
        let file = |name: &str| folder.join(name);
        let (list, script) = (file("values"), file("cycle.lua"));
        fs::write(&list, values.join("\n") + "\n")?;
        fs::write(&script, include_str!("../../peers/cycle.lua"))?;
        let first = values.first().cloned().unwrap_or_default();
        Ok(Self { header, first, values: list, place: file(&format!("place-{name}")), script, before: Vec::new() })
    }
}

impl Ask {
    /// `GET /` with a Host header.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: false, path: "/".to_owned(), headers: Vec::new(), cycle: None }
    }

    /// Below the prefix of route number `route`, with `x-version` and a Bearer token (the shape of B2 and B3).
    #[must_use]
    pub fn routed(address: SocketAddr, route: usize) -> Self {
        Self::routed_with(address, route, ("Authorization", format!("Bearer {}", Shape::token())))
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.address, self.path)
    }

    /// Below the prefix of route number `route`, with `x-version` and whatever else is given.
    #[must_use]
    pub fn routed_with(address: SocketAddr, route: usize, header: (&'static str, String)) -> Self {
        let headers = vec![("x-version", "v1".to_owned()), header];
        Self { path: format!("{}/item", prefix(route)), headers, ..Self::plain(address) }
    }

    /// The bytes of one HTTP/1.1 request.
    #[must_use]
    pub fn bytes(&self) -> String {
        self.bytes_with(self.cycle.as_ref().map(|cycle| (cycle.header, &cycle.first)))
    }

    /// The bytes of those that go before the others.
    pub fn before(&self) -> impl Iterator<Item = String> {
        let cycle = self.cycle.iter();
        cycle.flat_map(|cycle| cycle.before.iter().map(|value| self.bytes_with(Some((cycle.header, value)))))
    }

    fn bytes_with(&self, cycled: Option<(&'static str, &String)>) -> String {
        let headers = self.headers.iter().map(|(name, value)| (*name, value)).chain(cycled);
        let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("GET {} HTTP/1.1\r\nHost: bench.localhost\r\n{headers}\r\n", self.path)
    }
}
