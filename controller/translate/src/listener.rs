//! Listeners of a Gateway or a ListenerSet, each on its own: what it serves, which routes it takes, and what is wrong with it.

use gateway_api::gateways::{
    GatewayListeners, GatewayListenersAllowedRoutes, GatewayListenersTls, GatewayListenersTlsMode,
};
use portcullis_ir::{HostPattern, RouteKind};

use crate::condition::Reason;
use crate::conflicts::Carrier;
use crate::lenient;
use crate::listener_filters::{InvalidListenerFilter, ListenerFilters};
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
    /// Kinds of route that may attach.
    pub(crate) kinds: Vec<RouteKind>,
    /// Kinds that were asked for and that we do not know for this protocol.
    pub(crate) unknown_kinds: Vec<String>,
    pub(crate) filters: ListenerFilters,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum SoundProtocol<'a> {
    Http,
    Https(&'a GatewayListenersTls),
    TlsPassthrough,
    TlsTerminate(&'a GatewayListenersTls),
    Tcp,
    Udp,
}

impl SoundProtocol<'_> {
    /// The kinds of route that go with it.
    fn kinds(self) -> &'static [RouteKind] {
        match self {
            Self::Http | Self::Https(_) => &[RouteKind::HttpRoute, RouteKind::GrpcRoute],
            Self::TlsPassthrough | Self::TlsTerminate(_) => &[RouteKind::TlsRoute],
            Self::Tcp => &[RouteKind::TcpRoute],
            Self::Udp => &[RouteKind::UdpRoute],
        }
    }

    pub(crate) fn carrier(self) -> Carrier {
        match self {
            Self::Http => Carrier::Http,
            Self::Https(_) => Carrier::Https,
            Self::TlsPassthrough | Self::TlsTerminate(_) => Carrier::Tls,
            Self::Tcp => Carrier::Tcp,
            Self::Udp => Carrier::Udp,
        }
    }
}

/// Why a listener is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidListener {
    #[error("protocol {0:?} is not supported; use HTTP, HTTPS, TLS, TCP or UDP")]
    Protocol(String),
    #[error("{error}")]
    Filters { https: bool, error: InvalidListenerFilter },
    #[error("port {0} is no port; give 1 to 65535")]
    Port(i32),
    #[error("hostname {0:?} is no host name; give one like example.com or *.example.com")]
    Hostname(String),
    #[error("{0}")]
    Selector(#[from] InvalidSelector),
    #[error("protocol {0} needs tls; give tls.certificateRefs")]
    NoTls(&'static str),
    #[error("tls is given for protocol {0}; remove it or use HTTPS or TLS")]
    UnusedTls(&'static str),
    #[error("tls.mode Passthrough does not go with protocol HTTPS; use Terminate")]
    Passthrough,
    #[error("tls.options {0:?} is not known; remove it")]
    TlsOption(String),
    #[error("name {0:?} is no listener name; use lower-case letters, digits, `-` and `.`")]
    Name(String),
    #[error("another listener beside it has the same name; rename one")]
    DuplicateName,
    #[error("{address}:{port} is taken by Gateway {by}, which is older; use another port or address")]
    PortTaken { address: String, port: u16, by: String },
}

impl InvalidListener {
    /// The reason that it gives `Accepted`.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Protocol(_) => Reason::UnsupportedProtocol,
            Self::Filters { error, .. } => error.reason(),
            Self::Port(_) | Self::PortTaken { .. } => Reason::PortUnavailable,
            _ => Reason::UnsupportedValue,
        }
    }
}

/// What a listener still has to refuse that is refused for its TLS or its filters alone: left out, its hosts would fall
/// to a broader listener of the port, which asks for less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denies {
    pub(crate) port: u16,
    pub(crate) hostname: HostPattern,
    /// It refuses handshakes; without, requests.
    pub(crate) https: bool,
}

pub(crate) fn denied(listener: &GatewayListeners, error: &InvalidListener) -> Option<Denies> {
    let https = match error {
        InvalidListener::NoTls(_) | InvalidListener::Passthrough | InvalidListener::TlsOption(_) => true,
        // On a protocol without filters they are one mistake of several.
        InvalidListener::Filters { error: InvalidListenerFilter::Protocol(_), .. } => return None,
        InvalidListener::Filters { https, .. } => *https,
        _ => return None,
    };
    let port = u16::try_from(listener.port).ok().filter(|port| *port != 0)?;
    let hostname = HostPattern::parse(listener.hostname.as_deref().unwrap_or_default()).ok()?;
    Some(Denies { port, hostname, https })
}

