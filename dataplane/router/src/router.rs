//! All listeners and rules of one data plane: compiled change by change, asked request by request.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use imbl::{OrdMap, OrdSet};
use portcullis_ir::{Change, Listener, ListenerKey, Resource, ResourceKey, Route, RouteKey};

use crate::entrance::{Entrance, Node};
use crate::entry::Entry;
use crate::predicate::Probe;
use crate::{Bind, Found, Outcome, Request, Rule, Sni};

/// Persistent: a clone is O(1) and shares everything with its origin.
///
/// A whole snapshot is compiled by applying it as changes from nothing:
///
/// ```
/// # use portcullis_ir::{Change, Snapshot};
/// # use portcullis_router::Router;
/// # let snapshot = Snapshot::default();
/// let changes: Vec<_> = snapshot.resources().map(|after| Change { before: None, after: Some(after) }).collect();
/// let mut router = Router::new();
/// router.apply(&changes, &mut |route| route.action.clone());
/// ```
pub struct Router<T> {
    /// Of every hash table, so that nobody can prepare keys that collide.
    seed: u64,
    rules: OrdSet<ByKey<T>>,
    nodes: OrdMap<ListenerKey, Arc<Node<T>>>,
    entrances: OrdMap<Bind, Arc<Entrance<T>>>,
}

/// A rule, compared by the key of its route.
struct ByKey<T>(Arc<Rule<T>>);

/// Listeners that changes touch. They are held by nobody else meanwhile, so that many changes to one copy it once.
type Touched<T> = BTreeMap<ListenerKey, Node<T>>;

impl<T> Router<T> {
    pub fn new() -> Self {
        Self::seeded(RandomState::default().hash_one(0))
    }

