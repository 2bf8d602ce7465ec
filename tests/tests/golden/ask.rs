//! A request as a case writes it: `GET https://a.example.com/path?x=y`, or a map with the same under `url`. A connection
//! or a datagram is written without a method: `tls://a.example.com:443`, `tcp://:9000`, `udp://:53`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_ir::Authority;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Ask {
    Line(String),
    Full(Full),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Full {
    pub(crate) url: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    /// Of the connection, where it is not the host; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sni: Option<String>,
    /// The address that the connection was accepted on, for listeners that bind one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    /// `namespace/name`, where a case has several Gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
}

/// Taken apart.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) method: Method,
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) sni: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) gateway: Option<String>,
}

/// A connection to a stream listener, or a datagram.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) scheme: Scheme,
    pub(crate) sni: Option<String>,
    pub(crate) port: u16,
    pub(crate) address: Option<IpAddr>,
    pub(crate) gateway: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Tls,
    Tcp,
    Udp,
}

impl Ask {
    /// None for a request of HTTP.
    pub(crate) fn connection(&self) -> Result<Option<Connection>, String> {
        let (url, full) = self.parts();
        let (scheme, rest) = match url.split_once("://") {
            Some(("tls", rest)) => (Scheme::Tls, rest),
            Some(("tcp", rest)) => (Scheme::Tcp, rest),
            Some(("udp", rest)) => (Scheme::Udp, rest),
            _ => return Ok(None),
        };
        let wrong = || format!("{url:?} is not like tls://host:port or tcp://:port");
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        Ok(Some(Connection {
            scheme,
            sni: Some(host.to_owned()).filter(|host| !host.is_empty()),
            port: port.parse().map_err(|_| wrong())?,
            address: full.and_then(|full| full.address),
            gateway: full.and_then(|full| full.gateway.clone()),
        }))
    }

    fn parts(&self) -> (&str, Option<&Full>) {
        match self {
            Self::Line(url) => (url, None),
            Self::Full(full) => (&full.url, Some(full)),
        }
    }

    pub(crate) fn parse(&self) -> Result<Parsed, String> {
        let (url, full) = self.parts();
        let wrong = || format!("{url:?} is not like GET https://host:port/path?query");
        let (method, target) = url.split_once(' ').ok_or_else(wrong)?;
        let (scheme, rest) = target.split_once("://").ok_or_else(wrong)?;
        let (authority, target) = rest.split_at(rest.find('/').ok_or_else(wrong)?);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let tls = scheme == "https";
        // Nothing before the path: a request of HTTP/1.0, which names no host.
        let (host, port) = match authority {
            "" => (String::new(), None),
            some => Authority::parse(some).map(|one| (one.host.to_string(), one.port)).map_err(|_| wrong())?,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in full.iter().flat_map(|full| &full.headers) {
            let name = HeaderName::from_str(name).map_err(|error| error.to_string())?;
            headers.append(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
        }
        let sni = full.and_then(|full| full.sni.clone()).unwrap_or_else(|| host.clone());
        Ok(Parsed {
            method: method.parse().map_err(|_| wrong())?,
            tls,
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            path: path.to_owned(),
            query,
            headers,
            sni: (tls && !sni.is_empty()).then_some(sni),
            address: full.and_then(|full| full.address),
            gateway: full.and_then(|full| full.gateway.clone()),
            host,
        })
    }
}
