//! Which requests a policy means, in the router's own terms: both see the same normalised path.

use http::Method;
use portcullis_crds::policy as api;
use portcullis_ir::{HeaderMatch, Match, PathMatch, Pattern, QueryMatch, StringMatch};

use super::field::{Invalid, header_name};
use crate::matches::normal;

pub(super) fn requests(field: &str, matches: &[api::RequestMatch]) -> Result<Vec<Match>, Invalid> {
    matches.iter().enumerate().map(|(at, one)| request(&format!("{field}[{at}]"), one)).collect()
}

fn request(field: &str, written: &api::RequestMatch) -> Result<Match, Invalid> {
    let api::RequestMatch { path: on, method: by, headers, query_params } = written;
    let headers = headers.iter().enumerate().map(|(at, api::HeaderMatch { kind, name, value })| {
        let field = format!("{field}.headers[{at}]");
        Ok(HeaderMatch { name: header_name(&format!("{field}.name"), name)?, value: text(&field, *kind, value)? })
    });
    let query = query_params.iter().enumerate().map(|(at, api::QueryMatch { kind, name, value })| {
        let field = format!("{field}.queryParams[{at}]");
        Ok(QueryMatch { name: name.as_str().into(), value: text(&field, *kind, value)? })
    });
    Ok(Match {
        path: on.as_ref().map_or_else(|| Ok(PathMatch::prefix("/")), |on| path(&format!("{field}.path"), on))?,
        method: by.map(method),
        headers: headers.collect::<Result<_, Invalid>>()?,
        query: query.collect::<Result<_, Invalid>>()?,
    })
}

pub(super) fn path(field: &str, path: &api::PathMatch) -> Result<PathMatch, Invalid> {
    let api::PathMatch { kind, value } = path;
    let literal = || normal(value).map_err(|error| Invalid::new(field, error.to_string()));
    match kind {
        api::PathMatchType::Exact => Ok(PathMatch::Exact(literal()?.into())),
        api::PathMatchType::PathPrefix => Ok(PathMatch::prefix(&literal()?)),
        api::PathMatchType::RegularExpression => Ok(PathMatch::Regex(pattern(field, value)?)),
    }
}

pub(super) fn method(method: api::RequestMethod) -> Method {
    match method {
        api::RequestMethod::Get => Method::GET,
        api::RequestMethod::Head => Method::HEAD,
        api::RequestMethod::Post => Method::POST,
        api::RequestMethod::Put => Method::PUT,
        api::RequestMethod::Delete => Method::DELETE,
        api::RequestMethod::Connect => Method::CONNECT,
        api::RequestMethod::Options => Method::OPTIONS,
        api::RequestMethod::Trace => Method::TRACE,
        api::RequestMethod::Patch => Method::PATCH,
    }
}

fn text(field: &str, kind: api::ValueMatchType, value: &str) -> Result<StringMatch, Invalid> {
    match kind {
        api::ValueMatchType::Exact => Ok(StringMatch::Exact(value.into())),
        api::ValueMatchType::RegularExpression => Ok(StringMatch::Regex(pattern(&format!("{field}.value"), value)?)),
    }
}

fn pattern(field: &str, value: &str) -> Result<Pattern, Invalid> {
    Pattern::parse(value).map_err(|error| Invalid::new(field, format!("{value:?}: {error}")))
}
