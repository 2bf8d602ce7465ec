//! What a request brings to the decision.

use std::net::IpAddr;

use http::{HeaderMap, Method};
use portcullis_ir::Listener;

/// A socket address that connections are accepted on. A listener without addresses has one, with `address: None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bind {
    pub address: Option<IpAddr>,
    pub port: u16,
}

/// The server name of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sni<'a> {
    /// In normal form ([`portcullis_ir::Host`]); none when the client sent none.
    pub name: Option<&'a str>,
}

/// The parts of a request that rules can ask for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub bind: Bind,
    /// Some on TLS connections: they are served by HTTPS listeners only, the others by HTTP listeners only.
    pub sni: Option<Sni<'a>>,
    /// In normal form; empty if the request names none (HTTP/1.0).
    pub host: &'a str,
    /// [`portcullis_ir::PathView::matched`].
    pub path: &'a str,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// Raw, without the question mark.
    pub query: Option<&'a str>,
}

impl Bind {
    /// Where a listener is reached.
    pub fn of(listener: &Listener) -> impl Iterator<Item = Self> + '_ {
        let everywhere = listener.addresses.is_empty().then_some(Self { address: None, port: listener.port });
        let addresses = listener.addresses.iter();
        everywhere.into_iter().chain(addresses.map(|&address| Self { address: Some(address), port: listener.port }))
    }
}
