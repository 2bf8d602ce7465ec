//! Which rule has a connection or a session that is handed on as it comes. Persistent, as [`crate::Router`] is: a
//! clone is O(1), and work grows with the change.
//!
//! ```text
//! TCP, UDP:  bind ─► listener (the port's only one) ─┐
//! TLS:       Router::listener_for_sni ─► listener ───┴─► hostnames of its rules ─► the first by rank
//! ```

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use imbl::{OrdMap, OrdSet};
use portcullis_ir::{
    Change, HostPattern, Listener, ListenerKey, ListenerProtocol, Resource, ResourceKey, RouteKey, StreamRoute,
    Transport,
};

use crate::Bind;
use crate::host_index::HostIndex;
use crate::table::Content;

/// A compiled rule of bytes or datagrams.
#[derive(Debug)]
pub struct StreamRule<T> {
    pub route: Arc<StreamRoute>,
    /// What the caller made of the route, once, when it was compiled.
    pub payload: T,
}

/// All rules of bytes and datagrams of one data plane, and the listeners that have a port to themselves.
pub struct Streams<T> {
    /// Of the tables of hostnames, so that nobody can prepare names that collide.
    seed: u64,
    rules: OrdMap<RouteKey, Arc<StreamRule<T>>>,
    /// By effective hostname. Rules may come before the listeners that they name, and stay when those go.
    attached: OrdMap<ListenerKey, Arc<HostIndex<Queue<T>>>>,
    /// TCP and UDP listeners. `translate` refuses two on one port within a Gateway; between Gateways in one process the
    /// first in order of key has it, whatever order they came in.
    ports: OrdMap<(Transport, Bind), Arc<Vec<Arc<Listener>>>>,
}

/// Rules of one hostname of one listener: the first has everything.
struct Queue<T>(OrdSet<Place<T>>);

/// A rule under one of its hostnames, ordered by precedence.
///
/// "If ties still exist …": the hostname that the route itself wrote, the more specific first (Gateway API 1.7
/// `GatewayRouteHostnameIntersectionPrecedence`), then [`StreamRoute::rank`].
struct Place<T> {
    written: HostPattern,
    rule: Arc<StreamRule<T>>,
}

impl<T> Streams<T> {
    pub fn new() -> Self {
        Self::seeded(std::hash::BuildHasher::hash_one(&RandomState::default(), 0))
    }

