//! What leads from one snapshot to another.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_ir::{Config, Delta, Live, Resource, ResourceKey, Snapshot};

/// The smallest delta for which `from.apply(diff(from, to))` makes `from == to`. Values that share an [`Arc`] are not
/// looked into, so comparing neighbours costs a walk over pointers.
pub fn diff(from: &Snapshot, to: &Snapshot) -> Delta {
    let Snapshot {
        config: Config { listeners, routes, stream_routes, backends },
        live: Live { endpoints, certificates, stores, credentials, issuers },
    } = from;
    let mut delta = Delta::default();
    compare(listeners, &to.config.listeners, &mut delta, Resource::Listener, ResourceKey::Listener);
    compare(routes, &to.config.routes, &mut delta, Resource::Route, ResourceKey::Route);
    compare(stream_routes, &to.config.stream_routes, &mut delta, Resource::StreamRoute, ResourceKey::StreamRoute);
    compare(backends, &to.config.backends, &mut delta, Resource::Backend, ResourceKey::Backend);
    compare(endpoints, &to.live.endpoints, &mut delta, Resource::Endpoints, ResourceKey::Endpoints);
    compare(certificates, &to.live.certificates, &mut delta, Resource::Certificate, ResourceKey::Certificate);
    compare(stores, &to.live.stores, &mut delta, Resource::Store, ResourceKey::Store);
    compare(credentials, &to.live.credentials, &mut delta, Resource::Credential, ResourceKey::Credential);
    compare(issuers, &to.live.issuers, &mut delta, Resource::Issuer, ResourceKey::Issuer);
    delta
}

/// Walks two maps side by side.
fn compare<K: Ord + Clone, V: PartialEq>(
    from: &BTreeMap<K, Arc<V>>,
    to: &BTreeMap<K, Arc<V>>,
    delta: &mut Delta,
    resource: impl Fn(Arc<V>) -> Resource,
    key: impl Fn(K) -> ResourceKey,
) {
    let mut old = from.iter().peekable();
    let mut new = to.iter().peekable();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            // A value holds its own key: one value stands under one key.
            (Some((_, before)), Some((_, after))) if Arc::ptr_eq(before, after) => Ordering::Equal,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        match (before, after) {
            (Some((_, before)), Some((_, after))) if Arc::ptr_eq(before, after) || before == after => {}
            (_, Some((_, after))) => delta.upserts.push(resource(Arc::clone(after))),
            (Some((gone, _)), None) => delta.removals.push(key(gone.clone())),
            (None, None) => {}
        }
    }
}
