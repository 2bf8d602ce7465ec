//! Listeners.

use std::sync::Arc;

use portcullis_ir::{ClientValidation, ClientValidationMode, Listener, ListenerKey, ListenerProtocol, TlsTermination};

use super::host::{decode_address, decode_pattern, encode_address, encode_pattern};
use super::{auth, key, limit};
use crate::bounds::{ADDRESSES, LISTENER_CERTIFICATES, LISTENER_FILTERS, ROOTS, der, list, port};
use crate::invalid::{At, Diagnostics, InvalidResource, Problem};
use crate::proto;
use crate::proto::listener::Protocol;

pub(super) fn encode(listener: &Listener) -> proto::Listener {
    let Listener { key: _, addresses, port, hostname, protocol, proxy_protocol, limits, auth, external } = listener;
    let protocol = match protocol {
        ListenerProtocol::Http => Protocol::Http(proto::Http {}),
        ListenerProtocol::Https(termination) => Protocol::Https(encode_termination(termination)),
        ListenerProtocol::TlsPassthrough => Protocol::TlsPassthrough(proto::TlsPassthrough {}),
        ListenerProtocol::TlsTerminate(termination) => Protocol::TlsTerminate(encode_termination(termination)),
        ListenerProtocol::Tcp => Protocol::Tcp(proto::Tcp {}),
        ListenerProtocol::Udp => Protocol::Udp(proto::Udp {}),
    };
    proto::Listener {
        addresses: addresses.iter().map(|address| encode_address(*address)).collect(),
        port: u32::from(*port),
        hostname: encode_pattern(hostname),
        protocol: Some(protocol),
        proxy_protocol: *proxy_protocol,
        limits: limits.as_deref().map(limit::encode),
        auth: auth.as_deref().map(auth::encode),
        external: external.iter().map(auth::encode_external).collect(),
    }
}

pub(super) fn decode(
    key: ListenerKey,
    listener: proto::Listener,
    diagnostics: &mut Diagnostics,
) -> Result<Listener, InvalidResource> {
    let proto::Listener { addresses, port: number, hostname, protocol, proxy_protocol, limits, auth, external } =
        listener;
    let auth = auth.map(|auth| Arc::new(auth::decode(auth, &key, diagnostics)));
    let protocol = match protocol.ok_or_else(|| Problem::Unsupported.into()).at("protocol")? {
        Protocol::Http(proto::Http {}) => ListenerProtocol::Http,
        Protocol::Https(termination) => ListenerProtocol::Https(decode_termination(termination).at("https")?),
        Protocol::TlsPassthrough(proto::TlsPassthrough {}) => ListenerProtocol::TlsPassthrough,
        Protocol::TlsTerminate(termination) => {
            ListenerProtocol::TlsTerminate(decode_termination(termination).at("tls_terminate")?)
        }
        Protocol::Tcp(proto::Tcp {}) => ListenerProtocol::Tcp,
        Protocol::Udp(proto::Udp {}) => ListenerProtocol::Udp,
    };
    Ok(Listener {
        key,
        addresses: list(addresses, ADDRESSES, |bytes| decode_address(&bytes)).at("addresses")?,
        port: port(number).at("port")?,
        hostname: decode_pattern(hostname).at("hostname")?,
        protocol,
        proxy_protocol,
        limits: diagnostics.at("limits", |diagnostics| limit::decode(limits, diagnostics)).at("limits")?,
        auth,
        external: list(external, LISTENER_FILTERS, auth::decode_external).at("external")?,
    })
}

fn encode_termination(termination: &TlsTermination) -> proto::TlsTermination {
    let TlsTermination { certificates, client_validation } = termination;
    let validation = |ClientValidation { roots, mode }: &ClientValidation| proto::ClientValidation {
        roots: roots.iter().map(|root| root.to_vec()).collect(),
        mode: match mode {
            ClientValidationMode::Require => proto::ClientValidationMode::Require.into(),
            ClientValidationMode::Request => proto::ClientValidationMode::Request.into(),
        },
    };
    proto::TlsTermination {
        certificates: certificates.iter().map(key::certificate).collect(),
        client_validation: client_validation.as_ref().map(validation),
    }
}

fn decode_termination(termination: proto::TlsTermination) -> Result<TlsTermination, InvalidResource> {
    let proto::TlsTermination { certificates, client_validation } = termination;
    Ok(TlsTermination {
        certificates: list(certificates, LISTENER_CERTIFICATES, key::decode_certificate).at("certificates")?,
        client_validation: client_validation.map(decode_validation).transpose().at("client_validation")?,
    })
}

fn decode_validation(validation: proto::ClientValidation) -> Result<ClientValidation, InvalidResource> {
    let proto::ClientValidation { roots, mode } = validation;
    let mode = match proto::ClientValidationMode::try_from(mode) {
        Ok(proto::ClientValidationMode::Require) => ClientValidationMode::Require,
        Ok(proto::ClientValidationMode::Request) => ClientValidationMode::Request,
        Ok(proto::ClientValidationMode::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("mode"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("mode"),
    };
    Ok(ClientValidation { roots: list(roots, ROOTS, |root| Ok(der(root)?.into())).at("roots")?, mode })
}
