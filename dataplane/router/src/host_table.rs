//! The rules of one host: by how specific their routes' own hostnames are, then by path.

use portcullis_ir::{HostPattern, PathMatch, StringMatch, grpc_method};

use crate::entry::Entry;
use crate::listing::Listing;
use crate::predicate::Probe;
use crate::rule_set::RuleSet;
use crate::table::{Content, Table};

/// Most specific written hostname first. There are never more groups than the host has labels, and two.
pub(crate) struct HostTable<T> {
    groups: Vec<Group<T>>,
}

struct Group<T> {
    written: HostPattern,
    exact: Table<RuleSet<T>>,
    /// The honest linear remainder: no index answers which expressions match.
    regex: Listing<T>,
    /// `/` is held as the empty string: what remains of every path when its last element is cut off.
    prefix: Table<RuleSet<T>>,
    /// On the heap, because only hosts of gRPC services have any.
    methods: Option<Box<Methods<T>>>,
}

/// Rules for gRPC methods of any service.
struct Methods<T> {
    exact: Table<RuleSet<T>>,
    regex: Listing<T>,
}

impl<T> HostTable<T> {
    pub(crate) fn find(&self, probe: &Probe<'_>, seed: u64) -> Option<&Entry<T>> {
        self.groups.iter().find_map(|group| group.find(probe, seed))
    }

    pub(crate) fn insert(&mut self, written: &HostPattern, entry: &Entry<T>, seed: u64) {
        let at = self.position(written).unwrap_or_else(|at| {
            self.groups.reserve_exact(1);
            self.groups.insert(at, Group::new(written.clone()));
            at
        });
        self.groups[at].insert(entry, seed);
    }

    pub(crate) fn remove(&mut self, written: &HostPattern, entry: &Entry<T>, seed: u64) {
        let Ok(at) = self.position(written) else { return };
        self.groups[at].remove(entry, seed);
        if self.groups[at].is_empty() {
            self.groups.remove(at);
        }
    }

    fn position(&self, written: &HostPattern) -> Result<usize, usize> {
        self.groups.binary_search_by(|group| written.cmp(&group.written))
    }
}

impl<T> Group<T> {
    fn new(written: HostPattern) -> Self {
        Self { written, exact: Table::default(), regex: Listing::default(), prefix: Table::default(), methods: None }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.regex.is_empty() && self.prefix.is_empty() && self.methods.is_none()
    }

    /// In the order of [`portcullis_ir::PathRank`]: exact, regular expressions, prefixes from the longest on, gRPC methods
    /// before the prefix of all.
    fn find(&self, probe: &Probe<'_>, seed: u64) -> Option<&Entry<T>> {
        let path = probe.request.path;
        if let Some(entry) = self.exact.get(path).and_then(|set| set.find(probe, seed)) {
            return Some(entry);
        }
        let regex = self.regex.find(|entry| {
            let matched = entry.matched();
            matched.path.matches(path) && probe.meets(matched)
        });
        if regex.is_some() {
            return regex;
        }
        if !self.prefix.is_empty()
            && let Some(entry) = self.find_prefix(path, probe, seed)
        {
            return Some(entry);
        }
        if let Some(methods) = &self.methods
            && let Some(entry) = methods.find(path, probe, seed)
        {
            return Some(entry);
        }
        self.prefix.get("").and_then(|set| set.find(probe, seed))
    }

    /// All prefixes but `/`.
    fn find_prefix(&self, path: &str, probe: &Probe<'_>, seed: u64) -> Option<&Entry<T>> {
        let longest = self.prefix.longest();
        let mut rest = if path.len() > longest { cut(path, longest + 1) } else { path };
        while !rest.is_empty() {
            if let Some(entry) = self.prefix.get(rest).and_then(|set| set.find(probe, seed)) {
                return Some(entry);
            }
            rest = cut(rest, rest.len());
        }
        None
    }

    fn insert(&mut self, entry: &Entry<T>, seed: u64) {
        let insert = |set: &mut RuleSet<T>| set.insert(entry.clone(), seed);
        match &entry.matched().path {
            PathMatch::Exact(path) => self.exact.edit(path, seed, insert),
            PathMatch::Prefix(prefix) => self.prefix.edit(prefix_key(prefix), seed, insert),
            PathMatch::Regex(_) => self.regex.insert(entry.clone()),
            PathMatch::GrpcMethod(method) => match method {
                StringMatch::Exact(method) => self.methods.get_or_insert_default().exact.edit(method, seed, insert),
                StringMatch::Regex(_) => self.methods.get_or_insert_default().regex.insert(entry.clone()),
            },
        }
    }

    fn remove(&mut self, entry: &Entry<T>, seed: u64) {
        match &entry.matched().path {
            PathMatch::Exact(path) => self.exact.edit(path, seed, |set| set.remove(entry, seed)),
            PathMatch::Prefix(prefix) => self.prefix.edit(prefix_key(prefix), seed, |set| set.remove(entry, seed)),
            PathMatch::Regex(_) => {
                self.regex.remove(entry);
            }
            PathMatch::GrpcMethod(method) => {
                let Some(methods) = &mut self.methods else { return };
                match method {
                    StringMatch::Exact(method) => methods.exact.edit(method, seed, |set| set.remove(entry, seed)),
                    StringMatch::Regex(_) => {
                        methods.regex.remove(entry);
                    }
                }
                if methods.exact.is_empty() && methods.regex.is_empty() {
                    self.methods = None;
                }
            }
        }
    }
}

impl<T> Methods<T> {
    fn find(&self, path: &str, probe: &Probe<'_>, seed: u64) -> Option<&Entry<T>> {
        let method = grpc_method(path)?;
        let exact = self.exact.get(method).and_then(|set| set.find(probe, seed));
        exact.or_else(|| {
            self.regex.find(|entry| {
                let matched = entry.matched();
                matched.path.matches(path) && probe.meets(matched)
            })
        })
    }
}

/// What comes before the last slash among the first `within` bytes: the next shorter prefix. Elements are short: looking
/// byte by byte is cheaper than a search routine.
fn cut(path: &str, within: usize) -> &str {
    path.as_bytes()[..within].iter().rposition(|&byte| byte == b'/').map_or("", |at| &path[..at])
}

fn prefix_key(prefix: &str) -> &str {
    if prefix == "/" { "" } else { prefix }
}

impl<T> Content for HostTable<T> {
    fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self { groups: Vec::new() }
    }
}

impl<T> Clone for HostTable<T> {
    fn clone(&self) -> Self {
        Self { groups: self.groups.clone() }
    }
}

impl<T> Clone for Group<T> {
    fn clone(&self) -> Self {
        Self {
            written: self.written.clone(),
            exact: self.exact.clone(),
            regex: self.regex.clone(),
            prefix: self.prefix.clone(),
            methods: self.methods.clone(),
        }
    }
}

impl<T> Default for Methods<T> {
    fn default() -> Self {
        Self { exact: Table::default(), regex: Listing::default() }
    }
}

impl<T> Clone for Methods<T> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), regex: self.regex.clone() }
    }
}
