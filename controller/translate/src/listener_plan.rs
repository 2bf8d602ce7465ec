//! One listener as a data plane gets it, and its conditions.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use gateway_api::gateways::GatewayListenersTls;
use portcullis_ir::{
    BackendKey, Certificate, CertificateKey, ClientValidation, ClientValidationMode, ExternalAuth, HostPattern,
    Listener, ListenerKey, ListenerProtocol, TlsTermination,
};

use crate::cache::share;
use crate::certificates::{self, Referrer};
use crate::client_validation::Validation;
use crate::condition::{ConditionType, Reason, State, Verdict};
use crate::listener::{Denies, SoundListener, SoundProtocol};
use crate::listener_filters::{self, Resolved};
use crate::listeners::{Checked, Rejected};
use crate::memo::Memo;
use crate::parameters::Parameters;
use crate::world::World;

pub(crate) struct ListenerPlan {
    pub(crate) key: ListenerKey,
    /// None if there is nothing that a data plane could do with it.
    pub(crate) listener: Option<Arc<Listener>>,
    /// Kinds that may attach; empty for a listener that is rejected.
    pub(crate) supported_kinds: Vec<&'static str>,
    /// What its filters ask.
    pub(crate) backends: Vec<BackendKey>,
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
        let key = checked.key.clone();
        let sound = match &checked.judged {
            Ok(sound) => sound,
            Err(rejected) => {
                let refusing = checked.denies.clone().zip(whole);
                let listener = refusing.map(|(Denies { port, hostname, https }, parameters)| {
                    let nothing = TlsTermination { certificates: Vec::new(), client_validation: None };
                    let (protocol, external) = if https {
                        (ListenerProtocol::Https(nothing), Vec::new())
                    } else {
                        (ListenerProtocol::Http, vec![listener_filters::closed()])
                    };
                    self.build(&key, port, hostname, protocol, external, parameters)
                });
                let verdicts = rejected.verdicts(key.set.is_some());
                return ListenerPlan { key, listener, supported_kinds: Vec::new(), backends: Vec::new(), verdicts };
            }
        };
        let mut resolved =
            Verdict::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs, "all references are resolved");
        let mut usable = true;
        let protocol = match sound.protocol {
            SoundProtocol::Http => ListenerProtocol::Http,
            SoundProtocol::TlsPassthrough => ListenerProtocol::TlsPassthrough,
            SoundProtocol::Tcp => ListenerProtocol::Tcp,
            SoundProtocol::Udp => ListenerProtocol::Udp,
            SoundProtocol::Https(tls) => {
                let keys = self.resolve(&key, tls, &mut resolved);
                usable = !keys.is_empty();
                ListenerProtocol::Https(validated(keys, checked.validation))
            }
            SoundProtocol::TlsTerminate(tls) => {
                let keys = self.resolve(&key, tls, &mut resolved);
                usable = !keys.is_empty();
                ListenerProtocol::TlsTerminate(validated(keys, None))
            }
        };
        let validation_problem = checked.validation.and_then(|validation| validation.problem(key.set.is_some()));
        if let Some((reason, problem)) = validation_problem {
            resolved = match resolved.state {
                State::True => Verdict::no(ConditionType::ResolvedRefs, reason, problem),
                _ => {
                    let both = format!("{}; {problem}", resolved.message);
                    Verdict::no(ConditionType::ResolvedRefs, resolved.reason, both)
                }
            };
        }
        let Resolved { external, backends, problem } = sound.filters.resolve(self.world, &key);
        if resolved.state == State::True {
            resolved = problem.unwrap_or(resolved);
        }
        if resolved.state == State::True && !sound.unknown_kinds.is_empty() {
            let kinds = sound.unknown_kinds.join(", ");
            let message = format!("no route of kind {kinds} can attach; remove it from allowedRoutes.kinds");
            resolved = Verdict::no(ConditionType::ResolvedRefs, Reason::InvalidRouteKinds, message);
        }
        let hostname = sound.hostname.clone();
        let listener = whole.map(|parameters| self.build(&key, sound.port, hostname, protocol, external, parameters));
        let accepted = if checked.is_accepted() {
            Verdict::yes(ConditionType::Accepted, Reason::Accepted, "the listener is valid")
        } else {
            let message = "no CA certificate is usable to judge clients by, so every handshake is refused; see \
                           ResolvedRefs";
            Verdict::no(ConditionType::Accepted, Reason::NoValidCaCertificate, message)
        };
        let programmed = match (&listener, usable) {
            (None, _) => Verdict::no(ConditionType::Programmed, Reason::Invalid, "the Gateway is not accepted"),
            _ if accepted.state == State::False => {
                Verdict::no(ConditionType::Programmed, Reason::Invalid, "the listener is not accepted")
            }
            (_, false) => {
                let message = "no certificate is usable, so every handshake is refused; see ResolvedRefs";
                Verdict::no(ConditionType::Programmed, Reason::Invalid, message)
            }
            _ => pending(),
        };
        let mut verdicts = vec![
            accepted,
            programmed,
            resolved,
            Verdict::no(ConditionType::Conflicted, Reason::NoConflicts, "no other listener conflicts"),
        ];
        if overlaps {
            let message = "another listener of this port has an overlapping hostname; clients may reuse a connection \
                           for both, and then get 421";
            verdicts.push(Verdict::yes(ConditionType::OverlappingTlsConfig, Reason::OverlappingHostnames, message));
        }
        ListenerPlan { key, listener, supported_kinds: kinds(sound), backends, verdicts }
    }

    /// The certificates of a listener. What a ListenerSet names is its own business: a grant to the Gateway does not
    /// count ("ReferenceGrants applied to a Gateway are not inherited by child ListenerSets", `ListenerSet`).
    fn resolve(&mut self, key: &ListenerKey, tls: &GatewayListenersTls, resolved: &mut Verdict) -> Vec<CertificateKey> {
        let from = match &key.set {
            None => Referrer { kind: "Gateway", namespace: &key.gateway.namespace },
            Some(set) => Referrer { kind: "ListenerSet", namespace: &set.namespace },
        };
        let found = certificates::resolve(self.world, &mut self.memo.secrets, from, tls, self.certificates);
        *resolved = found.verdict();
        found.keys
    }

    fn build(
        &mut self,
        key: &ListenerKey,
        port: u16,
        hostname: HostPattern,
        protocol: ListenerProtocol,
        external: Vec<ExternalAuth>,
        parameters: &Parameters,
    ) -> Arc<Listener> {
        let addresses = self.bind.to_vec();
        let proxy_protocol = parameters.proxy_protocol(port);
        let listener = Listener {
            key: key.clone(),
            addresses,
            port,
            hostname,
            protocol,
            proxy_protocol,
            limits: None,
            auth: None,
            external,
        };
        share(&mut self.memo.listeners, key, listener)
    }
}