    /// A router whose tables have the same shape in every run, for measurements.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, rules: OrdSet::new(), nodes: OrdMap::new(), entrances: OrdMap::new() }
    }

    /// Applies changes of listeners and routes; others are ignored. Work grows with the changes, not with the tables.
    /// Routes may come before the listeners that they name.
    ///
    /// `make` builds the payload of each route that is compiled.
    pub fn apply(&mut self, changes: &[Change], make: &mut dyn FnMut(&Arc<Route>) -> T) {
        let mut touched = Touched::new();
        for change in changes {
            match change.key() {
                Some(ResourceKey::Listener(key)) => {
                    self.touch(&mut touched, &key).listener = match &change.after {
                        Some(Resource::Listener(listener)) => Some(Arc::clone(listener)),
                        _ => None,
                    };
                }
                Some(ResourceKey::Route(key)) => {
                    if let Some(old) = self.rules.remove(&key) {
                        self.detach(&mut touched, &old.0);
                    }
                    if let Some(Resource::Route(route)) = &change.after {
                        let rule = Arc::new(Rule { route: Arc::clone(route), payload: make(route) });
                        self.attach(&mut touched, &rule);
                        self.rules.insert(ByKey(rule));
                    }
                }
                Some(
                    ResourceKey::StreamRoute(_)
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
        for (key, node) in touched {
            self.publish(key, node);
        }
    }

    /// The rule of greatest [`portcullis_ir::Precedence`] that matches, among those attached to the listener that the
    /// request belongs to: the most specific one for its host ("listener isolation").
    ///
    /// On TLS connections that must also be the listener that the connection was opened to. "If another Listener has an
    /// exact match or more specific wildcard entry, the Gateway SHOULD return a 421. If the current Listener … does not
    /// match the Host: If another Listener does match the Host, the Gateway SHOULD return a 421. If no other Listener
    /// matches the Host, the Gateway MUST return a 404" (Gateway API `Listener.hostname`).
    pub fn find<'r>(&'r self, request: &Request<'_>) -> Outcome<'r, T> {
        let Some(entrance) = self.entrances.get(&request.bind) else { return Outcome::NotFound { listener: None } };
        let Some(door) = entrance.door(request.sni.is_some(), Some(request.host)) else {
            return Outcome::NotFound { listener: None };
        };
        if let Some(sni) = request.sni
            && !entrance.opened(sni, request.host, door)
        {
            return Outcome::Misdirected;
        }
        let probe = Probe::new(request);
        match door.node.hosts.find(request.host, |table| table.find(&probe, self.seed)) {
            Some(entry) => {
                Outcome::Found(Found { rule: &entry.rule, matched: entry.matched(), listener: &door.listener })
            }
            None => Outcome::NotFound { listener: Some(&door.listener) },
        }
    }

    /// The listener that a request belongs to, before any rule is looked for; none where [`Self::find`] finds none or
    /// calls the request misdirected.
    pub fn listener(&self, bind: Bind, sni: Option<Sni<'_>>, host: &str) -> Option<&Arc<Listener>> {
        let entrance = self.entrances.get(&bind)?;
        let door = entrance.door(sni.is_some(), Some(host))?;
        let opened = sni.is_none_or(|sni| entrance.opened(sni, host, door));
        opened.then_some(&door.listener)
    }

    /// The listener that a TLS connection is opened to: exact hostname, then the longest wildcard, then any. Without a
    /// server name only a listener without hostname will do.
    pub fn listener_for_sni(&self, bind: Bind, sni: Option<&str>) -> Option<&Arc<Listener>> {
        self.entrances.get(&bind)?.door(true, sni).map(|door| &door.listener)
    }

    /// The compiled rule of a route.
    pub fn rule(&self, key: &RouteKey) -> Option<&Arc<Rule<T>>> {
        self.rules.get(key).map(|rule| &rule.0)
    }

    /// All compiled rules, in order of key.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule<T>>> {
        self.rules.iter().map(|rule| &rule.0)
    }

    /// All listeners, in order of key.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.nodes.values().filter_map(|node| node.listener.as_ref())
    }

    /// Whether nothing was applied, or everything was taken away again.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.nodes.is_empty() && self.entrances.is_empty()
    }

    fn attach(&mut self, touched: &mut Touched<T>, rule: &Arc<Rule<T>>) {
        let seed = self.seed;
        for attachment in &rule.route.attachments {
            let node = self.touch(touched, &attachment.listener);
            for hostname in &attachment.hostnames {
                node.hosts.edit(&hostname.effective, seed, |table| {
                    Entry::of(rule).for_each(|entry| table.insert(&hostname.written, &entry, seed));
                });
            }
        }
    }

    fn detach(&mut self, touched: &mut Touched<T>, rule: &Arc<Rule<T>>) {
        let seed = self.seed;
        for attachment in &rule.route.attachments {
            let node = self.touch(touched, &attachment.listener);
            for hostname in &attachment.hostnames {
                node.hosts.edit(&hostname.effective, seed, |table| {
                    Entry::of(rule).for_each(|entry| table.remove(&hostname.written, &entry, seed));
                });
            }
        }
    }

    /// Takes a listener out of all tables to change it.
    fn touch<'t>(&mut self, touched: &'t mut Touched<T>, key: &ListenerKey) -> &'t mut Node<T> {
        touched.entry(key.clone()).or_insert_with(|| {
            let Some(node) = self.nodes.remove(key) else { return Node::default() };
            if let Some(listener) = &node.listener {
                for bind in Bind::of(listener) {
                    let Some(entrance) = self.entrances.get_mut(&bind) else { continue };
                    let entrance = Arc::make_mut(entrance);
                    entrance.close(listener, self.seed);
                    if entrance.is_empty() {
                        self.entrances.remove(&bind);
                    }
                }
            }
            Arc::unwrap_or_clone(node)
        })
    }

    fn publish(&mut self, key: ListenerKey, node: Node<T>) {
        if node.is_empty() {
            return;
        }
        let node = Arc::new(node);
        if let Some(listener) = &node.listener {
            for bind in Bind::of(listener) {
                let entrance = self.entrances.entry(bind).or_default();
                Arc::make_mut(entrance).open(listener, &node, self.seed);
            }
        }
        self.nodes.insert(key, node);
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Router<T> {
    fn clone(&self) -> Self {
        Self {
            seed: self.seed,
            rules: self.rules.clone(),
            nodes: self.nodes.clone(),
            entrances: self.entrances.clone(),
        }
    }
}

impl<T> fmt::Debug for Router<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("listeners", &self.nodes.len()).field("rules", &self.rules.len()).finish()
    }
}

impl<T> Clone for ByKey<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Borrow<RouteKey> for ByKey<T> {
    fn borrow(&self) -> &RouteKey {
        &self.0.route.key
    }
}

impl<T> PartialEq for ByKey<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.route.key == other.0.route.key
    }
}

impl<T> Eq for ByKey<T> {}

impl<T> PartialOrd for ByKey<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for ByKey<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.route.key.cmp(&other.0.route.key)
    }
}
