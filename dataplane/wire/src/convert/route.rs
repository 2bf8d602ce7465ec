//! Routes. What this build does not know of a route's action, filters or targets fails closed and is noted.

use std::sync::Arc;

use portcullis_ir::{
    Action, Attachment, Failure, Filter, Retry, Route, RouteHostname, RouteKey, SessionCarrier, SessionPersistence,
    Target, Timeouts, WeightedBackend,
};

use super::backend::{decode_failure, decode_target, encode_failure, encode_target};
use super::host::{decode_pattern, encode_pattern};
use super::{auth, filter, key, limit, matches, redirect};
use crate::bounds::{
    ATTACHMENTS, BACKENDS, CODES, FILTERS, HOSTNAMES, MATCHES, NAME, PATH, WEIGHT, ascending, duration, list,
    nanoseconds, required, text,
};
use crate::invalid::{At, Diagnostics, InvalidResource, Problem};
use crate::proto;

pub(super) fn encode(route: &Route) -> proto::Route {
    let Route { key: _, rule_name, created, attachments, matches, filters, action, timeouts, retry, persistence } =
        route;
    let Timeouts { request, backend_request } = timeouts;
    let action = match action {
        Action::Forward(backends) => {
            proto::route::Action::Forward(proto::Forward { backends: backends.iter().map(encode_backend).collect() })
        }
        Action::Redirect(redirect) => proto::route::Action::Redirect(redirect::encode(redirect)),
        Action::Fail(failure) => proto::route::Action::Fail(encode_failure(*failure)),
    };
    proto::Route {
        rule_name: rule_name.as_deref().unwrap_or_default().to_owned(),
        created: *created,
        attachments: attachments.iter().map(encode_attachment).collect(),
        matches: matches.iter().map(matches::encode).collect(),
        filters: filters.iter().map(filter::encode).collect(),
        action: Some(action),
        request_timeout: request.map(nanoseconds),
        backend_request_timeout: backend_request.map(nanoseconds),
        retry: retry.as_deref().map(encode_retry),
        persistence: persistence.as_deref().map(encode_persistence),
    }
}

pub(super) fn decode(
    key: RouteKey,
    route: proto::Route,
    diagnostics: &mut Diagnostics,
) -> Result<Route, InvalidResource> {
    let proto::Route {
        rule_name,
        created,
        attachments,
        matches,
        filters,
        action,
        request_timeout,
        backend_request_timeout,
        retry,
        persistence,
    } = route;
    let rule_name = decode_rule_name(rule_name)?;
    let attachments = decode_attachments(attachments, diagnostics)?;
    let timeouts = Timeouts {
        request: request_timeout.map(duration).transpose().at("request_timeout")?,
        backend_request: backend_request_timeout.map(duration).transpose().at("backend_request_timeout")?,
    };
    let matches = list(matches, MATCHES, matches::decode).at("matches")?;
    let action = decode_action(action, diagnostics)?;
    let (filters, action) = match decode_filters(filters, diagnostics)? {
        Some(filters) => (filters, action),
        None => (Vec::new(), Action::Fail(Failure::InvalidFilter)),
    };
    let retry = retry.map(decode_retry).transpose().at("retry")?;
    let persistence = persistence.map(decode_persistence).transpose().at("persistence")?;
    let (retry, persistence) = (retry.map(Box::new), persistence.map(Box::new));
    Ok(Route { key, rule_name, created, attachments, matches, filters, action, timeouts, retry, persistence })
}

pub(super) fn decode_rule_name(name: String) -> Result<Option<Box<str>>, InvalidResource> {
    if name.is_empty() { Ok(None) } else { Ok(Some(text(name, NAME).at("rule_name")?.into())) }
}

pub(super) fn decode_attachments(
    attachments: Vec<proto::Attachment>,
    diagnostics: &mut Diagnostics,
) -> Result<Vec<Attachment>, InvalidResource> {
    let mut index = 0;
    let attachments = list(attachments, ATTACHMENTS, |attachment| {
        let field = format!("attachments[{index}]");
        index += 1;
        diagnostics.at(&field, |diagnostics| decode_attachment(attachment, diagnostics))
    });
    let attachments = attachments.at("attachments")?;
    ascending(&attachments, |attachment| attachment.listener.clone()).at("attachments")?;
    Ok(attachments)
}

