//! What backends and clients learn.

use http::HeaderValue;
use portcullis_ir::{DenyResponse, Expression, IdentityHeader, IdentityOutput, IdentityValue, Xfcc};

use crate::bounds::{EDITS, LABEL, POLICY_TEXT, VALUE, ascending, list, text};
use crate::convert::matches::decode_header_name;
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::identity_header::Value;

pub(super) fn encode_header(header: &IdentityHeader) -> proto::IdentityHeader {
    let IdentityHeader { name, value } = header;
    let value = match value {
        IdentityValue::Claim(claim) => Value::Claim(claim.to_string()),
        IdentityValue::Expression(Expression(source)) => Value::Expression(source.to_string()),
    };
    proto::IdentityHeader { name: name.to_string(), value: Some(value) }
}

pub(super) fn encode_xfcc(xfcc: Xfcc) -> i32 {
    let xfcc = match xfcc {
        Xfcc::SanitizeSet => proto::Xfcc::SanitizeSet,
        Xfcc::Sanitize => proto::Xfcc::Sanitize,
        Xfcc::Forward => proto::Xfcc::Forward,
    };
    xfcc.into()
}

pub(super) fn decode(
    headers: Vec<proto::IdentityHeader>,
    keep_credential: bool,
    xfcc: i32,
) -> Result<IdentityOutput, InvalidResource> {
    let headers = list(headers, EDITS, decode_header).at("identity_headers")?;
    ascending(&headers, |header| header.name.as_str().to_owned()).at("identity_headers")?;
    let xfcc = match proto::Xfcc::try_from(xfcc) {
        Ok(proto::Xfcc::SanitizeSet) => Xfcc::SanitizeSet,
        Ok(proto::Xfcc::Sanitize) => Xfcc::Sanitize,
        Ok(proto::Xfcc::Forward) => Xfcc::Forward,
        Ok(proto::Xfcc::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("xfcc"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("xfcc"),
    };
    Ok(IdentityOutput { headers, keep_credential, xfcc })
}

fn decode_header(header: proto::IdentityHeader) -> Result<IdentityHeader, InvalidResource> {
    let proto::IdentityHeader { name, value } = header;
    let value = match value.ok_or_else(|| Problem::Unsupported.into()).at("value")? {
        Value::Claim(claim) => IdentityValue::Claim(text(claim, LABEL).at("claim")?.into()),
        Value::Expression(source) => {
            IdentityValue::Expression(Expression(text(source, POLICY_TEXT).at("expression")?.into()))
        }
    };
    Ok(IdentityHeader { name: decode_header_name(&name).at("name")?, value })
}

pub(super) fn encode_response(response: &DenyResponse) -> proto::DenyResponse {
    let DenyResponse { status, headers, body, redirect } = response;
    proto::DenyResponse {
        status: status.map(u32::from),
        headers: (headers.iter())
            .map(|(name, value)| proto::DenyHeader { name: name.to_string(), value: value.to_string() })
            .collect(),
        body: body.as_ref().map(ToString::to_string),
        redirect: redirect.as_ref().map(ToString::to_string),
    }
}

pub(super) fn decode_response(response: proto::DenyResponse) -> Result<DenyResponse, InvalidResource> {
    let proto::DenyResponse { status, headers, body, redirect } = response;
    let decode_status = |status: u32| {
        let known = u16::try_from(status).ok().filter(|status| matches!(status, 302 | 303 | 307 | 400..=599));
        let problem = Problem::OutOfRange { value: status.into(), expected: "302, 303, 307 or 400 to 599" };
        known.ok_or_else(|| InvalidResource::new(problem))
    };
    Ok(DenyResponse {
        status: status.map(decode_status).transpose().at("status")?,
        headers: list(headers, EDITS, decode_deny_header).at("headers")?,
        body: body.map(|body| text(body, POLICY_TEXT)).transpose().at("body")?.map(Into::into),
        redirect: redirect.map(header_value).transpose().at("redirect")?,
    })
}

fn decode_deny_header(header: proto::DenyHeader) -> Result<(Box<str>, Box<str>), InvalidResource> {
    let proto::DenyHeader { name, value } = header;
    decode_header_name(&name).at("name")?;
    Ok((name.into(), header_value(value).at("value")?))
}

fn header_value(value: String) -> Result<Box<str>, InvalidResource> {
    let value = text(value, VALUE)?;
    match HeaderValue::from_str(&value) {
        Ok(_) => Ok(value.into()),
        Err(_) => Err(Problem::Text("holds a byte that no header value may have; use visible ASCII").into()),
    }
}
