//! Keys.

use portcullis_ir::{
    BackendKey, BackendKind, CertificateKey, CredentialKey, CredentialUse, GatewayKey, IssuerKey, ListenerKey,
    ListenerSetKey, ResourceKey, RouteKey, RouteKind, StoreKey, Transport,
};

use crate::bounds::{ISSUER, name, port, required, text};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::resource_key::Kind;

pub fn encode_key(key: &ResourceKey) -> proto::ResourceKey {
    let kind = match key {
        ResourceKey::Listener(key) => Kind::Listener(listener(key)),
        ResourceKey::Route(key) => Kind::Route(route(key)),
        ResourceKey::StreamRoute(key) => Kind::StreamRoute(route(key)),
        ResourceKey::Backend(key) => Kind::Backend(backend(key)),
        ResourceKey::Endpoints(key) => Kind::Endpoints(backend(key)),
        ResourceKey::Certificate(key) => Kind::Certificate(certificate(key)),
        ResourceKey::Store(StoreKey { gateway }) => Kind::Store(encode_gateway(gateway)),
        ResourceKey::Credential(key) => Kind::Credential(credential(key)),
        ResourceKey::Issuer(IssuerKey(address)) => Kind::Issuer(address.to_string()),
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
        Kind::Route(key) => {
            let kinds = &[RouteKind::HttpRoute, RouteKind::GrpcRoute];
            ResourceKey::Route(decode_route(key).and_then(|key| of_kind(key, kinds)).at("route")?)
        }
        Kind::StreamRoute(key) => {
            let kinds = &[RouteKind::TlsRoute, RouteKind::TcpRoute, RouteKind::UdpRoute];
            ResourceKey::StreamRoute(decode_route(key).and_then(|key| of_kind(key, kinds)).at("stream_route")?)
        }
        Kind::Backend(key) => ResourceKey::Backend(decode_backend(key).at("backend")?),
        Kind::Endpoints(key) => ResourceKey::Endpoints(decode_backend(key).at("endpoints")?),
        Kind::Certificate(key) => ResourceKey::Certificate(decode_certificate(key).at("certificate")?),
        Kind::Store(key) => ResourceKey::Store(decode_store(key).at("store")?),
        Kind::Credential(key) => ResourceKey::Credential(decode_credential(key).at("credential")?),
        Kind::Issuer(key) => ResourceKey::Issuer(decode_issuer(key).at("issuer")?),
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
    let ListenerKey { gateway: parent, set, name } = key;
    proto::ListenerKey {
        gateway: Some(encode_gateway(parent)),
        set: set.as_ref().map(listener_set),
        name: name.to_string(),
    }
}

pub(super) fn decode_listener(key: proto::ListenerKey) -> Result<ListenerKey, InvalidResource> {
    let proto::ListenerKey { gateway, set, name: listener } = key;
    Ok(ListenerKey {
        gateway: required(gateway).and_then(decode_gateway).at("gateway")?,
        set: set.map(decode_listener_set).transpose().at("set")?,
        name: name(listener).at("name")?,
    })
}

pub(super) fn listener_set(key: &ListenerSetKey) -> proto::ListenerSetKey {
    let ListenerSetKey { namespace, name } = key;
    proto::ListenerSetKey { namespace: namespace.to_string(), name: name.to_string() }
}

pub(super) fn decode_listener_set(key: proto::ListenerSetKey) -> Result<ListenerSetKey, InvalidResource> {
    let proto::ListenerSetKey { namespace, name: object } = key;
    Ok(ListenerSetKey { namespace: name(namespace).at("namespace")?, name: name(object).at("name")? })
}

pub(super) fn encode_route_kind(kind: RouteKind) -> proto::RouteKind {
    match kind {
        RouteKind::HttpRoute => proto::RouteKind::HttpRoute,
        RouteKind::GrpcRoute => proto::RouteKind::GrpcRoute,
        RouteKind::TlsRoute => proto::RouteKind::TlsRoute,
        RouteKind::TcpRoute => proto::RouteKind::TcpRoute,
        RouteKind::UdpRoute => proto::RouteKind::UdpRoute,
    }
}

pub(super) fn decode_route_kind(kind: i32) -> Result<RouteKind, InvalidResource> {
    Ok(match proto::RouteKind::try_from(kind) {
        Ok(proto::RouteKind::HttpRoute) => RouteKind::HttpRoute,
        Ok(proto::RouteKind::GrpcRoute) => RouteKind::GrpcRoute,
        Ok(proto::RouteKind::TlsRoute) => RouteKind::TlsRoute,
        Ok(proto::RouteKind::TcpRoute) => RouteKind::TcpRoute,
        Ok(proto::RouteKind::UdpRoute) => RouteKind::UdpRoute,
        Ok(proto::RouteKind::Unspecified) => return Err(Problem::Missing.into()),
        Err(_) => return Err(Problem::Unsupported.into()),
    })
}

pub(super) fn route(key: &RouteKey) -> proto::RouteKey {
    let RouteKey { kind, namespace, name, rule } = key;
    proto::RouteKey {
        kind: encode_route_kind(*kind).into(),
        namespace: namespace.to_string(),
        name: name.to_string(),
        rule: u32::from(*rule),
    }
}

pub(super) fn decode_route(key: proto::RouteKey) -> Result<RouteKey, InvalidResource> {
    let proto::RouteKey { kind, namespace, name: object, rule } = key;
    let rule = u16::try_from(rule)
        .map_err(|_| Problem::OutOfRange { value: rule.into(), expected: "a position from 0 to 65535" }.into());
    Ok(RouteKey {
        kind: decode_route_kind(kind).at("kind")?,
        namespace: name(namespace).at("namespace")?,
        name: name(object).at("name")?,
        rule: rule.at("rule")?,
    })
}

/// A rule of requests can never stand under the key of one of streams, or the other way round.
fn of_kind(key: RouteKey, kinds: &[RouteKind]) -> Result<RouteKey, InvalidResource> {
    if kinds.contains(&key.kind) { Ok(key) } else { Err(InvalidResource::new(Problem::OtherKind)).at("kind") }
}

pub(super) fn backend(key: &BackendKey) -> proto::BackendKey {
    let BackendKey { kind, namespace, name, port, transport } = key;
    let transport = match transport {
        Transport::Tcp => proto::Transport::Tcp,
        Transport::Udp => proto::Transport::Udp,
    };
    let kind = match kind {
        BackendKind::Service => proto::BackendKind::Service,
        BackendKind::Backend => proto::BackendKind::Backend,
        BackendKind::XBackend => proto::BackendKind::XBackend,
    };
    proto::BackendKey {
        kind: kind.into(),
        namespace: namespace.to_string(),
        name: name.to_string(),
        port: u32::from(*port),
        transport: transport.into(),
    }
}

pub(super) fn decode_backend(key: proto::BackendKey) -> Result<BackendKey, InvalidResource> {
    let proto::BackendKey { kind, namespace, name: object, port: number, transport } = key;
    let transport = match proto::Transport::try_from(transport) {
        Ok(proto::Transport::Tcp) => Transport::Tcp,
        Ok(proto::Transport::Udp) => Transport::Udp,
        Ok(proto::Transport::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("transport"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("transport"),
    };
    let kind = match proto::BackendKind::try_from(kind) {
        Ok(proto::BackendKind::Service) => BackendKind::Service,
        Ok(proto::BackendKind::Backend) => BackendKind::Backend,
        Ok(proto::BackendKind::XBackend) => BackendKind::XBackend,
        Ok(proto::BackendKind::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("kind"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("kind"),
    };
    Ok(BackendKey {
        kind,
        namespace: name(namespace).at("namespace")?,
        name: name(object).at("name")?,
        port: port(number).at("port")?,
        transport,
    })
}

pub(super) fn store(key: &StoreKey) -> proto::GatewayKey {
    encode_gateway(&key.gateway)
}

pub(super) fn decode_store(key: proto::GatewayKey) -> Result<StoreKey, InvalidResource> {
    Ok(StoreKey { gateway: decode_gateway(key)? })
}

pub(crate) fn decode_issuer(key: String) -> Result<IssuerKey, InvalidResource> {
    if key.is_empty() {
        return Err(Problem::Missing.into());
    }
    Ok(IssuerKey(text(key, ISSUER)?.into()))
}

pub(super) fn credential(key: &CredentialKey) -> proto::CredentialKey {
    let CredentialKey { purpose, namespace, name } = key;
    let purpose = match purpose {
        CredentialUse::Consumer => proto::CredentialUse::Consumer,
        CredentialUse::Users => proto::CredentialUse::Users,
        CredentialUse::Shared => proto::CredentialUse::Shared,
    };
    proto::CredentialKey { purpose: purpose.into(), namespace: namespace.to_string(), name: name.to_string() }
}

pub(super) fn decode_credential(key: proto::CredentialKey) -> Result<CredentialKey, InvalidResource> {
    let proto::CredentialKey { purpose, namespace, name: object } = key;
    let purpose = match proto::CredentialUse::try_from(purpose) {
        Ok(proto::CredentialUse::Consumer) => CredentialUse::Consumer,
        Ok(proto::CredentialUse::Users) => CredentialUse::Users,
        Ok(proto::CredentialUse::Shared) => CredentialUse::Shared,
        Ok(proto::CredentialUse::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("purpose"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("purpose"),
    };
    Ok(CredentialKey { purpose, namespace: name(namespace).at("namespace")?, name: name(object).at("name")? })
}

pub(super) fn certificate(key: &CertificateKey) -> proto::CertificateKey {
    let CertificateKey { namespace, name } = key;
    proto::CertificateKey { namespace: namespace.to_string(), name: name.to_string() }
}

pub(super) fn decode_certificate(key: proto::CertificateKey) -> Result<CertificateKey, InvalidResource> {
    let proto::CertificateKey { namespace, name: object } = key;
    Ok(CertificateKey { namespace: name(namespace).at("namespace")?, name: name(object).at("name")? })
}
