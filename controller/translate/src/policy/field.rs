//! What is wrong with a policy, by its field; and what many fields have in common.

use std::fmt;
use std::time::Duration;

use http::HeaderName;
use portcullis_crds::policy as api;
use portcullis_expressions::Program;
use portcullis_ir::{Expression, KeyPart};

use crate::duration;

/// Why a policy cannot be honoured: the field, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    field: String,
    why: String,
}

impl Invalid {
    pub(crate) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.why)
    }
}

impl std::error::Error for Invalid {}

pub(super) fn expression(field: &str, source: &str) -> Result<Expression, Invalid> {
    Program::compile(source).map_err(|error| Invalid::new(field, error.to_string()))?;
    Ok(Expression(source.into()))
}

pub(super) fn expressions(field: &str, sources: &[String]) -> Result<Vec<Expression>, Invalid> {
    sources.iter().enumerate().map(|(at, source)| expression(&format!("{field}[{at}]"), source)).collect()
}

pub(super) fn header_name(field: &str, name: &str) -> Result<HeaderName, Invalid> {
    let wrong = |_| Invalid::new(field, format!("{name:?} is no header name; use letters, digits and `-`"));
    HeaderName::from_bytes(name.as_bytes()).map_err(wrong)
}

pub(super) fn header_names(field: &str, names: &[String]) -> Result<Vec<HeaderName>, Invalid> {
    let names = names.iter().enumerate().map(|(at, name)| header_name(&format!("{field}[{at}]"), name));
    names.collect()
}

/// A duration between two bounds, or `default` where nothing is said.
pub(super) fn duration_within(
    field: &str,
    written: Option<&str>,
    default: Duration,
    (least, most): (Duration, Duration),
) -> Result<Duration, Invalid> {
    let Some(written) = written else { return Ok(default) };
    let parsed = duration::parse(written).ok_or_else(|| {
        Invalid::new(field, format!("{written:?} is no Gateway API duration; write it like 500ms or 1m30s"))
    })?;
    if (least..=most).contains(&parsed) {
        return Ok(parsed);
    }
    Err(Invalid::new(field, format!("is {written}; give {least:?} to {most:?}")))
}

pub(super) fn number_within<N>(field: &str, written: i64, least: i64, most: i64) -> Result<N, Invalid>
where
    N: TryFrom<i64>,
{
    let within = Some(written).filter(|written| (least..=most).contains(written));
    let number = within.and_then(|written| N::try_from(written).ok());
    number.ok_or_else(|| Invalid::new(field, format!("is {written}; give {least} to {most}")))
}

pub(super) fn at_most<T>(field: &str, list: &[T], most: usize) -> Result<(), Invalid> {
    if list.len() > most {
        return Err(Invalid::new(field, format!("has {} entries; give at most {most}", list.len())));
    }
    Ok(())
}

/// The value of a union's member, which `type` asks for.
fn member<'a>(field: &str, name: &str, value: Option<&'a String>) -> Result<&'a str, Invalid> {
    let value = value.map(String::as_str).filter(|value| !value.is_empty());
    value.ok_or_else(|| Invalid::new(format!("{field}.{name}"), "is missing; type needs it"))
}

pub(super) fn key_part(field: &str, part: &api::KeyPart) -> Result<KeyPart, Invalid> {
    let api::KeyPart { kind, client_ip, header, cookie, query, claim, expression: source } = part;
    Ok(match kind {
        api::KeyPartType::ClientIp => {
            let api::ClientIpKey { ipv4_prefix, ipv6_prefix } = client_ip.clone().unwrap_or_default();
            KeyPart::ClientIp {
                ipv4_prefix: number_within(&format!("{field}.clientIP.ipv4Prefix"), ipv4_prefix.into(), 0, 32)?,
                ipv6_prefix: number_within(&format!("{field}.clientIP.ipv6Prefix"), ipv6_prefix.into(), 0, 128)?,
            }
        }
        api::KeyPartType::Header => {
            KeyPart::Header(header_name(&format!("{field}.header"), member(field, "header", header.as_ref())?)?)
        }
        api::KeyPartType::Cookie => KeyPart::Cookie(member(field, "cookie", cookie.as_ref())?.into()),
        api::KeyPartType::Query => KeyPart::Query(member(field, "query", query.as_ref())?.into()),
        api::KeyPartType::Claim => KeyPart::Claim(member(field, "claim", claim.as_ref())?.into()),
        api::KeyPartType::ApiKey => KeyPart::ApiKey,
        api::KeyPartType::Expression => {
            let source = member(field, "expression", source.as_ref())?;
            KeyPart::Expression(expression(&format!("{field}.expression"), source)?)
        }
    })
}

pub(super) fn key_parts(field: &str, parts: &[api::KeyPart]) -> Result<Vec<KeyPart>, Invalid> {
    parts.iter().enumerate().map(|(at, part)| key_part(&format!("{field}[{at}]"), part)).collect()
}
