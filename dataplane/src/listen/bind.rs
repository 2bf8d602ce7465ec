//! Sockets for one place: one per worker, all on the same address and port.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use portcullis_ir as ir;
use portcullis_router::Bind;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted, per socket.
const BACKLOG: i32 = 4096;

/// What is bound. TCP and UDP ports of one number have nothing to do with one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) bind: Bind,
    pub(crate) transport: ir::Transport,
}

/// What is spoken at a place; the same for all its listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) spoken: Spoken,
    pub(crate) proxy_protocol: bool,
    /// Never empty.
    pub(crate) listeners: Vec<ir::ListenerKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http,
    /// HTTPS and TLS listeners side by side, told apart by the server name. `https`: there is one of the former.
    Tls {
        https: bool,
    },
    /// One listener has all connections.
    Tcp,
    /// One listener has all datagrams.
    Udp,
}

/// The sockets of one address, one per worker.
#[derive(Debug)]
pub(super) enum Sockets {
    Tcp(Vec<TcpListener>),
    Udp(Vec<UdpSocket>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BindError {
    #[error("{0} is in use by another process; stop that process or give the listener another port")]
    InUse(SocketAddr),
    #[error(
        "no permission to bind {0}; ports below 1024 need the capability NET_BIND_SERVICE or the sysctl \
         net.ipv4.ip_unprivileged_port_start"
    )]
    Permission(SocketAddr),
    #[error("address {0} is not one of this machine's; give the listener an address that is, or none")]
    NotAvailable(SocketAddr),
    #[error("cannot bind {0}: {1}")]
    Other(SocketAddr, String),
}

impl Place {
    /// Where connections are accepted.
    pub(crate) fn tcp(bind: Bind) -> Self {
        Self { bind, transport: ir::Transport::Tcp }
    }
}

impl Spoken {
    fn of(protocol: &ir::ListenerProtocol) -> Self {
        match protocol {
            ir::ListenerProtocol::Http => Self::Http,
            ir::ListenerProtocol::Https(_) => Self::Tls { https: true },
            ir::ListenerProtocol::TlsPassthrough | ir::ListenerProtocol::TlsTerminate(_) => Self::Tls { https: false },
            ir::ListenerProtocol::Tcp => Self::Tcp,
            ir::ListenerProtocol::Udp => Self::Udp,
        }
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls { .. })
    }

    fn transport(self) -> ir::Transport {
        if self == Self::Udp { ir::Transport::Udp } else { ir::Transport::Tcp }
    }

    /// What a port speaks for two listeners together; none if it cannot.
    fn with(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Http, Self::Http) => Some(Self::Http),
            (Self::Tls { https: one }, Self::Tls { https: other }) => Some(Self::Tls { https: one || other }),
            // Nothing in the bytes says whose they are.
            (Self::Http | Self::Tls { .. } | Self::Tcp | Self::Udp, _) => None,
        }
    }
}

/// What is spoken where, and the listeners that contradict the first (in key order) of the same place.
pub(crate) fn facts<'a>(
    listeners: impl Iterator<Item = &'a std::sync::Arc<ir::Listener>>,
) -> (BTreeMap<Place, Facts>, BTreeMap<ir::ListenerKey, String>) {
    let mut places: BTreeMap<Place, Facts> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for listener in listeners {
        let spoken = Spoken::of(&listener.protocol);
        // A load balancer announces connections; datagrams come as they are.
        let proxy_protocol = listener.proxy_protocol && spoken != Spoken::Udp;
        for bind in Bind::of(listener) {
            let place = Place { bind, transport: spoken.transport() };
            let Some(facts) = places.get_mut(&place) else {
                let listeners = vec![listener.key.clone()];
                places.insert(place, Facts { spoken, proxy_protocol, listeners });
                continue;
            };
            match facts.spoken.with(spoken) {
                Some(both) if facts.proxy_protocol == proxy_protocol => {
                    facts.spoken = both;
                    facts.listeners.push(listener.key.clone());
                }
                together => {
                    let first = facts.listeners.first().map(ToString::to_string).unwrap_or_default();
                    let port = bind.port;
                    let text = if together.is_none() && facts.spoken == spoken {
                        format!("port {port} belongs to listener {first} alone, for nothing tells their traffic apart")
                    } else {
                        format!("port {port} already speaks another protocol for listener {first}")
                    };
                    refused.insert(listener.key.clone(), format!("{text}; give this listener another port"));
                }
            }
        }
    }
    (places, refused)
}

/// The addresses that a bind means.
pub(super) fn addresses(bind: Bind, defaults: &[IpAddr]) -> Vec<SocketAddr> {
    match bind.address {
        Some(address) => vec![SocketAddr::new(address, bind.port)],
        None => defaults.iter().map(|&address| SocketAddr::new(address, bind.port)).collect(),
    }
}

/// Opens `workers` sockets on each address. `exclusive`: make sure first that no other process has the port, for one
/// that sets SO_REUSEPORT as we do would silently share it with us.
///
/// Of several default addresses those of a family that this machine does not have are passed over.
pub(super) fn open(
    addresses: &[SocketAddr],
    transport: ir::Transport,
    workers: usize,
    exclusive: bool,
) -> Result<Vec<(SocketAddr, Sockets)>, BindError> {
    let mut opened = Vec::new();
    let mut missing = None;
    for &address in addresses {
        match open_one(address, transport, workers, exclusive) {
            Ok(sockets) => opened.push((address, sockets)),
            Err(error) if is_missing_family(&error) && addresses.len() > 1 => missing = Some((address, error)),
            Err(error) => return Err(BindError::new(address, &error)),
        }
    }
    match missing {
        Some((address, error)) if opened.is_empty() => Err(BindError::new(address, &error)),
        _ => Ok(opened),
    }
}

