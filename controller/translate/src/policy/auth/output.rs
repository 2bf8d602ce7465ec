//! What backends learn, and what those who are turned away are answered.

use http::{HeaderName, HeaderValue};
use portcullis_crds::auth as api;
use portcullis_ir::{DenyResponse, IdentityHeader, IdentityValue, Xfcc};

use super::{AuthKey, AuthValue, Parts};
use crate::policy::field::{Invalid, at_most, expression, header_name, number_within};

/// Headers that belong to the protocol: whoever set one would break the request.
const OF_PROTOCOL: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "upgrade",
    "trailer",
    "keep-alive",
    "proxy-connection",
];

pub(super) fn identity(written: &api::Identity, parts: &mut Parts) -> Result<(), Invalid> {
    let api::Identity { headers, forward_credential, xfcc } = written;
    at_most("spec.identity.headers", headers, 16)?;
    for (at, written) in headers.iter().enumerate() {
        let field = format!("spec.identity.headers[{at}]");
        let header = identity_header(&field, written)?;
        let key = AuthKey::Header(header.name.as_str().into());
        if parts.insert(key, AuthValue::Header(header)).is_some() {
            return Err(Invalid::new(format!("{field}.name"), format!("{} stands twice; remove one", written.name)));
        }
    }
    if let Some(forward) = forward_credential {
        let keep = *forward == api::CredentialForwarding::Keep;
        parts.insert(AuthKey::ForwardCredential, AuthValue::KeepCredential(keep));
    }
    if let Some(mode) = xfcc {
        let mode = match mode {
            api::XfccMode::SanitizeSet => Xfcc::SanitizeSet,
            api::XfccMode::Sanitize => Xfcc::Sanitize,
            api::XfccMode::Forward => Xfcc::Forward,
        };
        parts.insert(AuthKey::Xfcc, AuthValue::Xfcc(mode));
    }
    Ok(())
}

fn identity_header(field: &str, written: &api::IdentityHeader) -> Result<IdentityHeader, Invalid> {
    let api::IdentityHeader { name, claim, expression: source } = written;
    let name: HeaderName = header_name(&format!("{field}.name"), name)?;
    if OF_PROTOCOL.contains(&name.as_str()) {
        return Err(Invalid::new(format!("{field}.name"), format!("{name} belongs to the protocol; choose another")));
    }
    let value = match (claim, source) {
        (Some(claim), None) => IdentityValue::Claim(claim.as_str().into()),
        (None, Some(source)) => IdentityValue::Expression(expression(&format!("{field}.expression"), source)?),
        _ => return Err(Invalid::new(field, "needs exactly one of claim and expression; give one")),
    };
    Ok(IdentityHeader { name, value })
}

pub(super) fn deny(written: &api::Deny, parts: &mut Parts) -> Result<(), Invalid> {
    let api::Deny { unauthenticated, unauthorized } = written;
    for (key, name, response) in [
        (AuthKey::Unauthenticated, "unauthenticated", unauthenticated),
        (AuthKey::Unauthorized, "unauthorized", unauthorized),
    ] {
        if let Some(written) = response {
            parts.insert(key, AuthValue::Response(answer(&format!("spec.deny.{name}"), written)?));
        }
    }
    Ok(())
}

fn answer(field: &str, written: &api::DenyResponse) -> Result<DenyResponse, Invalid> {
    let api::DenyResponse { status, headers, body, redirect } = written;
    let status: Option<u16> =
        status.map(|status| number_within(&format!("{field}.status"), status.into(), 302, 599)).transpose()?;
    let fits = status.is_none_or(|status| match redirect {
        Some(_) => [302, 303, 307].contains(&status),
        None => status >= 400,
    });
    if !fits {
        let why = "must be 302, 303 or 307 with redirect, and 400 to 599 without; change one";
        return Err(Invalid::new(format!("{field}.status"), why));
    }
    at_most(&format!("{field}.headers"), headers, 16)?;
    let header = |(at, api::DenyHeader { name, value }): (usize, &api::DenyHeader)| {
        let field = format!("{field}.headers[{at}]");
        header_name(&format!("{field}.name"), name)?;
        if value.parse::<HeaderValue>().is_err() {
            return Err(Invalid::new(format!("{field}.value"), "is no value of a header; use printable characters"));
        }
        Ok((name.as_str().into(), value.as_str().into()))
    };
    if redirect.as_ref().is_some_and(|to| to.parse::<HeaderValue>().is_err()) {
        return Err(Invalid::new(format!("{field}.redirect"), "is no address; give a path or an absolute address"));
    }
    Ok(DenyResponse {
        status,
        headers: headers.iter().enumerate().map(header).collect::<Result<_, Invalid>>()?,
        body: body.as_deref().map(Into::into),
        redirect: redirect.as_deref().map(Into::into),
    })
}
