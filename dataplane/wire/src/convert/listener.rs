//! Listeners.

use portcullis_ir::{Listener, ListenerKey, ListenerProtocol, TlsTermination};

use super::host::{decode_address, decode_pattern, encode_address, encode_pattern};
use super::key;
use crate::bounds::{ADDRESSES, LISTENER_CERTIFICATES, list, port};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::listener::Protocol;

pub(super) fn encode(listener: &Listener) -> proto::Listener {
    let Listener { key: _, addresses, port, hostname, protocol, proxy_protocol } = listener;
    let protocol = match protocol {
        ListenerProtocol::Http => Protocol::Http(proto::Http {}),
        ListenerProtocol::Https(TlsTermination { certificates }) => {
            Protocol::Https(proto::TlsTermination { certificates: certificates.iter().map(key::certificate).collect() })
        }
    };
    proto::Listener {
        addresses: addresses.iter().map(|address| encode_address(*address)).collect(),
        port: u32::from(*port),
        hostname: encode_pattern(hostname),
        protocol: Some(protocol),
        proxy_protocol: *proxy_protocol,
    }
}

pub(super) fn decode(key: ListenerKey, listener: proto::Listener) -> Result<Listener, InvalidResource> {
    let proto::Listener { addresses, port: number, hostname, protocol, proxy_protocol } = listener;
    let protocol = match protocol.ok_or_else(|| Problem::Unsupported.into()).at("protocol")? {
        Protocol::Http(proto::Http {}) => ListenerProtocol::Http,
        Protocol::Https(proto::TlsTermination { certificates }) => {
            let certificates = list(certificates, LISTENER_CERTIFICATES, key::decode_certificate);
            ListenerProtocol::Https(TlsTermination { certificates: certificates.at("certificates").at("https")? })
        }
    };
    Ok(Listener {
        key,
        addresses: list(addresses, ADDRESSES, |bytes| decode_address(&bytes)).at("addresses")?,
        port: port(number).at("port")?,
        hostname: decode_pattern(hostname).at("hostname")?,
        protocol,
        proxy_protocol,
    })
}
