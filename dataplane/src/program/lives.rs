//! Which listeners of streams are there, as their connections know it.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_ir as ir;

use crate::listen::{Life, LifeGuard};

/// Outlives programs, and a compiler that starts anew.
#[derive(Debug, Default)]
pub(super) struct Lives(BTreeMap<ir::ListenerKey, (Arc<ir::Listener>, LifeGuard)>);

impl Lives {
    /// Ends those of listeners that are gone, or that serve something else or elsewhere, and begins those of new ones.
    pub(super) fn follow(
        &mut self,
        listeners: &ir::Table<ir::ListenerKey, ir::Listener>,
    ) -> Arc<BTreeMap<ir::ListenerKey, Life>> {
        self.0.retain(|key, (was, guard)| {
            let stays = listeners.get(key).is_some_and(|is| is_same(was, is));
            if !stays {
                guard.end();
            }
            stays
        });
        for (key, listener) in listeners.iter().filter(|(_, listener)| hands_on(&listener.protocol)) {
            self.0.entry(key.clone()).or_insert_with(|| (Arc::clone(listener), LifeGuard::new()));
        }
        Arc::new(self.0.iter().map(|(key, (_, guard))| (key.clone(), guard.life())).collect())
    }
}

/// UDP listeners have their port to themselves: it ends with them.
fn hands_on(protocol: &ir::ListenerProtocol) -> bool {
    matches!(
        protocol,
        ir::ListenerProtocol::TlsPassthrough | ir::ListenerProtocol::TlsTerminate(_) | ir::ListenerProtocol::Tcp
    )
}

/// Whether connections of the one are connections of the other. What is asked of new ones alone (hostname, certificates)
/// is of no account.
fn is_same(was: &ir::Listener, is: &ir::Listener) -> bool {
    was.port == is.port
        && was.addresses == is.addresses
        && std::mem::discriminant(&was.protocol) == std::mem::discriminant(&is.protocol)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::FutureExt;

    use super::*;

    fn listener(port: u16, protocol: ir::ListenerProtocol, hostname: &str) -> ir::Listener {
        ir::Listener {
            key: ir::ListenerKey::new(ir::GatewayKey::new("ns", "gw"), "tls"),
            addresses: Vec::new(),
            port,
            hostname: ir::HostPattern::parse(hostname).unwrap(),
            protocol,
            proxy_protocol: false,
            limits: None,
            auth: None,
            external: Vec::new(),
        }
    }

    #[test]
    fn a_listener_lives_until_it_goes_or_serves_something_else() {
        let first = listener(443, ir::ListenerProtocol::TlsPassthrough, "");
        for (next, lives) in [
            (Some(listener(443, ir::ListenerProtocol::TlsPassthrough, "a.example")), true),
            (Some(listener(444, ir::ListenerProtocol::TlsPassthrough, "")), false),
            (Some(listener(443, ir::ListenerProtocol::Tcp, "")), false),
            (None, false),
        ] {
            let world = |listener: Option<ir::Listener>| -> ir::Table<_, _> {
                listener.into_iter().map(|listener| (listener.key.clone(), Arc::new(listener))).collect()
            };
            let mut followed = Lives::default();
            let mut life = followed.follow(&world(Some(first.clone())))[&first.key].clone();
            let after = followed.follow(&world(next.clone()));
            assert_eq!(life.ended().now_or_never().is_none(), lives, "{next:?}");
            assert_eq!(after.len(), usize::from(next.is_some()), "{next:?}");
        }
    }
}