    /// A table of the same shape in every run.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, rules: OrdMap::new(), attached: OrdMap::new(), ports: OrdMap::new() }
    }

    /// Applies changes of listeners and stream routes; others are ignored. `make` builds the payload of each route that
    /// is compiled.
    pub fn apply(&mut self, changes: &[Change], make: &mut dyn FnMut(&Arc<StreamRoute>) -> T) {
        for change in changes {
            match change.key() {
                Some(ResourceKey::Listener(_)) => {
                    if let Some(Resource::Listener(listener)) = &change.before {
                        self.close(listener);
                    }
                    if let Some(Resource::Listener(listener)) = &change.after {
                        self.open(listener);
                    }
                }
                Some(ResourceKey::StreamRoute(key)) => {
                    if let Some(old) = self.rules.remove(&key) {
                        self.edit(&old, Queue::remove);
                    }
                    if let Some(Resource::StreamRoute(route)) = &change.after {
                        let rule = Arc::new(StreamRule { route: Arc::clone(route), payload: make(route) });
                        self.edit(&rule, Queue::insert);
                        self.rules.insert(key, rule);
                    }
                }
                Some(
                    ResourceKey::Route(_)
                    | ResourceKey::Backend(_)
                    | ResourceKey::Endpoints(_)
                    | ResourceKey::Certificate(_)
                    | ResourceKey::Store(_)
                    | ResourceKey::Credential(_)
                    | ResourceKey::Issuer(_),
                )
                | None => {}
            }
        }
    }

    /// The TCP or UDP listener of a port.
    pub fn listener(&self, transport: Transport, bind: Bind) -> Option<&Arc<Listener>> {
        self.ports.get(&(transport, bind))?.first()
    }

    /// The rule that has what comes to a listener: under the most specific of its hostnames that matches the server
    /// name (none matches the absent one but "any"), the first by the hostname written, then by rank.
    pub fn find(&self, listener: &ListenerKey, sni: Option<&str>) -> Option<&Arc<StreamRule<T>>> {
        let hosts = self.attached.get(listener)?;
        hosts.find(sni.unwrap_or_default(), |queue| queue.0.get_min()).map(|place| &place.rule)
    }

    /// All compiled rules, in order of key.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<StreamRule<T>>> {
        self.rules.values()
    }

    /// Whether nothing was applied, or everything was taken away again.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.attached.is_empty() && self.ports.is_empty()
    }

    fn edit(&mut self, rule: &Arc<StreamRule<T>>, change: impl Fn(&mut Queue<T>, Place<T>)) {
        for attachment in &rule.route.attachments {
            let hosts = self.attached.entry(attachment.listener.clone()).or_default();
            let hosts = Arc::make_mut(hosts);
            for hostname in &attachment.hostnames {
                let place = Place { written: hostname.written.clone(), rule: Arc::clone(rule) };
                hosts.edit(&hostname.effective, self.seed, |queue| change(queue, place));
            }
            if hosts.is_empty() {
                self.attached.remove(&attachment.listener);
            }
        }
    }

    fn open(&mut self, listener: &Arc<Listener>) {
        let Some(transport) = transport(listener) else { return };
        for bind in Bind::of(listener) {
            let listeners = Arc::make_mut(self.ports.entry((transport, bind)).or_default());
            match listeners.binary_search_by(|other| other.key.cmp(&listener.key)) {
                Ok(at) => listeners[at] = Arc::clone(listener),
                Err(at) => listeners.insert(at, Arc::clone(listener)),
            }
        }
    }

    fn close(&mut self, listener: &Arc<Listener>) {
        let Some(transport) = transport(listener) else { return };
        for bind in Bind::of(listener) {
            let Some(listeners) = self.ports.get_mut(&(transport, bind)) else { continue };
            let listeners = Arc::make_mut(listeners);
            listeners.retain(|other| other.key != listener.key);
            if listeners.is_empty() {
                self.ports.remove(&(transport, bind));
            }
        }
    }
}

/// Of a listener that has its port to itself.
fn transport(listener: &Listener) -> Option<Transport> {
    match listener.protocol {
        ListenerProtocol::Tcp => Some(Transport::Tcp),
        ListenerProtocol::Udp => Some(Transport::Udp),
        ListenerProtocol::Http
        | ListenerProtocol::Https(_)
        | ListenerProtocol::TlsPassthrough
        | ListenerProtocol::TlsTerminate(_) => None,
    }
}

impl<T> Queue<T> {
    fn insert(&mut self, place: Place<T>) {
        self.0.insert(place);
    }

    #[expect(clippy::needless_pass_by_value, reason = "the twin of `insert`")]
    fn remove(&mut self, place: Place<T>) {
        self.0.remove(&place);
    }
}

impl<T> Content for Queue<T> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Place<T> {
    fn rank(&self) -> (Reverse<&HostPattern>, (i64, &RouteKey)) {
        (Reverse(&self.written), self.rule.route.rank())
    }
}

impl<T> Ord for Place<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl<T> PartialOrd for Place<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Place<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Place<T> {}

// Derived, these would ask for `T: Clone` and the like.
impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        Self { written: self.written.clone(), rule: Arc::clone(&self.rule) }
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(OrdSet::new())
    }
}

impl<T> Clone for Streams<T> {
    fn clone(&self) -> Self {
        Self { seed: self.seed, rules: self.rules.clone(), attached: self.attached.clone(), ports: self.ports.clone() }
    }
}

impl<T> Default for Streams<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Streams<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("ports", &self.ports.len()).field("rules", &self.rules.len()).finish()
    }
}
