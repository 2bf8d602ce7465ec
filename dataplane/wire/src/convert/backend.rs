//! Backends, and the targets that name them.

use portcullis_ir::{Backend, BackendKey, BackendTls, Failure, Protocol, Source, Target};

use super::{host, key};
use crate::bounds::{NAMES, ROOTS, SUBJECT_ALT_NAME, SUBJECT_ALT_NAMES, der, duration, list, nanoseconds, port, text};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;

pub(super) fn encode(backend: &Backend) -> proto::Backend {
    let Backend { key: _, protocol, tls, source, connect_timeout, broken } = backend;
    let protocol = match protocol {
        Protocol::Http => proto::Protocol::Http,
        Protocol::Http2 => proto::Protocol::Http2,
    };
    let source = match source {
        Source::Endpoints => proto::backend::Source::Discovered(proto::Discovered {}),
        Source::Names(names) => proto::backend::Source::Names(proto::Names {
            names: names
                .iter()
                .map(|(host, port)| proto::Name { host: host::encode(host), port: u32::from(*port) })
                .collect(),
        }),
    };
    proto::Backend {
        protocol: protocol.into(),
        tls: tls.as_deref().map(encode_tls),
        connect_timeout: nanoseconds(*connect_timeout),
        source: Some(source),
        broken: broken.map_or(proto::Failure::Unspecified.into(), encode_failure),
    }
}

pub(super) fn decode(key: BackendKey, backend: proto::Backend) -> Result<Backend, InvalidResource> {
    let proto::Backend { protocol, tls, connect_timeout, source, broken } = backend;
    let protocol = match proto::Protocol::try_from(protocol) {
        Ok(proto::Protocol::Http) => Protocol::Http,
        Ok(proto::Protocol::Http2) => Protocol::Http2,
        Ok(proto::Protocol::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("protocol"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("protocol"),
    };
    let source = match source.ok_or_else(|| Problem::Unsupported.into()).at("source")? {
        proto::backend::Source::Discovered(proto::Discovered {}) => Source::Endpoints,
        proto::backend::Source::Names(proto::Names { names }) => {
            Source::Names(list(names, NAMES, decode_name).at("names")?)
        }
    };
    Ok(Backend {
        key,
        protocol,
        tls: tls.map(decode_tls).transpose().at("tls")?.map(Box::new),
        source,
        connect_timeout: duration(connect_timeout).at("connect_timeout")?,
        // A failure of a later build breaks it all the same.
        broken: match proto::Failure::try_from(broken) {
            Ok(proto::Failure::Unspecified) => None,
            _ => Some(decode_failure(broken).unwrap_or(Failure::InvalidBackend)),
        },
    })
}

pub(super) fn encode_target(target: &Target) -> proto::Target {
    let kind = match target {
        Target::Backend(key) => proto::target::Kind::Backend(key::backend(key)),
        Target::Invalid(failure) => proto::target::Kind::Invalid(encode_failure(*failure)),
    };
    proto::Target { kind: Some(kind) }
}

pub(super) fn decode_target(target: Option<proto::Target>) -> Result<Target, InvalidResource> {
    match target.and_then(|proto::Target { kind }| kind).ok_or(Problem::Unsupported)? {
        proto::target::Kind::Backend(key) => Ok(Target::Backend(key::decode_backend(key).at("backend")?)),
        proto::target::Kind::Invalid(failure) => Ok(Target::Invalid(decode_failure(failure).at("invalid")?)),
    }
}

pub(super) fn encode_failure(failure: Failure) -> i32 {
    let failure = match failure {
        Failure::InvalidBackend => proto::Failure::InvalidBackend,
        Failure::InvalidFilter => proto::Failure::InvalidFilter,
        Failure::NoBackends => proto::Failure::NoBackends,
        Failure::InvalidMatch => proto::Failure::InvalidMatch,
        Failure::InvalidBackendTls => proto::Failure::InvalidBackendTls,
    };
    failure.into()
}

pub(super) fn decode_failure(failure: i32) -> Result<Failure, InvalidResource> {
    match proto::Failure::try_from(failure) {
        Ok(proto::Failure::InvalidBackend) => Ok(Failure::InvalidBackend),
        Ok(proto::Failure::InvalidFilter) => Ok(Failure::InvalidFilter),
        Ok(proto::Failure::NoBackends) => Ok(Failure::NoBackends),
        Ok(proto::Failure::InvalidMatch) => Ok(Failure::InvalidMatch),
        Ok(proto::Failure::InvalidBackendTls) => Ok(Failure::InvalidBackendTls),
        Ok(proto::Failure::Unspecified) => Err(Problem::Missing.into()),
        Err(_) => Err(Problem::Unsupported.into()),
    }
}

fn encode_tls(tls: &BackendTls) -> proto::BackendTls {
    let BackendTls { hostname, subject_alt_names, roots, client_certificate } = tls;
    proto::BackendTls {
        hostname: host::encode(hostname),
        subject_alt_names: subject_alt_names.iter().map(|name| name.to_string()).collect(),
        roots: roots.iter().map(|root| root.to_vec()).collect(),
        client_certificate: client_certificate.as_ref().map(key::certificate),
    }
}

fn decode_tls(tls: proto::BackendTls) -> Result<BackendTls, InvalidResource> {
    let proto::BackendTls { hostname, subject_alt_names, roots, client_certificate } = tls;
    let subject_alt_name = |name| Ok(text(name, SUBJECT_ALT_NAME)?.into());
    Ok(BackendTls {
        hostname: host::decode(hostname).at("hostname")?,
        subject_alt_names: list(subject_alt_names, SUBJECT_ALT_NAMES, subject_alt_name).at("subject_alt_names")?,
        roots: list(roots, ROOTS, |root| Ok(der(root)?.into())).at("roots")?,
        client_certificate: client_certificate.map(key::decode_certificate).transpose().at("client_certificate")?,
    })
}

fn decode_name(name: proto::Name) -> Result<(portcullis_ir::Host, u16), InvalidResource> {
    let proto::Name { host, port: number } = name;
    Ok((host::decode(host).at("host")?, port(number).at("port")?))
}