/// Without roots to judge clients by nobody is taken, as without certificates.
fn validated(certificates: Vec<CertificateKey>, validation: Option<&Validation>) -> TlsTermination {
    match validation.map(Validation::usable) {
        None => TlsTermination { certificates, client_validation: None },
        Some(Some(validation)) => TlsTermination { certificates, client_validation: Some(validation) },
        Some(None) => {
            let nobody = ClientValidation { roots: Vec::new(), mode: ClientValidationMode::Require };
            TlsTermination { certificates: Vec::new(), client_validation: Some(nobody) }
        }
    }
}

fn kinds(sound: &SoundListener<'_>) -> Vec<&'static str> {
    sound.kinds.iter().map(|kind| kind.as_str()).collect()
}

/// Not yet known: [`crate::programmed`] completes it from the data planes' acknowledgements.
pub(crate) fn pending() -> Verdict {
    let message = "waiting for the data plane".into();
    Verdict { kind: ConditionType::Programmed, state: State::Unknown, reason: Reason::Pending, message }
}

impl Rejected {
    fn verdicts(&self, of_set: bool) -> Vec<Verdict> {
        let (reason, message) = match self {
            Self::Invalid(error) => (error.reason(), error.to_string()),
            Self::Conflict(Reason::ProtocolConflict) => (
                Reason::ProtocolConflict,
                "another listener has this port and cannot share it; use two ports".to_owned(),
            ),
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
        // Entries of ListenerSets repeat the conflict, as the conformance tests have it.
        let programmed = match self {
            Self::Conflict(reason) if of_set => *reason,
            _ => Reason::Invalid,
        };
        vec![
            Verdict::no(ConditionType::Accepted, reason, message),
            Verdict::no(ConditionType::Programmed, programmed, "the listener is not accepted"),
            Verdict::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs, "all references are resolved"),
            conflicted,
        ]
    }
}
