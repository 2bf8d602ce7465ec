//! What most limits are: the only one of its place, counted by each replica for itself in a window, under one header or the
//! client's address, without a word to the client. All that it needs stands together here; it says yes, or nothing.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use portcullis_ir::{LimitHeaders, LimitScope};

use crate::counter::Counters;
use crate::key::{Part, Secret, hash_bytes, header};
use crate::rule::Rule;
use crate::shape::Shape;
use crate::time::Time;

#[derive(Debug)]
pub(crate) struct Quick {
    key: Part,
    cost: u64,
    shape: Shape,
    mark: u32,
    counters: Arc<Counters>,
    secret: Arc<Secret>,
}

impl Quick {
    /// Of the only rule of a place. None: it is not so simple.
    pub(crate) fn of(rule: &Rule) -> Option<Self> {
        let ([key @ (Part::Header(_) | Part::ClientIp { .. })], Some(cost)) = (rule.key(), rule.fixed_cost()) else {
            return None;
        };
        let [shape @ Shape::Window(_)] = &rule.sole_plan()?.shapes[..] else { return None };
        let silent = rule.response.headers == LimitHeaders::None;
        let enforced = !rule.shadow && matches!(rule.scope, LimitScope::Replica);
        (silent && enforced && rule.applies_always()).then(|| Self {
            key: key.clone(),
            cost,
            shape: *shape,
            mark: shape.mark(),
            counters: Arc::clone(&rule.counters),
            secret: rule.secret(),
        })
    }

    /// Whether the request passes; it is counted then. Else nothing was, and the rule itself has to be asked: the key is
    /// missing or was never seen, nothing is left, or somebody counts under the same key.
    #[inline]
    pub(crate) fn pass(&self, headers: &HeaderMap, client: IpAddr, now: Time) -> bool {
        let mut hasher = self.secret.hasher();
        match &self.key {
            Part::Header(name) => match header(headers, name) {
                Some(value) if !value.is_empty() => hash_bytes(&mut hasher, &value),
                _ => return false,
            },
            address => match address.network(client.to_canonical()) {
                Some(network) => network.hash(&mut hasher),
                None => return false,
            },
        }
        let Some(slot) = self.counters.own.first().and_then(|table| table.seen(hasher.finish(), self.mark)) else {
            return false;
        };
        let word = slot.word();
        let Some(next) = self.shape.advance(word, self.cost, now) else { return false };
        if word != next && slot.exchange(word, next, now).is_err() {
            return false;
        }
        self.counters.tally.allowed.increment();
        true
    }
}
