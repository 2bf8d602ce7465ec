//! The listeners of one bind, and which of them a host belongs to.

use std::sync::Arc;

use portcullis_ir::{Listener, ListenerKey, ListenerProtocol};

use crate::Sni;
use crate::host_index::HostIndex;
use crate::host_table::HostTable;
use crate::table::Content;

/// A listener with the rules that are attached to it.
pub(crate) struct Node<T> {
    /// None while only routes speak of it.
    pub(crate) listener: Option<Arc<Listener>>,
    /// By effective hostname.
    pub(crate) hosts: HostIndex<HostTable<T>>,
}

/// A listener of an entrance, and its rules.
pub(crate) struct Door<T> {
    pub(crate) listener: Arc<Listener>,
    pub(crate) node: Arc<Node<T>>,
}

pub(crate) struct Entrance<T> {
    /// HTTP listeners by hostname.
    plain: HostIndex<Doors<T>>,
    /// Listeners of TLS, whatever becomes of what it carries, by hostname.
    tls: HostIndex<Doors<T>>,
}

/// Listeners of the same hostname, in order of key. `translate` refuses such conflicts within a Gateway; between
/// Gateways in one process the first takes all, whatever order they came in.
pub(crate) struct Doors<T>(Vec<Door<T>>);

impl<T> Entrance<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.tls.is_empty()
    }

    /// The most specific listener for a host, or for no name at all.
    pub(crate) fn door(&self, tls: bool, host: Option<&str>) -> Option<&Door<T>> {
        let doors = if tls { &self.tls } else { &self.plain };
        // No hostname but the absent one takes the empty name.
        doors.find(host.unwrap_or_default(), |doors| doors.0.first())
    }

    /// Whether `door`, that of `host`, is the one that a TLS connection was opened to.
    pub(crate) fn opened(&self, sni: Sni<'_>, host: &str, door: &Door<T>) -> bool {
        sni.name == Some(host)
            || self.door(true, sni.name).is_some_and(|opened| opened.listener.key == door.listener.key)
    }

    pub(crate) fn open(&mut self, listener: &Arc<Listener>, node: &Arc<Node<T>>, seed: u64) {
        self.edit(listener, seed, |doors| {
            let door = Door { listener: Arc::clone(listener), node: Arc::clone(node) };
            match doors.position(&listener.key) {
                Ok(at) => doors.0[at] = door,
                Err(at) => doors.0.insert(at, door),
            }
        });
    }

    pub(crate) fn close(&mut self, listener: &Arc<Listener>, seed: u64) {
        self.edit(listener, seed, |doors| {
            if let Ok(at) = doors.position(&listener.key) {
                doors.0.remove(at);
            }
        });
    }

    fn edit(&mut self, listener: &Listener, seed: u64, change: impl FnOnce(&mut Doors<T>)) {
        let doors = match listener.protocol {
            ListenerProtocol::Http => &mut self.plain,
            ListenerProtocol::Https(_) | ListenerProtocol::TlsPassthrough | ListenerProtocol::TlsTerminate(_) => {
                &mut self.tls
            }
            // Nobody asks them for a host ([`crate::Streams`]).
            ListenerProtocol::Tcp | ListenerProtocol::Udp => return,
        };
        doors.edit(&listener.hostname, seed, change);
    }
}

impl<T> Node<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.listener.is_none() && self.hosts.is_empty()
    }
}

impl<T> Doors<T> {
    fn position(&self, key: &ListenerKey) -> Result<usize, usize> {
        self.0.binary_search_by(|door| door.listener.key.cmp(key))
    }
}

impl<T> Content for Doors<T> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { listener: None, hosts: HostIndex::default() }
    }
}

impl<T> Default for Entrance<T> {
    fn default() -> Self {
        Self { plain: HostIndex::default(), tls: HostIndex::default() }
    }
}

impl<T> Default for Doors<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        Self { listener: self.listener.clone(), hosts: self.hosts.clone() }
    }
}

impl<T> Clone for Door<T> {
    fn clone(&self) -> Self {
        Self { listener: Arc::clone(&self.listener), node: Arc::clone(&self.node) }
    }
}

impl<T> Clone for Entrance<T> {
    fn clone(&self) -> Self {
        Self { plain: self.plain.clone(), tls: self.tls.clone() }
    }
}

impl<T> Clone for Doors<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
