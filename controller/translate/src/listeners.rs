//! The listeners of one Gateway and of the ListenerSets that add to it, beside each other: names, conflicts, and ports
//! that other Gateways have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use gateway_api::gateways::GatewayListeners;
use portcullis_ir::{GatewayKey, ListenerKey, ListenerSetKey};

use crate::addresses::Claims;
use crate::client_validation::{Frontend, Validation};
use crate::condition::Reason;
use crate::conflicts::{Carrier, Claimed, Distinction, conflicts};
use crate::gateway::{AttachPoint, Takes};
use crate::listener::{Denies, InvalidListener, SoundListener, SoundProtocol, check, denied};

/// A listener with what was found about it so far.
pub(crate) struct Checked<'a> {
    pub(crate) key: ListenerKey,
    pub(crate) written: &'a GatewayListeners,
    pub(crate) judged: Result<SoundListener<'a>, Rejected>,
    /// What it has to refuse if it is rejected; see [`denied`].
    pub(crate) denies: Option<Denies>,
    /// How its clients' certificates are judged.
    pub(crate) validation: Option<&'a Validation>,
}

pub(crate) enum Rejected {
    Invalid(InvalidListener),
    Conflict(Reason),
}

impl Checked<'_> {
    /// Sound, without conflict, and able to judge certificates if it has to.
    pub(crate) fn is_accepted(&self) -> bool {
        self.judged.is_ok() && self.validation.is_none_or(Validation::is_usable)
    }

    pub(crate) fn distinction(&self) -> Option<Distinction> {
        match (&self.judged, &self.denies) {
            (Ok(sound), _) => Some(Distinction {
                port: sound.port,
                carrier: sound.protocol.carrier(),
                hostname: sound.hostname.clone(),
            }),
            (Err(_), Some(Denies { port, hostname, https })) => {
                let carrier = if *https { Carrier::Https } else { Carrier::Http };
                Some(Distinction { port: *port, carrier, hostname: hostname.clone() })
            }
            (Err(_), None) => None,
        }
    }

    /// For what the other listeners are or other Gateways have: then it is not even there to refuse.
    fn reject(&mut self, why: Rejected) {
        self.judged = Err(why);
        self.denies = None;
    }

    pub(crate) fn attach_point(&self) -> AttachPoint {
        AttachPoint {
            listener: self.key.clone(),
            port: self.written.port,
            takes: self.judged.as_ref().ok().map(|sound| Takes {
                hostname: sound.hostname.clone(),
                kinds: sound.kinds.clone(),
                namespaces: sound.namespaces.clone(),
            }),
        }
    }
}

/// Each listener of one object by itself. Of several with one name the first stands for all, and none is accepted:
/// statuses and parentRefs could not tell them apart.
pub(crate) fn check_all<'a>(
    listeners: &'a [GatewayListeners],
    gateway: &GatewayKey,
    set: Option<&ListenerSetKey>,
) -> Vec<Checked<'a>> {
    let mut checked: Vec<Checked<'_>> = Vec::with_capacity(listeners.len());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for listener in listeners {
        if let Some(at) = seen.get(listener.name.as_str()) {
            checked[*at].reject(Rejected::Invalid(InvalidListener::DuplicateName));
            continue;
        }
        seen.insert(&listener.name, checked.len());
        let key = ListenerKey { gateway: gateway.clone(), set: set.cloned(), name: Arc::from(listener.name.as_str()) };
        let judged = check(listener);
        let denies = judged.as_ref().err().and_then(|error| denied(listener, error));
        let judged = judged.map_err(Rejected::Invalid);
        checked.push(Checked { key, written: listener, judged, denies, validation: None });
    }
    checked
}

/// "Implementations MUST treat the parent Gateway as having the merged list of all listeners from itself and attached
/// ListenerSets using the following precedence: 1. 'parent' Gateway; 2. ListenerSet ordered by creation time (oldest
/// first); 3. ListenerSet ordered alphabetically by '{namespace}/{name}'" (`ListenerSetSpec.listeners`). `sets` are in
/// that order. Within one object nobody comes first, so all that conflict are rejected; what they claim is claimed all
/// the same, so that nobody gets a name by another's mistake.
pub(crate) fn judge_conflicts<'a>(own: &mut [Checked<'a>], sets: &mut [Vec<Checked<'a>>]) {
    let mut claimed = Claimed::default();
    for object in std::iter::once(own).chain(sets.iter_mut().map(Vec::as_mut_slice)) {
        for listener in &mut *object {
            let taken = listener.distinction().and_then(|distinction| claimed.conflict(&distinction, 0));
            if let Some(reason) = taken {
                listener.reject(Rejected::Conflict(reason));
            }
        }
        let left: Vec<_> = object.iter().map(Checked::distinction).collect();
        for (listener, conflict) in object.iter_mut().zip(conflicts(&left)) {
            if let Some(reason) = conflict {
                listener.reject(Rejected::Conflict(reason));
            }
        }
        left.iter().flatten().for_each(|distinction| claimed.add(distinction));
    }
}

/// In the order written; a port that an older Gateway binds is refused.
pub(crate) fn claim_ports(checked: &mut [Checked<'_>], claims: &mut Claims, gateway: &GatewayKey, bind: &[IpAddr]) {
    for listener in checked {
        if let Some(distinction) = listener.distinction()
            && let Err(error) = claims.claim(gateway, bind, &distinction)
        {
            listener.reject(Rejected::Invalid(error));
        }
    }
}

/// HTTPS listeners ask for certificates as the Gateway's `tls.frontend` says, those of ListenerSets as well.
pub(crate) fn validate_clients<'a>(checked: &mut [Checked<'a>], frontend: &'a Frontend) {
    for listener in checked {
        if let Ok(SoundListener { port, protocol: SoundProtocol::Https(_), .. }) = listener.judged {
            listener.validation = frontend.of_port(port);
        }
    }
}
