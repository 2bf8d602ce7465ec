//! Sockets for one bind: one per worker, all on the same address and port.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use portcullis_ir as ir;
use portcullis_router::Bind;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted, per socket.
const BACKLOG: i32 = 4096;

/// What is spoken on a bind; the same for all its listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) tls: bool,
    pub(crate) proxy_protocol: bool,
    /// Never empty.
    pub(crate) listeners: Vec<ir::ListenerKey>,
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

/// What each bind speaks, and the listeners that contradict the first (in key order) on the same bind.
pub(crate) fn facts<'a>(
    listeners: impl Iterator<Item = &'a std::sync::Arc<ir::Listener>>,
) -> (BTreeMap<Bind, Facts>, BTreeMap<ir::ListenerKey, String>) {
    let mut binds: BTreeMap<Bind, Facts> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for listener in listeners {
        let tls = matches!(listener.protocol, ir::ListenerProtocol::Https(_));
        let proxy_protocol = listener.proxy_protocol;
        for bind in Bind::of(listener) {
            let facts = binds.entry(bind).or_insert_with(|| Facts { tls, proxy_protocol, listeners: Vec::new() });
            if facts.tls == tls && facts.proxy_protocol == proxy_protocol {
                facts.listeners.push(listener.key.clone());
            } else {
                let first = facts.listeners.first().map(ToString::to_string).unwrap_or_default();
                let text = format!("port {} already speaks another protocol for listener {first}", bind.port);
                refused.insert(listener.key.clone(), format!("{text}; give this listener another port"));
            }
        }
    }
    (binds, refused)
}

/// The addresses that a bind means.
pub(super) fn addresses(bind: Bind, defaults: &[IpAddr]) -> Vec<SocketAddr> {
    match bind.address {
        Some(address) => vec![SocketAddr::new(address, bind.port)],
        None => defaults.iter().map(|&address| SocketAddr::new(address, bind.port)).collect(),
    }
}

/// Opens `workers` listening sockets on each address. `exclusive`: make sure first that no other process listens
/// there, for one that sets SO_REUSEPORT as we do would silently share the port with us.
///
/// Of several default addresses those of a family that this machine does not have are passed over.
pub(super) fn open(
    addresses: &[SocketAddr],
    workers: usize,
    exclusive: bool,
) -> Result<Vec<(SocketAddr, Vec<TcpListener>)>, BindError> {
    let mut opened = Vec::new();
    let mut missing = None;
    for &address in addresses {
        match open_one(address, workers, exclusive) {
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

fn open_one(address: SocketAddr, workers: usize, exclusive: bool) -> io::Result<Vec<TcpListener>> {
    if exclusive {
        bound(address, false)?;
    }
    (0..workers)
        .map(|_| {
            let socket = bound(address, true)?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        })
        .collect()
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    // Connections of a former listener that linger in TIME_WAIT must not keep the port.
    socket.set_reuse_address(true)?;
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
        })
    }

    #[test]
    fn several_workers_listen_on_one_port() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let opened = open(&[free], 3, true).unwrap();
        assert_eq!(opened[0].1.len(), 3);
    }

    #[test]
    fn a_port_that_another_process_shares_is_in_use() {
        let (_, other) = open(&["127.0.0.1:0".parse().unwrap()], 1, false).unwrap().remove(0);
        let address = other[0].local_addr().unwrap();
        assert_eq!(open(&[address], 1, true).unwrap_err(), BindError::InUse(address));
        assert!(open(&[address], 1, false).is_ok(), "our own further sockets share it");
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let foreign: SocketAddr = "192.0.2.1:8080".parse().unwrap();
        assert_eq!(open(&[foreign], 1, true).unwrap_err(), BindError::NotAvailable(foreign));
    }

    #[test]
    fn the_first_listener_decides_what_a_port_speaks() {
        let tls = ir::TlsTermination { certificates: vec![ir::CertificateKey::new("ns", "c")] };
        let listeners = [
            listener("a", 80, ir::ListenerProtocol::Http),
            listener("b", 80, ir::ListenerProtocol::Https(tls.clone())),
            listener("c", 443, ir::ListenerProtocol::Https(tls)),
        ];
        let (binds, refused) = facts(listeners.iter());
        assert!(!binds[&Bind { address: None, port: 80 }].tls);
        assert!(binds[&Bind { address: None, port: 443 }].tls);
        assert_eq!(refused.keys().collect::<Vec<_>>(), [&listeners[1].key]);
    }
}
