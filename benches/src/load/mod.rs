//! What asks: wrk in a closed loop, a fixed rate, one client after another request, handshakes, idle connections.

pub mod fixed;
pub mod h2load;
pub mod handshake;
pub mod idle;
pub mod sequential;
pub mod wrk;

use std::net::SocketAddr;

use crate::client::{Shape, prefix};

/// What is asked for: path and headers, the same for every subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub address: SocketAddr,
    pub tls: bool,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
}

impl Ask {
    /// `GET /` with a Host header.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: false, path: "/".to_owned(), headers: Vec::new() }
    }

    /// Below the prefix of route number `route`, with `x-version` and a Bearer token (the shape of B2 and B3).
    #[must_use]
    pub fn routed(address: SocketAddr, route: usize) -> Self {
        let headers = vec![("x-version", "v1".to_owned()), ("Authorization", format!("Bearer {}", Shape::token()))];
        Self { path: format!("{}/item", prefix(route)), headers, ..Self::plain(address) }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.address, self.path)
    }

    /// The bytes of one HTTP/1.1 request.
    #[must_use]
    pub fn bytes(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("GET {} HTTP/1.1\r\nHost: bench.localhost\r\n{headers}\r\n", self.path)
    }
}