/// # Errors
/// A weight beyond what Gateway API allows.
pub(super) fn decode_weight(weight: u32) -> Result<u32, InvalidResource> {
    if weight > WEIGHT {
        let problem = Problem::OutOfRange { value: weight.into(), expected: "at most 1000000" };
        return Err(InvalidResource::new(problem)).at("weight");
    }
    Ok(weight)
}

fn encode_retry(retry: &Retry) -> proto::Retry {
    let Retry { attempts, codes, backoff } = retry;
    proto::Retry {
        attempts: *attempts,
        codes: codes.iter().map(|code| u32::from(*code)).collect(),
        backoff: backoff.map(nanoseconds),
    }
}

fn decode_retry(retry: proto::Retry) -> Result<Retry, InvalidResource> {
    let proto::Retry { attempts, codes, backoff } = retry;
    let codes = list(codes, CODES, |code| {
        let known = u16::try_from(code).ok().filter(|code| (400..600).contains(code));
        known.ok_or_else(|| Problem::OutOfRange { value: code.into(), expected: "400 to 599" }.into())
    });
    let codes = codes.at("codes")?;
    ascending(&codes, |code| *code).at("codes")?;
    Ok(Retry { attempts, codes, backoff: backoff.map(duration).transpose().at("backoff")? })
}

fn encode_persistence(persistence: &SessionPersistence) -> proto::SessionPersistence {
    let SessionPersistence { name, carrier, path, absolute_timeout, idle_timeout } = persistence;
    let carrier = match carrier {
        SessionCarrier::SessionCookie => proto::SessionCarrier::SessionCookie,
        SessionCarrier::PermanentCookie => proto::SessionCarrier::PermanentCookie,
        SessionCarrier::Header => proto::SessionCarrier::Header,
    };
    proto::SessionPersistence {
        name: name.to_string(),
        carrier: carrier.into(),
        absolute_timeout: absolute_timeout.map(nanoseconds),
        idle_timeout: idle_timeout.map(nanoseconds),
        path: path.as_deref().map(str::to_owned),
    }
}

