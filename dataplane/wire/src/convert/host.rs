//! Host names and addresses.

use std::net::IpAddr;

use portcullis_ir::{Host, HostPattern};

use crate::bounds::text;
use crate::invalid::{InvalidResource, Problem};

/// The longest host pattern: a name after `*.`.
const PATTERN: usize = Host::MAX_LENGTH + 2;

/// A host in the form that [`Host::parse`] reads: IPv6 addresses in brackets.
pub(super) fn encode(host: &Host) -> String {
    match host.as_str() {
        address if address.contains(':') => format!("[{address}]"),
        name => name.to_owned(),
    }
}

pub(super) fn decode(host: String) -> Result<Host, InvalidResource> {
    Ok(Host::parse(&text(host, PATTERN)?).map_err(Problem::Host)?)
}

pub(super) fn encode_pattern(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Any => String::new(),
        HostPattern::Wildcard(suffix) => format!("*.{}", encode(suffix)),
        HostPattern::Exact(host) => encode(host),
    }
}

pub(super) fn decode_pattern(pattern: String) -> Result<HostPattern, InvalidResource> {
    Ok(HostPattern::parse(&text(pattern, PATTERN)?).map_err(Problem::Host)?)
}

pub(super) fn encode_address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(super) fn decode_address(bytes: &[u8]) -> Result<IpAddr, InvalidResource> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(octets.into());
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(octets) => Ok(octets.into()),
        Err(_) => Err(Problem::Text("is no address; it must have 4 or 16 bytes").into()),
    }
}
