//! What a rule asks of a request: `HTTPRouteMatch` to [`ir::Match`]. A `GRPCRouteMatch` is translated by [`crate::grpc`].

use gateway_api::experimental::httproutes::{
    HttpRouteRulesMatches, HttpRouteRulesMatchesHeaders, HttpRouteRulesMatchesHeadersType, HttpRouteRulesMatchesMethod,
    HttpRouteRulesMatchesPath, HttpRouteRulesMatchesPathType, HttpRouteRulesMatchesQueryParams,
    HttpRouteRulesMatchesQueryParamsType,
};
use http::{HeaderName, Method};
use portcullis_ir::{
    HeaderMatch, InvalidPath, InvalidPattern, Match, PathMatch, PathView, Pattern, QueryMatch, StringMatch,
};

/// Longest path value (`HTTPPathMatch.value`).
const MAX_PATH: usize = 1024;
/// Longest header value (`HTTPHeaderMatch.value`) and query value (`HTTPQueryParamMatch.value`).
const MAX_VALUE: usize = 4096;
/// Longest query parameter name (`HTTPHeaderName`).
const MAX_NAME: usize = 256;
/// Most headers or query parameters of a match.
const MAX_PREDICATES: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMatch {
    #[error("path {value:?} {problem}")]
    Path { value: String, problem: &'static str },
    #[error("path {value:?} cannot match: {error}; write it as requests carry it")]
    UnreachablePath { value: String, error: InvalidPath },
    #[error("path {value:?}: {error}")]
    PathPattern { value: String, error: InvalidPattern },
    #[error("header name {0:?} is no header name; use letters, digits and `-`")]
    HeaderName(String),
    #[error("header {name}: {error}")]
    HeaderPattern { name: String, error: InvalidPattern },
    #[error("query parameter {name:?}: {error}")]
    QueryPattern { name: String, error: InvalidPattern },
    #[error("a query parameter name is empty or longer than {MAX_NAME} bytes; shorten it")]
    QueryName,
    #[error("value of {name:?} is longer than {MAX_VALUE} bytes; shorten it")]
    LongValue { name: String },
    #[error("more than {MAX_PREDICATES} headers or query parameters; split the rule")]
    TooMany,
    #[error("method gives neither service nor method; give one, or leave method out to match every call")]
    EmptyMethod,
    #[error(
        "method.{field} {value:?} is no name that a call can carry; use letters, digits and `_`, in a service also `.`"
    )]
    GrpcName { field: &'static str, value: String },
    #[error("method.{field} {value:?}: {error}")]
    GrpcPattern { field: &'static str, value: String, error: InvalidPattern },
}

pub(crate) fn translate(matches: &HttpRouteRulesMatches) -> Result<Match, InvalidMatch> {
    let HttpRouteRulesMatches { headers, method, path, query_params } = matches;
    let query = query_params.as_deref().unwrap_or_default();
    if query.len() > MAX_PREDICATES {
        return Err(InvalidMatch::TooMany);
    }
    let headers = headers.iter().flatten().map(|HttpRouteRulesMatchesHeaders { name, r#type, value }| HeaderView {
        name,
        regex: *r#type == Some(HttpRouteRulesMatchesHeadersType::RegularExpression),
        value,
    });
    Ok(Match {
        path: path.as_ref().map_or_else(|| Ok(PathMatch::prefix("/")), translate_path)?,
        method: method.as_ref().map(translate_method),
        headers: translate_headers(headers)?,
        query: translate_query(query)?,
    })
}

fn translate_path(path: &HttpRouteRulesMatchesPath) -> Result<PathMatch, InvalidMatch> {
    let HttpRouteRulesMatchesPath { r#type, value } = path;
    let value = value.as_deref().unwrap_or("/");
    match r#type.as_ref().unwrap_or(&HttpRouteRulesMatchesPathType::PathPrefix) {
        HttpRouteRulesMatchesPathType::Exact => Ok(PathMatch::Exact(normal(value)?.into())),
        HttpRouteRulesMatchesPathType::PathPrefix => Ok(PathMatch::prefix(&normal(value)?)),
        HttpRouteRulesMatchesPathType::RegularExpression => Pattern::parse(value)
            .map(PathMatch::Regex)
            .map_err(|error| InvalidMatch::PathPattern { value: value.to_owned(), error }),
    }
}

/// A path value in the form that requests' paths are matched in, after the checks of the CRD's CEL rules (which files
/// never met).
pub(crate) fn normal(value: &str) -> Result<String, InvalidMatch> {
    let refuse = |problem| Err(InvalidMatch::Path { value: value.to_owned(), problem });
    if !value.starts_with('/') {
        return refuse("does not start with `/`; add it");
    }
    if value.len() > MAX_PATH {
        return refuse("is longer than 1024 bytes; shorten it");
    }
    if value.contains("//") {
        return refuse("contains `//`; use one slash");
    }
    if value.contains("/./") || value.contains("/../") || value.ends_with("/.") || value.ends_with("/..") {
        return refuse("contains a dot segment; write the path that it stands for");
    }
    if value.contains("%2f") || value.contains("%2F") {
        return refuse("contains an encoded slash; use a regular expression");
    }
    if value.contains(['#', '?']) {
        return refuse("contains `#` or `?`, which end a path; use queryParams for the query");
    }
    match PathView::parse(value) {
        Ok(view) => Ok(view.matched.into_owned()),
        Err(error) => Err(InvalidMatch::UnreachablePath { value: value.to_owned(), error }),
    }
}

fn translate_method(method: &HttpRouteRulesMatchesMethod) -> Method {
    match method {
        HttpRouteRulesMatchesMethod::Get => Method::GET,
        HttpRouteRulesMatchesMethod::Head => Method::HEAD,
        HttpRouteRulesMatchesMethod::Post => Method::POST,
        HttpRouteRulesMatchesMethod::Put => Method::PUT,
        HttpRouteRulesMatchesMethod::Delete => Method::DELETE,
        HttpRouteRulesMatchesMethod::Connect => Method::CONNECT,
        HttpRouteRulesMatchesMethod::Options => Method::OPTIONS,
        HttpRouteRulesMatchesMethod::Trace => Method::TRACE,
        HttpRouteRulesMatchesMethod::Patch => Method::PATCH,
    }
}

/// A header match of either kind of route.
pub(crate) struct HeaderView<'a> {
    pub(crate) name: &'a str,
    /// Exact without it.
    pub(crate) regex: bool,
    pub(crate) value: &'a str,
}

