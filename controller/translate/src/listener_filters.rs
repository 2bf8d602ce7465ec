//! What a listener has asked about every request before a rule is looked for (`Listener.filters`, GEP-5224).
//!
//! "If a filter is unsupported by the implementation, the listener MUST be rejected via status … rather than the filter
//! silently omitted."

use gateway_api::experimental::httproutes::HttpRouteRulesFilters;
use portcullis_ir::{BackendKey, ExternalAuth, ExternalAuthProtocol, Failure, ListenerKey, Target};
use serde_json::Value;

use crate::backend::{InvalidReference, Resolver};
use crate::condition::{ConditionType, Reason, Verdict};
use crate::external_auth::{self, InvalidExternalAuth, TIMEOUT};
use crate::filter_view::{FilterKind, FilterView};
use crate::lenient;
use crate::world::{Reader, World};

/// Most filters of a listener (`ListenerFilters.requests`).
const MAX_FILTERS: usize = 16;

/// Why a listener with filters is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidListenerFilter {
    #[error("filters do not go with protocol {0}; remove them, or use HTTP or HTTPS")]
    Protocol(String),
    #[error("filters.{0} is not supported; remove it")]
    Phase(String),
    #[error("filters.requests[{at}]: type {kind:?} is not supported; use ExternalAuth, or remove the filter")]
    Type { at: usize, kind: String },
    #[error("filters.requests[{at}]: {why}")]
    Unreadable { at: usize, why: String },
    #[error("filters.requests[{at}]: {error}")]
    ExternalAuth { at: usize, error: InvalidExternalAuth },
    #[error(
        "filters.requests[{at}]: {header} cannot be set, for it tells which listener serves the request; remove it"
    )]
    Host { at: usize, header: String },
    #[error("more than {MAX_FILTERS} filters; keep those that are needed")]
    TooMany,
}

impl InvalidListenerFilter {
    /// The reason that it gives `Accepted`.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Protocol(_) | Self::Phase(_) | Self::Type { .. } => Reason::UnsupportedValue,
            _ => Reason::InvalidListenerFilter,
        }
    }
}

/// What a listener asks, before references are resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ListenerFilters(Vec<HttpRouteRulesFilters>);

/// What they come to.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) external: Vec<ExternalAuth>,
    pub(crate) backends: Vec<BackendKey>,
    /// What `ResolvedRefs` says of it, if it is not well.
    pub(crate) problem: Option<Verdict>,
}

/// What stands for filters that cannot be honoured: it lets nobody pass.
pub(crate) fn closed() -> ExternalAuth {
    let (allowed_request_headers, allowed_response_headers) = (Vec::new(), Vec::new());
    ExternalAuth {
        protocol: ExternalAuthProtocol::Http {
            path_prefix: "".into(),
            allowed_request_headers,
            allowed_response_headers,
        },
        backend: Target::Invalid(Failure::InvalidFilter),
        max_body_bytes: 0,
        timeout: TIMEOUT,
        fail_open: false,
        cache: None,
    }
}

impl ListenerFilters {
    /// `written` is the field as [`lenient`] has kept it.
    pub(crate) fn parse(written: Option<&str>, protocol: &str) -> Result<Self, InvalidListenerFilter> {
        let Some(written) = written else { return Ok(Self::default()) };
        if !matches!(protocol, "HTTP" | "HTTPS") {
            return Err(InvalidListenerFilter::Protocol(protocol.to_owned()));
        }
        let unreadable =
            |at, error: serde_json::Error| InvalidListenerFilter::Unreadable { at, why: error.to_string() };
        let lists: Value = serde_json::from_str(written).map_err(|error| unreadable(0, error))?;
        let lists = lists.as_object().cloned().unwrap_or_default();
        if let Some((phase, _)) = lists.iter().find(|(phase, list)| *phase != "requests" && lenient::asks(list)) {
            return Err(InvalidListenerFilter::Phase(phase.clone()));
        }
        let requests = lists.get("requests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if requests.len() > MAX_FILTERS {
            return Err(InvalidListenerFilter::TooMany);
        }
        let mut filters = Vec::with_capacity(requests.len());
        for (at, filter) in requests.iter().enumerate() {
            let kind = filter["type"].as_str().unwrap_or_default();
            if kind != FilterKind::ExternalAuth.as_str() {
                return Err(InvalidListenerFilter::Type { at, kind: kind.to_owned() });
            }
            let filter: HttpRouteRulesFilters =
                serde_json::from_value(filter.clone()).map_err(|error| unreadable(at, error))?;
            check(at, &filter)?;
            filters.push(filter);
        }
        Ok(Self(filters))
    }

