//! What of a request stands in a key.

use portcullis_ir::KeyPart;

use super::matches::decode_header_name;
use super::origin::decode_expression;
use crate::bounds::{KEY_NAME, QUERY_NAME, text};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::key_part::Kind;

pub(super) fn encode(part: &KeyPart) -> proto::KeyPart {
    let kind = match part {
        KeyPart::ClientIp { ipv4_prefix, ipv6_prefix } => Kind::ClientIp(proto::ClientIp {
            ipv4_prefix: u32::from(*ipv4_prefix),
            ipv6_prefix: u32::from(*ipv6_prefix),
        }),
        KeyPart::Header(name) => Kind::Header(name.to_string()),
        KeyPart::Cookie(name) => Kind::Cookie(name.to_string()),
        KeyPart::Query(name) => Kind::Query(name.to_string()),
        KeyPart::Claim(name) => Kind::Claim(name.to_string()),
        KeyPart::ApiKey => Kind::ApiKey(proto::Any {}),
        KeyPart::Expression(expression) => Kind::Expression(expression.to_string()),
    };
    proto::KeyPart { kind: Some(kind) }
}

pub(super) fn decode(part: proto::KeyPart) -> Result<KeyPart, InvalidResource> {
    let proto::KeyPart { kind } = part;
    Ok(match kind.ok_or(Problem::Unsupported)? {
        Kind::ClientIp(proto::ClientIp { ipv4_prefix, ipv6_prefix }) => KeyPart::ClientIp {
            ipv4_prefix: prefix(ipv4_prefix, 32, "0 to 32").at("ipv4_prefix")?,
            ipv6_prefix: prefix(ipv6_prefix, 128, "0 to 128").at("ipv6_prefix")?,
        },
        Kind::Header(name) => KeyPart::Header(decode_header_name(&name).at("header")?),
        Kind::Cookie(name) => KeyPart::Cookie(named(name, KEY_NAME).at("cookie")?),
        Kind::Query(name) => KeyPart::Query(named(name, QUERY_NAME).at("query")?),
        Kind::Claim(name) => KeyPart::Claim(named(name, KEY_NAME).at("claim")?),
        Kind::ApiKey(proto::Any {}) => KeyPart::ApiKey,
        Kind::Expression(source) => KeyPart::Expression(decode_expression(source).at("expression")?),
    })
}

fn prefix(value: u32, max: u8, expected: &'static str) -> Result<u8, InvalidResource> {
    let bits = u8::try_from(value).ok().filter(|bits| *bits <= max);
    bits.ok_or_else(|| Problem::OutOfRange { value: value.into(), expected }.into())
}

fn named(name: String, max: usize) -> Result<Box<str>, InvalidResource> {
    if name.is_empty() { Err(Problem::Missing.into()) } else { Ok(text(name, max)?.into()) }
}
