//! Matches.

use http::{HeaderName, Method};
use portcullis_ir::{HeaderMatch, Match, PathMatch, Pattern, QueryMatch, StringMatch};

use crate::bounds::{METHOD, PATH, PREDICATES, QUERY_NAME, VALUE, list, text};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;

pub(super) fn encode(matched: &Match) -> proto::Match {
    let Match { path, method, headers, query } = matched;
    proto::Match {
        path: Some(encode_path(path)),
        method: method.as_ref().map(ToString::to_string).unwrap_or_default(),
        headers: headers
            .iter()
            .map(|HeaderMatch { name, value }| proto::HeaderMatch {
                name: name.to_string(),
                value: Some(encode_string(value)),
            })
            .collect(),
        query: query
            .iter()
            .map(|QueryMatch { name, value }| proto::QueryMatch {
                name: name.to_string(),
                value: Some(encode_string(value)),
            })
            .collect(),
    }
}

pub(super) fn decode(matched: proto::Match) -> Result<Match, InvalidResource> {
    let proto::Match { path, method, headers, query } = matched;
    let header = |proto::HeaderMatch { name, value }| {
        Ok(HeaderMatch { name: decode_header_name(&name).at("name")?, value: decode_string(value).at("value")? })
    };
    let query_parameter = |proto::QueryMatch { name, value }| {
        Ok(QueryMatch { name: text(name, QUERY_NAME).at("name")?.into(), value: decode_string(value).at("value")? })
    };
    Ok(Match {
        path: decode_path(path).at("path")?,
        method: decode_method(method).at("method")?,
        headers: list(headers, PREDICATES, header).at("headers")?,
        query: list(query, PREDICATES, query_parameter).at("query")?,
    })
}

pub(super) fn decode_header_name(name: &str) -> Result<HeaderName, InvalidResource> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Problem::Text("is no header name; use a token of RFC 9110").into())
}

pub(super) fn encode_path(path: &PathMatch) -> proto::PathMatch {
    let kind = match path {
        PathMatch::Exact(path) => proto::path_match::Kind::Exact(path.to_string()),
        PathMatch::Prefix(path) => proto::path_match::Kind::Prefix(path.to_string()),
        PathMatch::Regex(pattern) => proto::path_match::Kind::Regex(pattern.as_str().to_owned()),
        PathMatch::GrpcMethod(method) => proto::path_match::Kind::GrpcMethod(encode_string(method)),
    };
    proto::PathMatch { kind: Some(kind) }
}

pub(super) fn decode_path(path: Option<proto::PathMatch>) -> Result<PathMatch, InvalidResource> {
    Ok(match path.and_then(|proto::PathMatch { kind }| kind).ok_or(Problem::Unsupported)? {
        proto::path_match::Kind::Exact(path) => PathMatch::Exact(absolute(path).at("exact")?.into()),
        proto::path_match::Kind::Prefix(path) => {
            let path = absolute(path).at("prefix")?;
            let held = PathMatch::prefix(&path);
            if !matches!(&held, PathMatch::Prefix(held) if **held == *path) {
                let problem = Problem::Text("ends in a slash; send it without, except `/` itself");
                return Err(InvalidResource::new(problem)).at("prefix");
            }
            held
        }
        proto::path_match::Kind::Regex(source) => PathMatch::Regex(decode_pattern(&source).at("regex")?),
        proto::path_match::Kind::GrpcMethod(method) => {
            PathMatch::GrpcMethod(decode_string(Some(method)).at("grpc_method")?)
        }
    })
}

fn encode_string(value: &StringMatch) -> proto::StringMatch {
    let kind = match value {
        StringMatch::Exact(value) => proto::string_match::Kind::Exact(value.to_string()),
        StringMatch::Regex(pattern) => proto::string_match::Kind::Regex(pattern.as_str().to_owned()),
    };
    proto::StringMatch { kind: Some(kind) }
}

fn decode_string(value: Option<proto::StringMatch>) -> Result<StringMatch, InvalidResource> {
    Ok(match value.and_then(|proto::StringMatch { kind }| kind).ok_or(Problem::Unsupported)? {
        proto::string_match::Kind::Exact(value) => StringMatch::Exact(text(value, VALUE).at("exact")?.into()),
        proto::string_match::Kind::Regex(source) => StringMatch::Regex(decode_pattern(&source).at("regex")?),
    })
}

fn decode_pattern(source: &str) -> Result<Pattern, InvalidResource> {
    Ok(Pattern::parse(source).map_err(Problem::Pattern)?)
}

fn decode_method(method: String) -> Result<Option<Method>, InvalidResource> {
    if method.is_empty() {
        return Ok(None);
    }
    match Method::from_bytes(text(method, METHOD)?.as_bytes()) {
        Ok(method) => Ok(Some(method)),
        Err(_) => Err(Problem::Text("is no HTTP method; use a token of RFC 9110").into()),
    }
}

fn absolute(path: String) -> Result<String, InvalidResource> {
    let path = text(path, PATH)?;
    if path.starts_with('/') { Ok(path) } else { Err(Problem::Text("does not start with a slash; add it").into()) }
}