fn decode_persistence(persistence: proto::SessionPersistence) -> Result<SessionPersistence, InvalidResource> {
    let proto::SessionPersistence { name, carrier, absolute_timeout, idle_timeout, path } = persistence;
    let carrier = match proto::SessionCarrier::try_from(carrier) {
        Ok(proto::SessionCarrier::SessionCookie) => SessionCarrier::SessionCookie,
        Ok(proto::SessionCarrier::PermanentCookie) => SessionCarrier::PermanentCookie,
        Ok(proto::SessionCarrier::Header) => SessionCarrier::Header,
        Ok(proto::SessionCarrier::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("carrier"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("carrier"),
    };
    // A token (RFC 9110, 5.6.2), as both cookies and headers ask of a name.
    let name = text(name, NAME).at("name")?;
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(InvalidResource::new(Problem::Text("is no name of a header or a cookie"))).at("name");
    }
    let path = path.map(|path| text(path, PATH)).transpose().at("path")?;
    if path.as_deref().is_some_and(|path| !path.starts_with('/') || path.bytes().any(|byte| byte == b';')) {
        return Err(InvalidResource::new(Problem::Text("is no path of a cookie"))).at("path");
    }
    Ok(SessionPersistence {
        name: name.into(),
        carrier,
        path: path.map(Into::into),
        absolute_timeout: absolute_timeout.map(duration).transpose().at("absolute_timeout")?,
        idle_timeout: idle_timeout.map(duration).transpose().at("idle_timeout")?,
    })
}

pub(super) fn encode_attachment(attachment: &Attachment) -> proto::Attachment {
    let Attachment { listener, hostnames, limits, auth } = attachment;
    let hostname = |RouteHostname { effective, written }: &RouteHostname| proto::RouteHostname {
        effective: encode_pattern(effective),
        written: encode_pattern(written),
    };
    proto::Attachment {
        listener: Some(key::listener(listener)),
        hostnames: hostnames.iter().map(hostname).collect(),
        limits: limits.as_deref().map(limit::encode),
        auth: auth.as_deref().map(auth::encode),
    }
}

fn decode_attachment(
    attachment: proto::Attachment,
    diagnostics: &mut Diagnostics,
) -> Result<Attachment, InvalidResource> {
    let proto::Attachment { listener, hostnames, limits, auth } = attachment;
    let listener = required(listener).and_then(key::decode_listener).at("listener")?;
    let hostname = |proto::RouteHostname { effective, written }| {
        Ok(RouteHostname {
            effective: decode_pattern(effective).at("effective")?,
            written: decode_pattern(written).at("written")?,
        })
    };
    Ok(Attachment {
        limits: diagnostics.at("limits", |diagnostics| limit::decode(limits, diagnostics)).at("limits")?,
        auth: auth.map(|auth| Arc::new(auth::decode(auth, &listener, diagnostics))),
        listener,
        hostnames: list(hostnames, HOSTNAMES, hostname).at("hostnames")?,
    })
}

fn encode_backend(backend: &WeightedBackend) -> proto::WeightedBackend {
    let WeightedBackend { target, weight, filters } = backend;
    proto::WeightedBackend {
        target: Some(encode_target(target)),
        weight: *weight,
        filters: filters.iter().map(filter::encode).collect(),
    }
}

fn decode_backend(
    backend: proto::WeightedBackend,
    diagnostics: &mut Diagnostics,
) -> Result<WeightedBackend, InvalidResource> {
    let proto::WeightedBackend { target, weight, filters } = backend;
    let weight = decode_weight(weight)?;
    let target = diagnostics.instead(decode_target(target).at("target"), || Target::Invalid(Failure::InvalidBackend));
    Ok(match decode_filters(filters, diagnostics)? {
        Some(filters) => WeightedBackend { target, weight, filters },
        None => WeightedBackend { target: Target::Invalid(Failure::InvalidFilter), weight, filters: Vec::new() },
    })
}

fn decode_action(
    action: Option<proto::route::Action>,
    diagnostics: &mut Diagnostics,
) -> Result<Action, InvalidResource> {
    let broken = || Action::Fail(Failure::NoBackends);
    Ok(match action {
        Some(proto::route::Action::Forward(proto::Forward { backends })) => {
            let mut index = 0;
            let backends = list(backends, BACKENDS, |backend| {
                let field = format!("backends[{index}]");
                index += 1;
                diagnostics.at(&field, |diagnostics| decode_backend(backend, diagnostics))
            });
            Action::Forward(backends.at("backends")?)
        }
        Some(proto::route::Action::Redirect(redirect)) => {
            let redirect =
                redirect::decode(redirect).at("redirect").map(|redirect| Action::Redirect(Box::new(redirect)));
            diagnostics.instead(redirect, || Action::Fail(Failure::InvalidFilter))
        }
        Some(proto::route::Action::Fail(failure)) => {
            diagnostics.instead(decode_failure(failure).at("fail").map(Action::Fail), broken)
        }
        None => diagnostics.instead(Err(InvalidResource::new(Problem::Unsupported)).at("action"), broken),
    })
}

/// None: one of the filters cannot be honoured, so whatever they stand on must not serve without them.
fn decode_filters(
    filters: Vec<proto::Filter>,
    diagnostics: &mut Diagnostics,
) -> Result<Option<Vec<Filter>>, InvalidResource> {
    let count = filters.len();
    if !FILTERS.contains(&count) {
        let problem = Problem::Count { count, min: *FILTERS.start(), max: *FILTERS.end() };
        return Err(InvalidResource::new(problem)).at("filters");
    }
    let filters = list(filters, FILTERS, filter::decode).at("filters").map(Some);
    Ok(diagnostics.instead(filters, || None))
}
