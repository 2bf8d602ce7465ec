//! The listeners of one Gateway beside each other: names, conflicts, and ports that other Gateways have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use gateway_api::gateways::{Gateway, GatewayListeners};
use portcullis_ir::{GatewayKey, HostPattern, ListenerKey};

use crate::addresses::Claims;
use crate::condition::Reason;
use crate::conflicts::{Distinction, conflicts};
use crate::gateway::{AttachPoint, Takes};
use crate::listener::{InvalidListener, SoundListener, SoundProtocol, check, denied};

/// A listener with what was found about it so far.
pub(crate) struct Checked<'a> {
    pub(crate) name: Arc<str>,
    pub(crate) written: &'a GatewayListeners,
    pub(crate) judged: Result<SoundListener<'a>, Rejected>,
    /// What it has to refuse if it is rejected; see [`denied`].
    pub(crate) denies: Option<(u16, HostPattern)>,
}

pub(crate) enum Rejected {
    Invalid(InvalidListener),
    Conflict(Reason),
}

impl Checked<'_> {
    pub(crate) fn distinction(&self) -> Option<Distinction> {
        match (&self.judged, &self.denies) {
            (Ok(sound), _) => Some(Distinction {
                port: sound.port,
                tls: matches!(sound.protocol, SoundProtocol::Https(_)),
                hostname: sound.hostname.clone(),
            }),
            (Err(_), Some((port, hostname))) => {
                Some(Distinction { port: *port, tls: true, hostname: hostname.clone() })
            }
            (Err(_), None) => None,
        }
    }

    /// For what the other listeners are or other Gateways have: then it is not even there to refuse.
    fn reject(&mut self, why: Rejected) {
        self.judged = Err(why);
        self.denies = None;
    }

    pub(crate) fn attach_point(&self, gateway: &GatewayKey) -> AttachPoint {
        AttachPoint {
            listener: ListenerKey::new(gateway.clone(), Arc::clone(&self.name)),
            port: self.written.port,
            takes: self.judged.as_ref().ok().map(|sound| Takes {
                hostname: sound.hostname.clone(),
                http_routes: sound.http_routes,
                namespaces: sound.namespaces.clone(),
            }),
        }
    }
}

/// Each listener by itself. Of several with one name the first stands for all, and none is accepted: statuses and
/// parentRefs could not tell them apart.
pub(crate) fn check_all(gateway: &Gateway) -> Vec<Checked<'_>> {
    let mut checked: Vec<Checked<'_>> = Vec::with_capacity(gateway.spec.listeners.len());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for listener in &gateway.spec.listeners {
        if let Some(at) = seen.get(listener.name.as_str()) {
            checked[*at].reject(Rejected::Invalid(InvalidListener::DuplicateName));
            continue;
        }
        seen.insert(&listener.name, checked.len());
        let judged = check(gateway, listener);
        let denies = judged.as_ref().err().and_then(|error| denied(listener, error));
        let judged = judged.map_err(Rejected::Invalid);
        checked.push(Checked { name: listener.name.as_str().into(), written: listener, judged, denies });
    }
    checked
}

pub(crate) fn judge_conflicts(checked: &mut [Checked<'_>]) {
    let found = conflicts(&checked.iter().map(Checked::distinction).collect::<Vec<_>>());
    for (listener, conflict) in checked.iter_mut().zip(found) {
        if let Some(reason) = conflict {
            listener.reject(Rejected::Conflict(reason));
        }
    }
}

/// In the order written; a port that an older Gateway binds is refused.
pub(crate) fn claim_ports(checked: &mut [Checked<'_>], claims: &mut Claims, gateway: &GatewayKey, bind: &[IpAddr]) {
    for listener in checked {
        if let Some(Distinction { port, .. }) = listener.distinction()
            && let Err(error) = claims.claim(gateway, bind, port)
        {
            listener.reject(Rejected::Invalid(error));
        }
    }
}
