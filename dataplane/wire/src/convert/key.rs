//! Keys.

use portcullis_ir::{
    BackendKey, BackendKind, CertificateKey, GatewayKey, ListenerKey, ResourceKey, RouteKey, RouteKind,
};

use crate::bounds::{name, port, required};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::resource_key::Kind;

pub fn encode_key(key: &ResourceKey) -> proto::ResourceKey {
    let kind = match key {
        ResourceKey::Listener(key) => Kind::Listener(listener(key)),
        ResourceKey::Route(key) => Kind::Route(route(key)),
        ResourceKey::Backend(key) => Kind::Backend(backend(key)),
        ResourceKey::Endpoints(key) => Kind::Endpoints(backend(key)),
        ResourceKey::Certificate(key) => Kind::Certificate(certificate(key)),
    };
    proto::ResourceKey { kind: Some(kind) }
}

/// # Errors
/// [`InvalidResource`] for an unknown kind or a name that no object can have.
pub fn decode_key(key: proto::ResourceKey) -> Result<ResourceKey, InvalidResource> {
    let proto::ResourceKey { kind } = key;
    // An unknown kind of a later schema is dropped by the protobuf reader and looks like a missing one.
    Ok(match kind.ok_or(Problem::Unsupported)? {
        Kind::Listener(key) => ResourceKey::Listener(decode_listener(key).at("listener")?),
        Kind::Route(key) => ResourceKey::Route(decode_route(key).at("route")?),
        Kind::Backend(key) => ResourceKey::Backend(decode_backend(key).at("backend")?),
        Kind::Endpoints(key) => ResourceKey::Endpoints(decode_backend(key).at("endpoints")?),
        Kind::Certificate(key) => ResourceKey::Certificate(decode_certificate(key).at("certificate")?),
    })
}

pub(crate) fn encode_gateway(key: &GatewayKey) -> proto::GatewayKey {
    let GatewayKey { namespace, name } = key;
    proto::GatewayKey { namespace: namespace.to_string(), name: name.to_string() }
}

pub(crate) fn decode_gateway(key: proto::GatewayKey) -> Result<GatewayKey, InvalidResource> {
    let proto::GatewayKey { namespace, name: object } = key;
    Ok(GatewayKey { namespace: name(namespace).at("namespace")?, name: name(object).at("name")? })
}

pub(super) fn listener(key: &ListenerKey) -> proto::ListenerKey {
    let ListenerKey { gateway: parent, name } = key;
    proto::ListenerKey { gateway: Some(encode_gateway(parent)), name: name.to_string() }
}

pub(super) fn decode_listener(key: proto::ListenerKey) -> Result<ListenerKey, InvalidResource> {
    let proto::ListenerKey { gateway, name: listener } = key;
    Ok(ListenerKey {
        gateway: required(gateway).and_then(decode_gateway).at("gateway")?,
        name: name(listener).at("name")?,
    })
}

pub(super) fn route(key: &RouteKey) -> proto::RouteKey {
    let RouteKey { kind, namespace, name, rule } = key;
    let kind = match kind {
        RouteKind::HttpRoute => proto::RouteKind::HttpRoute,
    };
    proto::RouteKey {
        kind: kind.into(),
        namespace: namespace.to_string(),
        name: name.to_string(),
        rule: u32::from(*rule),
    }
}

fn decode_route(key: proto::RouteKey) -> Result<RouteKey, InvalidResource> {
    let proto::RouteKey { kind, namespace, name: object, rule } = key;
    let kind = match proto::RouteKind::try_from(kind) {
        Ok(proto::RouteKind::HttpRoute) => RouteKind::HttpRoute,
        Ok(proto::RouteKind::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("kind"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("kind"),
    };
    let rule = u16::try_from(rule)
        .map_err(|_| Problem::OutOfRange { value: rule.into(), expected: "a position from 0 to 65535" }.into());
    Ok(RouteKey {
        kind,
        namespace: name(namespace).at("namespace")?,
        name: name(object).at("name")?,
        rule: rule.at("rule")?,
    })
}

pub(super) fn backend(key: &BackendKey) -> proto::BackendKey {
    let BackendKey { kind, namespace, name, port } = key;
    let kind = match kind {
        BackendKind::Service => proto::BackendKind::Service,
        BackendKind::Backend => proto::BackendKind::Backend,
    };
    proto::BackendKey {
        kind: kind.into(),
        namespace: namespace.to_string(),
        name: name.to_string(),
        port: u32::from(*port),
    }
}

pub(super) fn decode_backend(key: proto::BackendKey) -> Result<BackendKey, InvalidResource> {
    let proto::BackendKey { kind, namespace, name: object, port: number } = key;
    let kind = match proto::BackendKind::try_from(kind) {
        Ok(proto::BackendKind::Service) => BackendKind::Service,
        Ok(proto::BackendKind::Backend) => BackendKind::Backend,
        Ok(proto::BackendKind::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("kind"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("kind"),
    };
    Ok(BackendKey {
        kind,
        namespace: name(namespace).at("namespace")?,
        name: name(object).at("name")?,
        port: port(number).at("port")?,
    })
}

pub(super) fn certificate(key: &CertificateKey) -> proto::CertificateKey {
    let CertificateKey { namespace, name } = key;
    proto::CertificateKey { namespace: namespace.to_string(), name: name.to_string() }
}

pub(super) fn decode_certificate(key: proto::CertificateKey) -> Result<CertificateKey, InvalidResource> {
    let proto::CertificateKey { namespace, name: object } = key;
    Ok(CertificateKey { namespace: name(namespace).at("namespace")?, name: name(object).at("name")? })
}