    /// References of a ListenerSet are its own: a grant to the Gateway does not count.
    pub(crate) fn resolve(&self, world: &World<'_>, listener: &ListenerKey) -> Resolved {
        if self.0.is_empty() {
            return Resolved::default();
        }
        let reader = Reader::new(world);
        let mut resolver = match &listener.set {
            None => Resolver::of_listener(&reader, "Gateway", &listener.gateway.namespace),
            Some(set) => Resolver::of_listener(&reader, "ListenerSet", &set.namespace),
        };
        let mut problem: Option<(Reason, String)> = None;
        let mut external = Vec::with_capacity(self.0.len());
        for (at, filter) in self.0.iter().enumerate() {
            let Some(view) = FilterView::from(filter).external_auth else { continue };
            let backend = resolver.resolve(view.backend).map_or_else(
                |error| {
                    problem.get_or_insert((reason(&error), format!("filters.requests[{at}] externalAuth: {error}")));
                    Target::Invalid(Failure::InvalidBackend)
                },
                Target::Backend,
            );
            // Sound when it was parsed.
            external.push(external_auth::translate(&view, backend).unwrap_or_else(|_| closed()));
        }
        let problem = problem.map(|(reason, message)| Verdict::no(ConditionType::ResolvedRefs, reason, message));
        Resolved { external, backends: resolver.finish().0, problem }
    }
}

/// All that can be told without resolving anything.
fn check(at: usize, filter: &HttpRouteRulesFilters) -> Result<(), InvalidListenerFilter> {
    let why = "externalAuth is missing; give it".to_owned();
    let view = FilterView::from(filter);
    let view = view.external_auth.as_ref().ok_or(InvalidListenerFilter::Unreadable { at, why })?;
    let nobody = Target::Invalid(Failure::InvalidBackend);
    let sound = external_auth::translate(view, nobody);
    let sound = sound.map_err(|error| InvalidListenerFilter::ExternalAuth { at, error })?;
    if let ExternalAuthProtocol::Http { allowed_response_headers, .. } = &sound.protocol
        && let Some(header) = allowed_response_headers.iter().find(|name| **name == http::header::HOST)
    {
        return Err(InvalidListenerFilter::Host { at, header: header.to_string() });
    }
    Ok(())
}

fn reason(error: &InvalidReference) -> Reason {
    match error {
        InvalidReference::NotPermitted { .. } => Reason::RefNotPermitted,
        _ => Reason::InvalidListenerFilterRef,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn parse(filters: &Value, protocol: &str) -> Result<ListenerFilters, InvalidListenerFilter> {
        ListenerFilters::parse(Some(&filters.to_string()), protocol)
    }

    #[test]
    fn what_cannot_be_honoured_is_told_apart_from_what_is_wrong() {
        let auth = |http: Value| json!({ "type": "ExternalAuth", "externalAuth": { "protocol": "HTTP", "backendRef": { "name": "a" }, "http": http } });
        let requests = |filters: &[Value]| json!({ "requests": filters });
        let good = requests(&[auth(json!({})), auth(json!({ "path": "/check" }))]);
        assert_eq!(parse(&good, "HTTPS").unwrap().0.len(), 2);
        assert_eq!(ListenerFilters::parse(None, "TCP").unwrap(), ListenerFilters::default());
        let unsupported = [
            (good, "TLS"),
            (json!({ "connection": [{ "type": "Deny" }] }), "HTTP"),
            (requests(&[auth(json!({})), json!({ "type": "ExtensionRef", "extensionRef": {} })]), "HTTP"),
        ];
        for (filters, protocol) in unsupported {
            assert_eq!(parse(&filters, protocol).unwrap_err().reason(), Reason::UnsupportedValue, "{filters}");
        }
        for filters in [
            requests(&[json!({ "type": "ExternalAuth" })]),
            requests(&[json!({ "type": "ExternalAuth", "externalAuth": { "protocol": "MAGIC" } })]),
            requests(&[auth(json!({ "path": "no-slash" }))]),
            requests(&[auth(json!({ "allowedResponseHeaders": ["x-user", "Host"] }))]),
            requests(&vec![auth(json!({})); 17]),
        ] {
            let error = parse(&filters, "HTTP").unwrap_err();
            assert_eq!(error.reason(), Reason::InvalidListenerFilter, "{filters}: {error}");
        }
    }
}
