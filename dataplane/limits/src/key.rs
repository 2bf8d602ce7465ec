//! What of a request stands in a key, and the two forms of a key: a hash with a secret seed for words in memory, and a
//! text for a store that others count in too.

use std::borrow::Cow;
use std::fmt::Write;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName};
use portcullis_expressions::{Facts, InvalidExpression, Program, header_among};
use portcullis_ir::KeyPart;
use portcullis_router::query_parameter;
use serde_json::Value as Json;

/// Nobody outside of the process knows it: who could choose keys that collide could spend what is others'.
pub struct Secret {
    shared: SharedSeed,
    own: u64,
}

/// A part of a key, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    ClientIp { ipv4_prefix: u8, ipv6_prefix: u8 },
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
    Claim(Box<str>),
    ApiKey,
    Expression(Program),
}

/// What a request has in the place of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Bytes(Cow<'a, [u8]>),
    Network {
        address: IpAddr,
        prefix: u8,
    },
    /// The part is missing; the client's address stands for it, apart from those who have it.
    InsteadOf(IpAddr),
}

impl Secret {
    pub fn new(random: [u64; 2]) -> Self {
        Self { shared: SharedSeed::from_u64(random[0]), own: random[1] }
    }

    pub(crate) fn hasher(&self) -> FoldHasher<'_> {
        FoldHasher::with_seed(self.own, &self.shared)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(<redacted>)")
    }
}

impl Part {
    pub(crate) fn compile(part: &KeyPart) -> Result<Self, InvalidExpression> {
        Ok(match part {
            KeyPart::ClientIp { ipv4_prefix, ipv6_prefix } => {
                Self::ClientIp { ipv4_prefix: *ipv4_prefix, ipv6_prefix: *ipv6_prefix }
            }
            KeyPart::Header(name) => Self::Header(name.clone()),
            KeyPart::Cookie(name) => Self::Cookie(name.clone()),
            KeyPart::Query(name) => Self::Query(name.clone()),
            KeyPart::Claim(name) => Self::Claim(name.clone()),
            KeyPart::ApiKey => Self::ApiKey,
            KeyPart::Expression(expression) => Self::Expression(Program::compile(&expression.0)?),
        })
    }

    pub(crate) fn uses_identity(&self) -> bool {
        match self {
            Self::Claim(_) | Self::ApiKey => true,
            Self::Expression(program) => program.uses_identity(),
            Self::ClientIp { .. } | Self::Header(_) | Self::Cookie(_) | Self::Query(_) => false,
        }
    }

    /// None: the request has nothing there, or an expression failed. What is empty is nothing: else all who leave it
    /// empty would share one bucket.
    pub(crate) fn value<'a>(&'a self, facts: &Facts<'a>) -> Option<Value<'a>> {
        let bytes = match self {
            Self::ClientIp { .. } => return self.network(facts.client.to_canonical()),
            Self::Header(name) => header(facts.headers, name)?,
            Self::Cookie(name) => Cow::Borrowed(cookie(facts.headers, name)?),
            Self::Query(name) => query_parameter(facts.query, name)?,
            Self::Claim(name) => claim(facts.identity?.claim(name)?)?,
            Self::ApiKey => Cow::Borrowed(facts.identity?.api_key.as_ref()?.id.as_bytes()),
            Self::Expression(program) => Cow::Owned(program.text(facts).ok()?.into_bytes()),
        };
        (!bytes.is_empty()).then_some(Value::Bytes(bytes))
    }
}

impl Part {
    /// The network of an address; none if the part is another one.
    pub(crate) fn network<'a>(&self, address: IpAddr) -> Option<Value<'a>> {
        let Self::ClientIp { ipv4_prefix, ipv6_prefix } = self else { return None };
        let prefix = if address.is_ipv4() { *ipv4_prefix } else { *ipv6_prefix };
        Some(Value::Network { address: network(address, prefix), prefix })
    }
}

impl Value<'_> {
    pub(crate) fn hash(&self, hasher: &mut FoldHasher<'_>) {
        match self {
            Self::Bytes(bytes) => hash_bytes(hasher, bytes),
            // No value is as long as this.
            Self::Network { address, prefix } => hash_address(hasher, u64::MAX - u64::from(*prefix), *address),
            Self::InsteadOf(address) => hash_address(hasher, u64::MAX - 256, *address),
        }
    }

    /// Unambiguous: what separates parts is escaped in them.
    pub(crate) fn write(&self, text: &mut String) {
        // Writing to a String never fails.
        let _ = match self {
            Self::Bytes(bytes) => {
                for &byte in bytes.iter() {
                    if byte.is_ascii_alphanumeric() || b"-._:/@+=".contains(&byte) {
                        text.push(char::from(byte));
                    } else {
                        let _ = write!(text, "%{byte:02X}");
                    }
                }
                Ok(())
            }
            Self::Network { address, prefix } if *prefix == 32 && address.is_ipv4() => write!(text, "{address}"),
            Self::Network { address, prefix } => write!(text, "{address}/{prefix}"),
            Self::InsteadOf(address) => write!(text, "~{address}"),
        };
    }
}

#[inline]
pub(crate) fn hash_bytes(hasher: &mut FoldHasher<'_>, bytes: &[u8]) {
    hasher.write_u64(bytes.len() as u64);
    hasher.write(bytes);
}

fn hash_address(hasher: &mut FoldHasher<'_>, kind: u64, address: IpAddr) {
    hasher.write_u64(kind);
    match address {
        IpAddr::V4(address) => hasher.write_u64(u64::from(address.to_bits())),
        IpAddr::V6(address) => hasher.write_u128(address.to_bits()),
    }
}

fn network(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// Several values of one name are one list (RFC 9110, 5.3).
#[inline]
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    // Most heads have no name twice.
    if headers.len() == headers.keys_len() {
        return Some(Cow::Borrowed(header_among(headers, name)?.as_bytes()));
    }
    joined(headers, name)
}

fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.as_bytes();
    let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
    let mut joined = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        joined.push(b',');
        joined.extend_from_slice(value.as_bytes());
    }
    Some(Cow::Owned(joined))
}

/// The first cookie of a name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers.get_all(COOKIE).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Strings, numbers and booleans; lists of them joined by commas.
fn claim(value: &Json) -> Option<Cow<'_, [u8]>> {
    let scalar = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(flag) => Some(flag.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    };
    Some(match value {
        Json::String(text) => Cow::Borrowed(text.as_bytes()),
        Json::Array(list) => Cow::Owned(list.iter().map(scalar).collect::<Option<Vec<_>>>()?.join(",").into_bytes()),
        other => Cow::Owned(scalar(other)?.into_bytes()),
    })
}

#[cfg(test)]
mod tests;
