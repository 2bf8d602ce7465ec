//! Values by host pattern, found by host: exact names first, then wildcards from the longest on, then any.

use portcullis_ir::HostPattern;

use crate::table::{Content, Table};

#[derive(Clone)]
pub(crate) struct HostIndex<V> {
    exact: Table<V>,
    /// By what follows the `*.`.
    wildcard: Table<V>,
    any: V,
}

impl<V: Content> HostIndex<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty() && self.any.is_empty()
    }

    /// The first answer of `ask` over the values of all patterns that match the host, the most specific first.
    pub(crate) fn find<'v, A>(&'v self, host: &str, mut ask: impl FnMut(&'v V) -> Option<A>) -> Option<A> {
        if let Some(answer) = self.exact.get(host).and_then(&mut ask) {
            return Some(answer);
        }
        if !self.wildcard.is_empty() {
            let mut rest = host;
            while let Some((label, suffix)) = rest.split_once('.') {
                // A wildcard stands for something: `.example.com` is not below `example.com`.
                if (rest.len() < host.len() || !label.is_empty())
                    && let Some(answer) = self.wildcard.get(suffix).and_then(&mut ask)
                {
                    return Some(answer);
                }
                rest = suffix;
            }
        }
        ask(&self.any)
    }

    pub(crate) fn edit(&mut self, pattern: &HostPattern, seed: u64, change: impl FnOnce(&mut V)) {
        match pattern {
            HostPattern::Any => change(&mut self.any),
            HostPattern::Wildcard(suffix) => self.wildcard.edit(suffix.as_str(), seed, change),
            HostPattern::Exact(host) => self.exact.edit(host.as_str(), seed, change),
        }
    }
}

impl<V: Content> Default for HostIndex<V> {
    fn default() -> Self {
        Self { exact: Table::default(), wildcard: Table::default(), any: V::default() }
    }
}
