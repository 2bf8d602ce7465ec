//! The CORS filter.

use portcullis_ir::{Cors, CorsNames, CorsOrigin};

use crate::bounds::{CORS_NAMES, ORIGINS, VALUE, list, required, text};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::cors_origin::Kind;

pub(super) fn encode(cors: &Cors) -> proto::Cors {
    let Cors { allow_origins, allow_methods, allow_headers, expose_headers, allow_credentials, max_age } = cors;
    let origin = |origin: &CorsOrigin| proto::CorsOrigin {
        kind: Some(match origin {
            CorsOrigin::Any => Kind::Any(proto::Any {}),
            CorsOrigin::Exact(origin) => Kind::Exact(origin.to_string()),
            CorsOrigin::Wildcard { prefix, suffix } => {
                Kind::Wildcard(proto::CorsWildcard { prefix: prefix.to_string(), suffix: suffix.to_string() })
            }
        }),
    };
    proto::Cors {
        allow_origins: allow_origins.iter().map(origin).collect(),
        allow_methods: Some(encode_names(allow_methods)),
        allow_headers: Some(encode_names(allow_headers)),
        expose_headers: Some(encode_names(expose_headers)),
        allow_credentials: *allow_credentials,
        max_age: *max_age,
    }
}

pub(super) fn decode(cors: proto::Cors) -> Result<Cors, InvalidResource> {
    let proto::Cors { allow_origins, allow_methods, allow_headers, expose_headers, allow_credentials, max_age } = cors;
    if max_age == 0 {
        return Err(InvalidResource::new(Problem::OutOfRange { value: 0, expected: "at least 1" })).at("max_age");
    }
    Ok(Cors {
        allow_origins: list(allow_origins, ORIGINS, decode_origin).at("allow_origins")?,
        allow_methods: required(allow_methods).and_then(decode_names).at("allow_methods")?,
        allow_headers: required(allow_headers).and_then(decode_names).at("allow_headers")?,
        expose_headers: required(expose_headers).and_then(decode_names).at("expose_headers")?,
        allow_credentials,
        max_age,
    })
}

fn encode_names(names: &CorsNames) -> proto::CorsNames {
    match names {
        CorsNames::Any => proto::CorsNames { any: true, names: Vec::new() },
        CorsNames::List(names) => {
            proto::CorsNames { any: false, names: names.iter().map(|name| name.to_string()).collect() }
        }
    }
}

fn decode_origin(origin: proto::CorsOrigin) -> Result<CorsOrigin, InvalidResource> {
    let proto::CorsOrigin { kind } = origin;
    Ok(match kind.ok_or(Problem::Unsupported)? {
        Kind::Any(proto::Any {}) => CorsOrigin::Any,
        Kind::Exact(origin) => CorsOrigin::Exact(text(origin, VALUE).at("exact")?.into()),
        Kind::Wildcard(proto::CorsWildcard { prefix, suffix }) => CorsOrigin::Wildcard {
            prefix: text(prefix, VALUE).at("prefix")?.into(),
            suffix: text(suffix, VALUE).at("suffix")?.into(),
        },
    })
}

/// Methods and header names are tokens (RFC 9110, 5.6.2); anything else could write a header of its own.
fn decode_names(names: proto::CorsNames) -> Result<CorsNames, InvalidResource> {
    let proto::CorsNames { any, names } = names;
    if any {
        return Ok(CorsNames::Any);
    }
    let names = list(names, CORS_NAMES, |name| {
        let name = text(name, VALUE)?;
        match http::Method::from_bytes(name.as_bytes()) {
            Ok(_) => Ok(name.into()),
            Err(_) => Err(Problem::Text("is no method or header name").into()),
        }
    });
    Ok(CorsNames::List(names.at("names")?))
}
