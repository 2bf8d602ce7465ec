//! What leads from one snapshot to another.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use portcullis_ir::{Config, Delta, Live, Resource, ResourceKey, Snapshot, Table};

/// The smallest delta for which `from.apply(diff(from, to))` makes `from == to`. What both share is not looked at: between
/// neighbours work grows with what differs.
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

/// A value holds its own key: one value stands under one key.
fn compare<K: Ord + Clone, V: Eq>(
    from: &Table<K, V>,
    to: &Table<K, V>,
    delta: &mut Delta,
    resource: impl Fn(Arc<V>) -> Resource,
    key: impl Fn(K) -> ResourceKey,
) {
    for item in from.diff(to) {
        match item {
            DiffItem::Add(_, after) | DiffItem::Update { new: (_, after), .. } => {
                delta.upserts.push(resource(Arc::clone(after)));
            }
            DiffItem::Remove(gone, _) => delta.removals.push(key(gone.clone())),
        }
    }
}
