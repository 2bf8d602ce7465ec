//! Endpoints.

use std::net::SocketAddr;

use portcullis_ir::{BackendKey, Endpoint, Endpoints};

use super::host::{decode_address, encode_address};
use crate::bounds::{ENDPOINTS, ascending, list, port};
use crate::invalid::{At, InvalidResource};
use crate::proto;

/// An IPv6 scope is not sent: it means nothing on another machine.
pub(super) fn encode(endpoints: &Endpoints) -> proto::Endpoints {
    let Endpoints { key: _, endpoints } = endpoints;
    let encode = |endpoint: &Endpoint| {
        let Endpoint { address, ready } = endpoint;
        proto::Endpoint { ip: encode_address(address.ip()), port: u32::from(address.port()), ready: *ready }
    };
    proto::Endpoints { endpoints: endpoints.iter().map(encode).collect() }
}

pub(super) fn decode(key: BackendKey, endpoints: proto::Endpoints) -> Result<Endpoints, InvalidResource> {
    let proto::Endpoints { endpoints } = endpoints;
    let endpoints = list(endpoints, ENDPOINTS, |proto::Endpoint { ip, port: number, ready }| {
        let address = SocketAddr::new(decode_address(&ip).at("ip")?, port(number).at("port")?);
        Ok(Endpoint { address, ready })
    });
    let endpoints = endpoints.at("endpoints")?;
    ascending(&endpoints, |endpoint| endpoint.address).at("endpoints")?;
    Ok(Endpoints { key, endpoints })
}
