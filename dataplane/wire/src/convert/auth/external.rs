//! Authorization by somebody else.

use portcullis_ir::{ExternalAuth, ExternalAuthCache, ExternalAuthProtocol};

use super::{encode_names, header_names};
use crate::bounds::{KEY_PARTS, PATH, duration, list, nanoseconds, text};
use crate::convert::backend::{decode_target, encode_target};
use crate::convert::key_part;
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::external_auth::Protocol;

pub(in crate::convert) fn encode(external: &ExternalAuth) -> proto::ExternalAuth {
    let ExternalAuth { protocol, backend, max_body_bytes, timeout, fail_open, cache } = external;
    let protocol = match protocol {
        ExternalAuthProtocol::Http { path_prefix, allowed_request_headers, allowed_response_headers } => {
            Protocol::Http(proto::ExternalHttp {
                path_prefix: path_prefix.to_string(),
                allowed_request_headers: encode_names(allowed_request_headers),
                allowed_response_headers: encode_names(allowed_response_headers),
            })
        }
        ExternalAuthProtocol::Grpc { allowed_request_headers } => {
            Protocol::Grpc(proto::ExternalGrpc { allowed_request_headers: encode_names(allowed_request_headers) })
        }
    };
    let cache = cache.as_ref().map(|ExternalAuthCache { key, ttl, max_entries }| proto::ExternalCache {
        key: key.iter().map(key_part::encode).collect(),
        ttl: nanoseconds(*ttl),
        max_entries: *max_entries,
    });
    proto::ExternalAuth {
        protocol: Some(protocol),
        backend: Some(encode_target(backend)),
        max_body_bytes: *max_body_bytes,
        timeout: nanoseconds(*timeout),
        fail_open: *fail_open,
        cache,
    }
}

pub(in crate::convert) fn decode(external: proto::ExternalAuth) -> Result<ExternalAuth, InvalidResource> {
    let proto::ExternalAuth { protocol, backend, max_body_bytes, timeout, fail_open, cache } = external;
    let protocol = match protocol.ok_or_else(|| Problem::Unsupported.into()).at("protocol")? {
        Protocol::Http(proto::ExternalHttp { path_prefix, allowed_request_headers, allowed_response_headers }) => {
            ExternalAuthProtocol::Http {
                path_prefix: text(path_prefix, PATH).at("http.path_prefix")?.into(),
                allowed_request_headers: header_names(allowed_request_headers).at("http.allowed_request_headers")?,
                allowed_response_headers: header_names(allowed_response_headers).at("http.allowed_response_headers")?,
            }
        }
        Protocol::Grpc(proto::ExternalGrpc { allowed_request_headers }) => ExternalAuthProtocol::Grpc {
            allowed_request_headers: header_names(allowed_request_headers).at("grpc.allowed_request_headers")?,
        },
    };
    let decode_cache = |proto::ExternalCache { key, ttl, max_entries }| -> Result<_, InvalidResource> {
        Ok(ExternalAuthCache {
            key: list(key, KEY_PARTS, key_part::decode).at("key")?,
            ttl: duration(ttl).at("ttl")?,
            max_entries,
        })
    };
    Ok(ExternalAuth {
        protocol,
        backend: decode_target(backend).at("backend")?,
        max_body_bytes,
        timeout: duration(timeout).at("timeout")?,
        fail_open,
        cache: cache.map(decode_cache).transpose().at("cache")?,
    })
}
