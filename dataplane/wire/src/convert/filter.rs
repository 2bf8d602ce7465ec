//! Filters.

use http::{HeaderName, HeaderValue};
use portcullis_ir::{Filter, Fraction, HeaderEdits, Mirror, PathRewrite, UrlRewrite};

use super::backend::{decode_target, encode_target};
use super::matches::decode_header_name;
use super::{auth, cors, host};
use crate::bounds::{EDITS, PATH, VALUE, list, text};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::filter::Kind;

pub(super) fn encode(filter: &Filter) -> proto::Filter {
    let kind = match filter {
        Filter::RequestHeaders(edits) => Kind::RequestHeaders(encode_edits(edits)),
        Filter::ResponseHeaders(edits) => Kind::ResponseHeaders(encode_edits(edits)),
        Filter::UrlRewrite(UrlRewrite { hostname, path }) => Kind::UrlRewrite(proto::UrlRewrite {
            hostname: hostname.as_ref().map(host::encode),
            path: path.as_ref().map(encode_path),
        }),
        Filter::Mirror(Mirror { target, share: Fraction { numerator, denominator } }) => Kind::Mirror(proto::Mirror {
            target: Some(encode_target(target)),
            numerator: *numerator,
            denominator: *denominator,
        }),
        Filter::Cors(cors) => Kind::Cors(cors::encode(cors)),
        Filter::ExternalAuth(external) => Kind::ExternalAuth(auth::encode_external(external)),
    };
    proto::Filter { kind: Some(kind) }
}

pub(super) fn decode(filter: proto::Filter) -> Result<Filter, InvalidResource> {
    let proto::Filter { kind } = filter;
    Ok(match kind.ok_or(Problem::Unsupported)? {
        Kind::RequestHeaders(edits) => Filter::RequestHeaders(decode_edits(edits).at("request_headers")?),
        Kind::ResponseHeaders(edits) => Filter::ResponseHeaders(decode_edits(edits).at("response_headers")?),
        Kind::UrlRewrite(rewrite) => Filter::UrlRewrite(decode_rewrite(rewrite).at("url_rewrite")?),
        Kind::Cors(cors) => Filter::Cors(cors::decode(cors).at("cors")?),
        Kind::ExternalAuth(external) => {
            Filter::ExternalAuth(Box::new(auth::decode_external(external).at("external_auth")?))
        }
        Kind::Mirror(mirror) => Filter::Mirror(decode_mirror(mirror).at("mirror")?),
    })
}

pub(super) fn encode_path(path: &PathRewrite) -> proto::PathRewrite {
    let kind = match path {
        PathRewrite::Full(path) => proto::path_rewrite::Kind::Full(path.to_string()),
        PathRewrite::Prefix(path) => proto::path_rewrite::Kind::Prefix(path.to_string()),
    };
    proto::PathRewrite { kind: Some(kind) }
}

pub(super) fn decode_path(path: proto::PathRewrite) -> Result<PathRewrite, InvalidResource> {
    let proto::PathRewrite { kind } = path;
    Ok(match kind.ok_or(Problem::Unsupported)? {
        proto::path_rewrite::Kind::Full(path) => PathRewrite::Full(replacement(path).at("full")?),
        proto::path_rewrite::Kind::Prefix(path) => PathRewrite::Prefix(replacement(path).at("prefix")?),
    })
}

fn encode_edits(edits: &HeaderEdits) -> proto::HeaderEdits {
    let HeaderEdits { set, add, remove } = edits;
    let header = |(name, value): &(HeaderName, HeaderValue)| proto::Header {
        name: name.to_string(),
        value: value.as_bytes().to_vec(),
    };
    proto::HeaderEdits {
        set: set.iter().map(header).collect(),
        add: add.iter().map(header).collect(),
        remove: remove.iter().map(ToString::to_string).collect(),
    }
}

fn decode_edits(edits: proto::HeaderEdits) -> Result<HeaderEdits, InvalidResource> {
    let proto::HeaderEdits { set, add, remove } = edits;
    Ok(HeaderEdits {
        set: list(set, EDITS, decode_header).at("set")?,
        add: list(add, EDITS, decode_header).at("add")?,
        remove: list(remove, EDITS, |name| decode_header_name(&name)).at("remove")?,
    })
}

fn decode_header(header: proto::Header) -> Result<(HeaderName, HeaderValue), InvalidResource> {
    let proto::Header { name, value } = header;
    let name = decode_header_name(&name).at("name")?;
    if value.len() > VALUE {
        return Err(InvalidResource::new(Problem::TooLong { length: value.len(), max: VALUE })).at("value");
    }
    let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(value))
        .map_err(|_| Problem::Text("holds a byte that no header value may have; leave out control characters").into());
    Ok((name, value.at("value")?))
}

fn decode_rewrite(rewrite: proto::UrlRewrite) -> Result<UrlRewrite, InvalidResource> {
    let proto::UrlRewrite { hostname, path } = rewrite;
    Ok(UrlRewrite {
        hostname: hostname.map(host::decode).transpose().at("hostname")?,
        path: path.map(decode_path).transpose().at("path")?,
    })
}

fn decode_mirror(mirror: proto::Mirror) -> Result<Mirror, InvalidResource> {
    let proto::Mirror { target, numerator, denominator } = mirror;
    if denominator == 0 || numerator > denominator {
        let problem = Problem::OutOfRange { value: denominator.into(), expected: "at least 1 and the numerator" };
        return Err(InvalidResource::new(problem)).at("denominator");
    }
    Ok(Mirror { target: decode_target(target).at("target")?, share: Fraction { numerator, denominator } })
}

/// A path that replaces another. Bytes that would end the request line are refused here as well as in `translate`: a
/// space or a line break would let a route write headers, or a request of its own.
fn replacement(path: String) -> Result<Box<str>, InvalidResource> {
    let path = text(path, PATH)?;
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(Problem::Text("holds a space or a control character; percent-encode it").into());
    }
    Ok(path.into())
}
