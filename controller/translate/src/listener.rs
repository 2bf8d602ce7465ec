//! Listeners of one Gateway, each on its own: what it serves, which routes it takes, and what is wrong with it.

use gateway_api::gateways::{
    Gateway, GatewayListeners, GatewayListenersAllowedRoutes, GatewayListenersTls, GatewayListenersTlsMode,
};
use portcullis_ir::HostPattern;

use crate::condition::Reason;
use crate::namespaces::{AllowedNamespaces, InvalidSelector};

/// Longest name of a listener (`SectionName`).
const MAX_NAME: usize = 253;

/// The group of Gateway API kinds.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// A listener that is sound by itself; whether it can stand beside the others is for [`crate::conflicts`].
#[derive(Clone, Debug)]
pub(crate) struct SoundListener<'a> {
    pub(crate) port: u16,
    pub(crate) hostname: HostPattern,
    pub(crate) protocol: SoundProtocol<'a>,
    pub(crate) namespaces: AllowedNamespaces,
    /// Whether HTTPRoutes may attach.
    pub(crate) http_routes: bool,
    /// Kinds that were asked for and that we do not know for this protocol.
    pub(crate) unknown_kinds: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum SoundProtocol<'a> {
    Http,
    Https(&'a GatewayListenersTls),
}

/// Why a listener is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidListener {
    #[error("protocol {0:?} is not supported; use HTTP or HTTPS")]
    Protocol(String),
    #[error("port {0} is no port; give 1 to 65535")]
    Port(i32),
    #[error("hostname {0:?} is no host name; give one like example.com or *.example.com")]
    Hostname(String),
    #[error("{0}")]
    Selector(#[from] InvalidSelector),
    #[error("protocol HTTPS needs tls; give tls.certificateRefs")]
    NoTls,
    #[error("tls is given for protocol HTTP; remove it or use HTTPS")]
    TlsOnHttp,
    #[error("tls.mode Passthrough does not go with protocol HTTPS; use Terminate")]
    Passthrough,
    #[error("tls.options {0:?} is not known; remove it")]
    TlsOption(String),
    #[error("client certificate validation (spec.tls.frontend) is not supported yet; remove it to serve without")]
    ClientValidation,
    #[error("name {0:?} is no listener name; use lower-case letters, digits, `-` and `.`")]
    Name(String),
    #[error("another listener of this Gateway has the same name; rename one")]
    DuplicateName,
    #[error("{address}:{port} is taken by Gateway {by}, which is older; use another port or address")]
    PortTaken { address: String, port: u16, by: String },
}

impl InvalidListener {
    /// The reason that it gives `Accepted`.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Protocol(_) => Reason::UnsupportedProtocol,
            Self::Port(_) | Self::PortTaken { .. } => Reason::PortUnavailable,
            _ => Reason::UnsupportedValue,
        }
    }
}

/// The port and the hosts of a HTTPS listener that is refused for its TLS alone. It must refuse them, too: left out, its
/// hosts would fall to a broader listener of the port, which asks for less.
pub(crate) fn denied(listener: &GatewayListeners, error: &InvalidListener) -> Option<(u16, HostPattern)> {
    let tls = matches!(
        error,
        InvalidListener::NoTls
            | InvalidListener::Passthrough
            | InvalidListener::TlsOption(_)
            | InvalidListener::ClientValidation
    );
    let port = u16::try_from(listener.port).ok().filter(|port| *port != 0)?;
    let hostname = HostPattern::parse(listener.hostname.as_deref().unwrap_or_default()).ok()?;
    tls.then_some((port, hostname))
}

pub(crate) fn check<'a>(
    gateway: &Gateway,
    listener: &'a GatewayListeners,
) -> Result<SoundListener<'a>, InvalidListener> {
    let GatewayListeners { allowed_routes, hostname, name, port, protocol, tls } = listener;
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(known) {
        return Err(InvalidListener::Name(name.chars().take(MAX_NAME).collect()));
    }
    let tls = tls.as_ref();
    let number = u16::try_from(*port).ok().filter(|port| *port != 0).ok_or(InvalidListener::Port(*port))?;
    let protocol = match (protocol.as_str(), tls) {
        ("HTTP", None) => SoundProtocol::Http,
        ("HTTP", Some(_)) => return Err(InvalidListener::TlsOnHttp),
        ("HTTPS", Some(tls)) => {
            check_tls(tls)?;
            if asks_for_client_certificates(gateway, *port) {
                return Err(InvalidListener::ClientValidation);
            }
            SoundProtocol::Https(tls)
        }
        ("HTTPS", None) => return Err(InvalidListener::NoTls),
        (other, _) => return Err(InvalidListener::Protocol(other.to_owned())),
    };
    let raw = hostname.as_deref().unwrap_or_default();
    let (http_routes, unknown_kinds) = allowed_kinds(allowed_routes.as_ref());
    Ok(SoundListener {
        port: number,
        hostname: HostPattern::parse(raw).map_err(|_| InvalidListener::Hostname(raw.to_owned()))?,
        protocol,
        namespaces: AllowedNamespaces::parse(allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref()))?,
        http_routes,
        unknown_kinds,
    })
}

/// An option that we ignored could be the one that its writer relies on.
fn check_tls(tls: &GatewayListenersTls) -> Result<(), InvalidListener> {
    let GatewayListenersTls { certificate_refs: _, mode, options } = tls;
    if *mode == Some(GatewayListenersTlsMode::Passthrough) {
        return Err(InvalidListener::Passthrough);
    }
    match options.iter().flatten().next() {
        Some((option, _)) => Err(InvalidListener::TlsOption(option.clone())),
        None => Ok(()),
    }
}

/// `perPort` replaces `default` for its port.
fn asks_for_client_certificates(gateway: &Gateway, port: i32) -> bool {
    let Some(frontend) = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else { return false };
    match frontend.per_port.iter().flatten().find(|entry| entry.port == port) {
        Some(entry) => entry.tls.validation.is_some(),
        None => frontend.default.validation.is_some(),
    }
}

/// Without a word, every kind that goes with the protocol.
fn allowed_kinds(allowed: Option<&GatewayListenersAllowedRoutes>) -> (bool, Vec<String>) {
    let kinds = allowed.and_then(|allowed| allowed.kinds.as_deref()).unwrap_or_default();
    if kinds.is_empty() {
        return (true, Vec::new());
    }
    let mut http_routes = false;
    let mut unknown = Vec::new();
    for kind in kinds {
        match (kind.group.as_deref().unwrap_or(GATEWAY_GROUP), kind.kind.as_str()) {
            (GATEWAY_GROUP, "HTTPRoute") => http_routes = true,
            (group, kind) => unknown.push(format!("{group}/{kind}")),
        }
    }
    (http_routes, unknown)
}