/// "If multiple entries specify equivalent header names, only the first entry with an equivalent name MUST be
/// considered for a match" (`HTTPHeaderMatch.name`, `GRPCHeaderMatch.name`).
pub(crate) fn translate_headers<'a>(
    headers: impl Iterator<Item = HeaderView<'a>>,
) -> Result<Vec<HeaderMatch>, InvalidMatch> {
    let mut list: Vec<HeaderMatch> = Vec::new();
    for (at, HeaderView { name, regex, value }) in headers.enumerate() {
        if at == MAX_PREDICATES {
            return Err(InvalidMatch::TooMany);
        }
        let unusable = || InvalidMatch::HeaderName(name.to_owned());
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
        if list.iter().any(|present| present.name == parsed) {
            continue;
        }
        let value = if regex {
            let refuse = |error| InvalidMatch::HeaderPattern { name: name.to_owned(), error };
            StringMatch::Regex(Pattern::parse(value).map_err(refuse)?)
        } else {
            StringMatch::Exact(bounded(name, value)?.into())
        };
        list.push(HeaderMatch { name: parsed, value });
    }
    Ok(list)
}

/// As for headers, but "query param names are case-sensitive" (`HTTPQueryParamMatch.name`).
fn translate_query(query: &[HttpRouteRulesMatchesQueryParams]) -> Result<Vec<QueryMatch>, InvalidMatch> {
    let mut list: Vec<QueryMatch> = Vec::with_capacity(query.len());
    for HttpRouteRulesMatchesQueryParams { name, r#type, value } in query {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(InvalidMatch::QueryName);
        }
        if list.iter().any(|present| *present.name == **name) {
            continue;
        }
        let value = match r#type.as_ref().unwrap_or(&HttpRouteRulesMatchesQueryParamsType::Exact) {
            HttpRouteRulesMatchesQueryParamsType::Exact => StringMatch::Exact(bounded(name, value)?.into()),
            HttpRouteRulesMatchesQueryParamsType::RegularExpression => Pattern::parse(value)
                .map(StringMatch::Regex)
                .map_err(|error| InvalidMatch::QueryPattern { name: name.clone(), error })?,
        };
        list.push(QueryMatch { name: name.as_str().into(), value });
    }
    Ok(list)
}

fn bounded<'v>(name: &str, value: &'v str) -> Result<&'v str, InvalidMatch> {
    match value.len() {
        0..=MAX_VALUE => Ok(value),
        _ => Err(InvalidMatch::LongValue { name: name.chars().take(64).collect() }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(yaml: &str) -> Result<Match, InvalidMatch> {
        translate(&serde_norway::from_str(yaml).unwrap())
    }

    #[test]
    fn what_is_left_out_matches_every_path() {
        assert_eq!(parse("{}").unwrap(), Match::default());
        assert_eq!(parse("{path: {}}").unwrap().path, PathMatch::prefix("/"));
    }

    #[test]
    fn paths_are_held_in_the_form_that_requests_are_matched_in() {
        for (yaml, path) in [
            ("{path: {type: PathPrefix, value: /a/}}", PathMatch::Prefix("/a".into())),
            ("{path: {type: Exact, value: /a/}}", PathMatch::Exact("/a/".into())),
            ("{path: {type: Exact, value: /%61%c3%bc}}", PathMatch::Exact("/a%C3%BC".into())),
        ] {
            assert_eq!(parse(yaml).unwrap().path, path, "{yaml}");
        }
    }

    #[test]
    fn paths_that_no_request_can_have_are_refused() {
        for value in ["a", "//", "/a//b", "/a/./b", "/a/..", "/a%2Fb", "/a#b", "/a?b=c", "/a b", "/%zz"] {
            for kind in ["Exact", "PathPrefix"] {
                assert!(parse(&format!("{{path: {{type: {kind}, value: {value:?}}}}}")).is_err(), "{kind} {value}");
            }
        }
    }

    #[test]
    fn of_equivalent_names_the_first_counts() {
        let matched = parse(
            "{headers: [{name: A, value: x}, {name: a, value: y}], queryParams: [{name: q, value: x}, {name: Q, value: y}]}",
        )
        .unwrap();
        assert_eq!(matched.headers.len(), 1);
        assert!(matched.headers[0].value.matches("x"));
        assert_eq!(matched.query.len(), 2);
    }

    #[test]
    fn a_pattern_that_does_not_compile_names_its_place() {
        let error = parse("{headers: [{name: a, type: RegularExpression, value: '('}]}").unwrap_err();
        assert!(error.to_string().starts_with("header a: regular expression does not parse"), "{error}");
    }
}
