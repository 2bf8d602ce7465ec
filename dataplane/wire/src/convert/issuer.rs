//! What was fetched about who signs tokens.

use portcullis_ir::{Discovery, Issuer, IssuerKey};

use crate::bounds::{KEY_SET, LABEL, text};
use crate::invalid::{At, InvalidResource};
use crate::proto;

pub(super) fn encode(issuer: &Issuer) -> proto::Issuer {
    let Issuer { key: _, keys, discovery } = issuer;
    let encode = |discovery: &Discovery| {
        let Discovery { authorization_endpoint, token_endpoint, end_session_endpoint, introspection_endpoint } =
            discovery;
        proto::Discovery {
            authorization_endpoint: authorization_endpoint.to_string(),
            token_endpoint: token_endpoint.to_string(),
            end_session_endpoint: end_session_endpoint.as_ref().map(ToString::to_string),
            introspection_endpoint: introspection_endpoint.as_ref().map(ToString::to_string),
        }
    };
    proto::Issuer { keys: keys.as_ref().map(ToString::to_string), discovery: discovery.as_ref().map(encode) }
}

pub(super) fn decode(key: IssuerKey, issuer: proto::Issuer) -> Result<Issuer, InvalidResource> {
    let proto::Issuer { keys, discovery } = issuer;
    Ok(Issuer {
        key,
        keys: keys.map(|keys| text(keys, KEY_SET)).transpose().at("keys")?.map(Into::into),
        discovery: discovery.map(decode_discovery).transpose().at("discovery")?,
    })
}

fn decode_discovery(discovery: proto::Discovery) -> Result<Discovery, InvalidResource> {
    let proto::Discovery { authorization_endpoint, token_endpoint, end_session_endpoint, introspection_endpoint } =
        discovery;
    let optional = |address: Option<String>| -> Result<Option<Box<str>>, InvalidResource> {
        Ok(address.map(|address| text(address, LABEL)).transpose()?.map(Into::into))
    };
    Ok(Discovery {
        authorization_endpoint: text(authorization_endpoint, LABEL).at("authorization_endpoint")?.into(),
        token_endpoint: text(token_endpoint, LABEL).at("token_endpoint")?.into(),
        end_session_endpoint: optional(end_session_endpoint).at("end_session_endpoint")?,
        introspection_endpoint: optional(introspection_endpoint).at("introspection_endpoint")?,
    })
}