pub(crate) fn check(listener: &GatewayListeners) -> Result<SoundListener<'_>, InvalidListener> {
    let GatewayListeners { allowed_routes, hostname, name, port, protocol, tls } = listener;
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(known) {
        return Err(InvalidListener::Name(name.chars().take(MAX_NAME).collect()));
    }
    let tls = tls.as_ref();
    let number = u16::try_from(*port).ok().filter(|port| *port != 0).ok_or(InvalidListener::Port(*port))?;
    let (named, filters) = lenient::protocol(protocol);
    let protocol = match (named, tls) {
        ("HTTP", None) => SoundProtocol::Http,
        ("HTTP", Some(_)) => return Err(InvalidListener::UnusedTls("HTTP")),
        ("HTTPS", Some(tls)) => {
            check_options(tls)?;
            if is_passthrough(tls) {
                return Err(InvalidListener::Passthrough);
            }
            SoundProtocol::Https(tls)
        }
        ("HTTPS", None) => return Err(InvalidListener::NoTls("HTTPS")),
        ("TLS", Some(tls)) => {
            check_options(tls)?;
            if is_passthrough(tls) { SoundProtocol::TlsPassthrough } else { SoundProtocol::TlsTerminate(tls) }
        }
        ("TLS", None) => return Err(InvalidListener::NoTls("TLS")),
        ("TCP", None) => SoundProtocol::Tcp,
        ("TCP", Some(_)) => return Err(InvalidListener::UnusedTls("TCP")),
        ("UDP", None) => SoundProtocol::Udp,
        ("UDP", Some(_)) => return Err(InvalidListener::UnusedTls("UDP")),
        (other, _) => return Err(InvalidListener::Protocol(other.to_owned())),
    };
    // "When unspecified, all hostnames are matched. This field is ignored for protocols that don't require hostname
    // based matching" (`Listener.hostname`).
    let raw = match protocol {
        SoundProtocol::Tcp | SoundProtocol::Udp => "",
        _ => hostname.as_deref().unwrap_or_default(),
    };
    let filters = ListenerFilters::parse(filters, named)
        .map_err(|error| InvalidListener::Filters { https: named == "HTTPS", error })?;
    let (kinds, unknown_kinds) = allowed_kinds(protocol, allowed_routes.as_ref());
    Ok(SoundListener {
        port: number,
        hostname: HostPattern::parse(raw).map_err(|_| InvalidListener::Hostname(raw.to_owned()))?,
        protocol,
        namespaces: AllowedNamespaces::parse(allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref()))?,
        kinds,
        unknown_kinds,
        filters,
    })
}

/// An option that we ignored could be the one that its writer relies on.
fn check_options(tls: &GatewayListenersTls) -> Result<(), InvalidListener> {
    let GatewayListenersTls { certificate_refs: _, mode: _, options } = tls;
    match options.iter().flatten().next() {
        Some((option, _)) => Err(InvalidListener::TlsOption(option.clone())),
        None => Ok(()),
    }
}

fn is_passthrough(tls: &GatewayListenersTls) -> bool {
    tls.mode == Some(GatewayListenersTlsMode::Passthrough)
}

/// Without a word, every kind that goes with the protocol.
fn allowed_kinds(
    protocol: SoundProtocol<'_>,
    allowed: Option<&GatewayListenersAllowedRoutes>,
) -> (Vec<RouteKind>, Vec<String>) {
    let asked = allowed.and_then(|allowed| allowed.kinds.as_deref()).unwrap_or_default();
    if asked.is_empty() {
        return (protocol.kinds().to_vec(), Vec::new());
    }
    let mut kinds = Vec::new();
    let mut unknown = Vec::new();
    for kind in asked {
        let (group, kind) = (kind.group.as_deref().unwrap_or(GATEWAY_GROUP), kind.kind.as_str());
        match protocol.kinds().iter().find(|known| group == GATEWAY_GROUP && known.as_str() == kind) {
            Some(known) if kinds.contains(known) => {}
            Some(known) => kinds.push(*known),
            None => unknown.push(format!("{group}/{kind}")),
        }
    }
    (kinds, unknown)
}
