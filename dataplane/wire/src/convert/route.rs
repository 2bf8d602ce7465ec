//! Routes. What this build does not know of a route's action, filters or targets fails closed and is noted.

use portcullis_ir::{
    Action, Attachment, Failure, Filter, Route, RouteHostname, RouteKey, Target, Timeouts, WeightedBackend,
};

use super::backend::{decode_failure, decode_target, encode_failure, encode_target};
use super::host::{decode_pattern, encode_pattern};
use super::{filter, key, matches, redirect};
use crate::bounds::{
    ATTACHMENTS, BACKENDS, FILTERS, HOSTNAMES, MATCHES, NAME, WEIGHT, ascending, duration, list, nanoseconds, required,
    text,
};
use crate::invalid::{At, Diagnostics, InvalidResource, Problem};
use crate::proto;

pub(super) fn encode(route: &Route) -> proto::Route {
    let Route { key: _, rule_name, created, attachments, matches, filters, action, timeouts } = route;
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
    } = route;
    let rule_name = if rule_name.is_empty() { None } else { Some(text(rule_name, NAME).at("rule_name")?.into()) };
    let attachments = list(attachments, ATTACHMENTS, decode_attachment).at("attachments")?;
    ascending(&attachments, |attachment| attachment.listener.clone()).at("attachments")?;
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
    Ok(Route { key, rule_name, created, attachments, matches, filters, action, timeouts })
}

fn encode_attachment(attachment: &Attachment) -> proto::Attachment {
    let Attachment { listener, hostnames } = attachment;
    let hostname = |RouteHostname { effective, written }: &RouteHostname| proto::RouteHostname {
        effective: encode_pattern(effective),
        written: encode_pattern(written),
    };
    proto::Attachment { listener: Some(key::listener(listener)), hostnames: hostnames.iter().map(hostname).collect() }
}

fn decode_attachment(attachment: proto::Attachment) -> Result<Attachment, InvalidResource> {
    let proto::Attachment { listener, hostnames } = attachment;
    let hostname = |proto::RouteHostname { effective, written }| {
        Ok(RouteHostname {
            effective: decode_pattern(effective).at("effective")?,
            written: decode_pattern(written).at("written")?,
        })
    };
    Ok(Attachment {
        listener: required(listener).and_then(key::decode_listener).at("listener")?,
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
    if weight > WEIGHT {
        let problem = Problem::OutOfRange { value: weight.into(), expected: "at most 1000000" };
        return Err(InvalidResource::new(problem)).at("weight");
    }
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
            let redirect = redirect::decode(redirect).at("redirect").map(Action::Redirect);
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