fn open_one(address: SocketAddr, transport: ir::Transport, workers: usize, exclusive: bool) -> io::Result<Sockets> {
    if exclusive {
        bound(address, transport, false)?;
    }
    let sockets = (0..workers).map(|_| {
        let socket = bound(address, transport, true)?;
        if transport == ir::Transport::Tcp {
            socket.listen(BACKLOG)?;
        }
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    Ok(match transport {
        ir::Transport::Tcp => Sockets::Tcp(sockets.map(|socket| socket.map(Into::into)).collect::<io::Result<_>>()?),
        ir::Transport::Udp => Sockets::Udp(sockets.map(|socket| socket.map(Into::into)).collect::<io::Result<_>>()?),
    })
}

fn bound(address: SocketAddr, transport: ir::Transport, shared: bool) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        ir::Transport::Tcp => (Type::STREAM, Protocol::TCP),
        ir::Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind.cloexec(), Some(protocol))?;
    if transport == ir::Transport::Tcp {
        // Connections of a former listener that linger in TIME_WAIT must not keep the port. UDP knows no such state;
        // there it would share the port with anybody who asks.
        socket.set_reuse_address(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // `0.0.0.0` and `::` are bound side by side.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn is_missing_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

impl BindError {
    fn new(address: SocketAddr, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::PermissionDenied => Self::Permission(address),
            io::ErrorKind::AddrNotAvailable => Self::NotAvailable(address),
            _ => Self::Other(address, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;

    fn listener(name: &str, port: u16, protocol: ir::ListenerProtocol) -> Arc<ir::Listener> {
        let gateway = ir::GatewayKey::new("ns", "gw");
        Arc::new(ir::Listener {
            key: ir::ListenerKey::new(gateway, name),
            addresses: Vec::new(),
            port,
            hostname: ir::HostPattern::Any,
            protocol,
            proxy_protocol: false,
            limits: None,
            auth: None,
            external: Vec::new(),
        })
    }

    #[test]
    fn several_workers_listen_on_one_port() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let opened = open(&[free], ir::Transport::Tcp, 3, true).unwrap();
        assert!(matches!(&opened[0].1, Sockets::Tcp(sockets) if sockets.len() == 3));
        let opened = open(&[free], ir::Transport::Udp, 3, true).unwrap();
        assert!(matches!(&opened[0].1, Sockets::Udp(sockets) if sockets.len() == 3));
    }

    #[test]
    fn a_port_that_another_process_shares_is_in_use() {
        for transport in [ir::Transport::Tcp, ir::Transport::Udp] {
            let (_, other) = open(&["127.0.0.1:0".parse().unwrap()], transport, 1, false).unwrap().remove(0);
            let address = match &other {
                Sockets::Tcp(sockets) => sockets[0].local_addr().unwrap(),
                Sockets::Udp(sockets) => sockets[0].local_addr().unwrap(),
            };
            assert_eq!(open(&[address], transport, 1, true).unwrap_err(), BindError::InUse(address));
            assert!(open(&[address], transport, 1, false).is_ok(), "our own further sockets share it");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let foreign: SocketAddr = "192.0.2.1:8080".parse().unwrap();
        assert_eq!(open(&[foreign], ir::Transport::Tcp, 1, true).unwrap_err(), BindError::NotAvailable(foreign));
    }

    #[test]
    fn the_first_listener_decides_what_a_port_speaks() {
        let tls =
            ir::TlsTermination { certificates: vec![ir::CertificateKey::new("ns", "c")], client_validation: None };
        let listeners = [
            listener("a", 80, ir::ListenerProtocol::Http),
            listener("b", 80, ir::ListenerProtocol::Https(tls.clone())),
            listener("c", 443, ir::ListenerProtocol::Https(tls)),
        ];
        let (places, refused) = facts(listeners.iter());
        let spoken = |port| places[&Place::tcp(Bind { address: None, port })].spoken;
        assert_eq!(spoken(80), Spoken::Http);
        assert_eq!(spoken(443), Spoken::Tls { https: true });
        assert_eq!(refused.keys().collect::<Vec<_>>(), [&listeners[1].key]);
    }

    #[test]
    fn tls_listeners_share_a_port_and_tcp_and_udp_listeners_have_theirs_alone() {
        let tls =
            ir::TlsTermination { certificates: vec![ir::CertificateKey::new("ns", "c")], client_validation: None };
        let listeners = [
            listener("a", 443, ir::ListenerProtocol::TlsPassthrough),
            listener("b", 443, ir::ListenerProtocol::TlsTerminate(tls.clone())),
            listener("c", 443, ir::ListenerProtocol::Https(tls)),
            listener("d", 443, ir::ListenerProtocol::Udp),
            listener("e", 443, ir::ListenerProtocol::Udp),
            listener("f", 9000, ir::ListenerProtocol::Tcp),
            listener("g", 9000, ir::ListenerProtocol::Http),
        ];
        let (places, refused) = facts(listeners.iter());
        let at = |port, transport| &places[&Place { bind: Bind { address: None, port }, transport }];
        assert_eq!(at(443, ir::Transport::Tcp).spoken, Spoken::Tls { https: true });
        assert_eq!(at(443, ir::Transport::Tcp).listeners.len(), 3);
        assert_eq!(at(443, ir::Transport::Udp).listeners, [listeners[3].key.clone()]);
        assert_eq!(at(9000, ir::Transport::Tcp).spoken, Spoken::Tcp);
        assert_eq!(refused.keys().collect::<Vec<_>>(), [&listeners[4].key, &listeners[6].key]);
        assert!(refused[&listeners[4].key].contains("belongs to listener"), "{refused:?}");
    }
}
