//! One listener as a data plane gets it, and its conditions.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use portcullis_ir::{
    Certificate, CertificateKey, GatewayKey, HostPattern, Listener, ListenerKey, ListenerProtocol, TlsTermination,
};

use crate::certificates;
use crate::condition::{ConditionType, Reason, State, Verdict};
use crate::listener::{SoundListener, SoundProtocol};
use crate::listeners::{Checked, Rejected};
use crate::memo::{Memo, share};
use crate::parameters::Parameters;
use crate::world::World;

pub(crate) struct ListenerPlan {
    pub(crate) name: Arc<str>,
    /// None if there is nothing that a data plane could do with it.
    pub(crate) listener: Option<Arc<Listener>>,
    /// Kinds that may attach; empty for a listener that is not accepted.
    pub(crate) supported_kinds: Vec<&'static str>,
    pub(crate) verdicts: Vec<Verdict>,
}

impl ListenerPlan {
    pub(crate) fn awaits_data_plane(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.reason == Reason::Pending)
    }
}

pub(crate) struct Builder<'b, 'w> {
    pub(crate) world: &'b World<'w>,
    pub(crate) memo: &'b mut Memo,
    pub(crate) key: &'b GatewayKey,
    pub(crate) bind: &'b [IpAddr],
    pub(crate) certificates: &'b mut BTreeMap<CertificateKey, Arc<Certificate>>,
}

impl Builder<'_, '_> {
    /// `whole` are the Gateway's parameters, none if it is not accepted.
    pub(crate) fn listener(
        &mut self,
        checked: &Checked<'_>,
        overlaps: bool,
        whole: Option<&Parameters>,
    ) -> ListenerPlan {
        let name = Arc::clone(&checked.name);
        let sound = match &checked.judged {
            Ok(sound) => sound,
            Err(rejected) => {
                let refusing = checked.denies.clone().zip(whole);
                let listener = refusing.map(|((port, hostname), parameters)| {
                    let nothing = TlsTermination { certificates: Vec::new() };
                    self.build(&name, port, hostname, ListenerProtocol::Https(nothing), parameters)
                });
                return ListenerPlan { name, listener, supported_kinds: Vec::new(), verdicts: rejected.verdicts() };
            }
        };
        let mut resolved =
            Verdict::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs, "all references are resolved");
        let mut usable = true;
        let protocol = match sound.protocol {
            SoundProtocol::Http => ListenerProtocol::Http,
            SoundProtocol::Https(tls) => {
                let secrets = &mut self.memo.secrets;
                let found = certificates::resolve(self.world, secrets, &self.key.namespace, tls, self.certificates);
                resolved = found.verdict();
                usable = !found.keys.is_empty();
                ListenerProtocol::Https(TlsTermination { certificates: found.keys })
            }
        };
        if resolved.state == State::True && !sound.unknown_kinds.is_empty() {
            let kinds = sound.unknown_kinds.join(", ");
            let message = format!("no route of kind {kinds} can attach; remove it from allowedRoutes.kinds");
            resolved = Verdict::no(ConditionType::ResolvedRefs, Reason::InvalidRouteKinds, message);
        }
        let hostname = sound.hostname.clone();
        let listener = whole.map(|parameters| self.build(&name, sound.port, hostname, protocol, parameters));
        let programmed = match (&listener, usable) {
            (None, _) => Verdict::no(ConditionType::Programmed, Reason::Invalid, "the Gateway is not accepted"),
            (_, false) => {
                let message = "no certificate is usable, so every handshake is refused; see ResolvedRefs";
                Verdict::no(ConditionType::Programmed, Reason::Invalid, message)
            }
            _ => pending(),
        };
        let mut verdicts = vec![
            Verdict::yes(ConditionType::Accepted, Reason::Accepted, "the listener is valid"),
            programmed,
            resolved,
            Verdict::no(ConditionType::Conflicted, Reason::NoConflicts, "no other listener conflicts"),
        ];
        if overlaps {
            let message = "another listener of this port has an overlapping hostname; clients may reuse a connection \
                           for both, and then get 421";
            verdicts.push(Verdict::yes(ConditionType::OverlappingTlsConfig, Reason::OverlappingHostnames, message));
        }
        ListenerPlan { name, listener, supported_kinds: kinds(sound), verdicts }
    }

    fn build(
        &mut self,
        name: &Arc<str>,
        port: u16,
        hostname: HostPattern,
        protocol: ListenerProtocol,
        parameters: &Parameters,
    ) -> Arc<Listener> {
        let key = ListenerKey::new(self.key.clone(), Arc::clone(name));
        let addresses = self.bind.to_vec();
        let proxy_protocol = parameters.proxy_protocol(port);
        let listener = Listener { key: key.clone(), addresses, port, hostname, protocol, proxy_protocol };
        share(&mut self.memo.listeners, &key, listener)
    }
}

fn kinds(sound: &SoundListener<'_>) -> Vec<&'static str> {
    if sound.http_routes { vec!["HTTPRoute"] } else { Vec::new() }
}

/// Not yet known: [`crate::programmed`] completes it from the data planes' acknowledgements.
pub(crate) fn pending() -> Verdict {
    let message = "waiting for the data plane".into();
    Verdict { kind: ConditionType::Programmed, state: State::Unknown, reason: Reason::Pending, message }
}

impl Rejected {
    fn verdicts(&self) -> Vec<Verdict> {
        let (reason, message) = match self {
            Self::Invalid(error) => (error.reason(), error.to_string()),
            Self::Conflict(Reason::ProtocolConflict) => {
                (Reason::ProtocolConflict, "a listener of this port has another protocol; use two ports".to_owned())
            }
            Self::Conflict(reason) => {
                (*reason, "a listener of this port has the same hostname; change or remove one".to_owned())
            }
        };
        let conflicted = match self {
            Self::Conflict(reason) => Verdict::yes(ConditionType::Conflicted, *reason, message.clone()),
            Self::Invalid(_) => {
                Verdict::no(ConditionType::Conflicted, Reason::NoConflicts, "no other listener conflicts")
            }
        };
        vec![
            Verdict::no(ConditionType::Accepted, reason, message),
            Verdict::no(ConditionType::Programmed, Reason::Invalid, "the listener is not accepted"),
            Verdict::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs, "all references are resolved"),
            conflicted,
        ]
    }
}
