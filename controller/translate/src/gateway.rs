//! Gateways of our classes: their listeners beside each other, and what routes and the data plane get to see of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use gateway_api::gateways::{Gateway, GatewayListeners};
use portcullis_ir::{
    Certificate, CertificateKey, GatewayKey, HostPattern, Listener, ListenerKey, ListenerProtocol, TlsTermination,
};

use crate::addresses::{Claims, InvalidAddress, bind_addresses};
use crate::certificates;
use crate::class::ClassPlan;
use crate::condition::{ConditionType, Reason, State, Verdict};
use crate::conflicts::{Distinction, conflicts, overlaps};
use crate::listener::{InvalidListener, SoundListener, SoundProtocol, check};
use crate::memo::{Memo, share};
use crate::namespaces::AllowedNamespaces;
use crate::parameters::{self, InvalidParameters, Parameters};
use crate::world::World;
use crate::{NamespacedName, Settings};

/// What a Gateway comes to.
pub(crate) struct GatewayPlan {
    pub(crate) key: GatewayKey,
    pub(crate) listeners: Vec<ListenerPlan>,
    pub(crate) certificates: BTreeMap<CertificateKey, Arc<Certificate>>,
    pub(crate) verdicts: Vec<Verdict>,
}

pub(crate) struct ListenerPlan {
    pub(crate) name: Arc<str>,
    /// None if there is nothing that a data plane could do with it.
    pub(crate) listener: Option<Arc<Listener>>,
    /// Kinds that may attach; empty for a listener that is not accepted.
    pub(crate) supported_kinds: Vec<&'static str>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// What routes see of a Gateway: nothing that changes with its certificates or messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AttachPoints {
    pub(crate) key: GatewayKey,
    pub(crate) points: Vec<AttachPoint>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AttachPoint {
    pub(crate) listener: ListenerKey,
    pub(crate) port: i32,
    /// What it takes; none for a listener that is not accepted, which takes nothing.
    pub(crate) takes: Option<Takes>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Takes {
    pub(crate) hostname: HostPattern,
    pub(crate) http_routes: bool,
    pub(crate) namespaces: AllowedNamespaces,
}

/// Why a Gateway is not accepted as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidGateway {
    #[error("{0}")]
    Parameters(#[from] InvalidParameters),
    #[error("{0}")]
    Address(#[from] InvalidAddress),
    #[error("no listener is valid; see the conditions of each")]
    Listeners,
}

impl InvalidGateway {
    fn reason(&self) -> Reason {
        match self {
            Self::Parameters(_) => Reason::InvalidParameters,
            Self::Address(_) => Reason::UnsupportedAddress,
            Self::Listeners => Reason::ListenersNotValid,
        }
    }
}

/// Plans one Gateway. `claims` holds what older Gateways bind.
pub(crate) fn plan(
    world: &World<'_>,
    settings: &Settings,
    memo: &mut Memo,
    claims: &mut Claims,
    name: &NamespacedName,
    gateway: &Gateway,
    (class_name, class): (&str, &ClassPlan),
) -> (GatewayPlan, AttachPoints) {
    let key = GatewayKey::from(name);
    let parameters = resolve_parameters(world, name, gateway, class_name, class);
    let addresses = bind_addresses(gateway, settings);
    let mut checked = check_all(gateway);
    judge_conflicts(&mut checked);
    // What is not accepted as a whole binds nothing.
    let sound_whole = parameters.is_ok() && addresses.is_ok();
    let bind = addresses.as_deref().unwrap_or_default();
    if sound_whole && settings.bind_addresses {
        for listener in &mut checked {
            if let Ok(sound) = &listener.judged
                && let Err(error) = claims.claim(&key, bind, sound.port)
            {
                listener.judged = Err(Rejected::Invalid(error));
            }
        }
    }

    let mut certificates = BTreeMap::new();
    let mut build = Builder { world, memo, key: &key, bind, certificates: &mut certificates };
    let whole = parameters.as_ref().ok().filter(|_| sound_whole);
    let overlapping = overlaps(&checked.iter().map(Checked::distinction).collect::<Vec<_>>());
    let listeners: Vec<_> =
        checked.iter().zip(overlapping).map(|(listener, overlaps)| build.listener(listener, overlaps, whole)).collect();

    let points = AttachPoints { key: key.clone(), points: checked.iter().map(|one| one.attach_point(&key)).collect() };
    let accepted = match (parameters, addresses) {
        (Err(error), _) => Err(InvalidGateway::Parameters(error)),
        (_, Err(error)) => Err(InvalidGateway::Address(error)),
        _ if checked.iter().all(|listener| listener.judged.is_err()) => Err(InvalidGateway::Listeners),
        _ => Ok(()),
    };
    let verdicts = verdicts(accepted, gateway, &checked, &listeners);
    (GatewayPlan { key, listeners, certificates, verdicts }, points)
}

/// A listener with what was found about it so far.
struct Checked<'a> {
    name: Arc<str>,
    written: &'a GatewayListeners,
    judged: Result<SoundListener<'a>, Rejected>,
}

enum Rejected {
    Invalid(InvalidListener),
    Conflict(Reason),
}

impl Checked<'_> {
    fn distinction(&self) -> Option<Distinction> {
        self.judged.as_ref().ok().map(|sound| Distinction {
            port: sound.port,
            tls: matches!(sound.protocol, SoundProtocol::Https(_)),
            hostname: sound.hostname.clone(),
        })
    }

    fn attach_point(&self, gateway: &GatewayKey) -> AttachPoint {
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
fn check_all(gateway: &Gateway) -> Vec<Checked<'_>> {
    let mut checked: Vec<Checked<'_>> = Vec::with_capacity(gateway.spec.listeners.len());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for listener in &gateway.spec.listeners {
        if let Some(at) = seen.get(listener.name.as_str()) {
            checked[*at].judged = Err(Rejected::Invalid(InvalidListener::DuplicateName));
            continue;
        }
        seen.insert(&listener.name, checked.len());
        let judged = check(gateway, listener).map_err(Rejected::Invalid);
        checked.push(Checked { name: listener.name.as_str().into(), written: listener, judged });
    }
    checked
}

fn judge_conflicts(checked: &mut [Checked<'_>]) {
    let found = conflicts(&checked.iter().map(Checked::distinction).collect::<Vec<_>>());
    for (listener, conflict) in checked.iter_mut().zip(found) {
        if let Some(reason) = conflict {
            listener.judged = Err(Rejected::Conflict(reason));
        }
    }
}

fn resolve_parameters(
    world: &World<'_>,
    name: &NamespacedName,
    gateway: &Gateway,
    class_name: &str,
    class: &ClassPlan,
) -> Result<Parameters, InvalidParameters> {
    let of_class = class
        .parameters
        .as_ref()
        .map_err(|error| InvalidParameters::Class { class: class_name.to_owned(), why: error.to_string() })?;
    match gateway.spec.infrastructure.as_ref().and_then(|infrastructure| infrastructure.parameters_ref.as_ref()) {
        None => Ok(of_class.clone()),
        Some(reference) => {
            let namespace = &name.namespace;
            let own = parameters::resolve(world.inputs, &reference.group, &reference.kind, namespace, &reference.name);
            Ok(own?.over(of_class))
        }
    }
}

struct Builder<'b, 'w> {
    world: &'b World<'w>,
    memo: &'b mut Memo,
    key: &'b GatewayKey,
    bind: &'b [IpAddr],
    certificates: &'b mut BTreeMap<CertificateKey, Arc<Certificate>>,
}

impl Builder<'_, '_> {
    /// `whole` are the Gateway's parameters, none if it is not accepted.
    fn listener(&mut self, checked: &Checked<'_>, overlaps: bool, whole: Option<&Parameters>) -> ListenerPlan {
        let name = Arc::clone(&checked.name);
        let sound = match &checked.judged {
            Ok(sound) => sound,
            Err(rejected) => {
                let verdicts = rejected.verdicts();
                return ListenerPlan { name, listener: None, supported_kinds: Vec::new(), verdicts };
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
        let key = ListenerKey::new(self.key.clone(), Arc::clone(&name));
        let listener = whole.map(|parameters| {
            let listener = Listener {
                key: key.clone(),
                addresses: self.bind.to_vec(),
                port: sound.port,
                hostname: sound.hostname.clone(),
                protocol,
                proxy_protocol: parameters.proxy_protocol(sound.port),
            };
            share(&mut self.memo.listeners, &key, listener)
        });
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
}

fn kinds(sound: &SoundListener<'_>) -> Vec<&'static str> {
    if sound.http_routes { vec!["HTTPRoute"] } else { Vec::new() }
}

/// Not yet known: [`crate::programmed`] completes it from the data planes' acknowledgements.
fn pending() -> Verdict {
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

fn verdicts(
    accepted: Result<(), InvalidGateway>,
    gateway: &Gateway,
    checked: &[Checked<'_>],
    listeners: &[ListenerPlan],
) -> Vec<Verdict> {
    let programmed = match &accepted {
        Err(_) => Verdict::no(ConditionType::Programmed, Reason::Invalid, "the Gateway is not accepted"),
        Ok(()) if listeners.iter().any(ListenerPlan::awaits_data_plane) => pending(),
        Ok(()) => Verdict::no(ConditionType::Programmed, Reason::Invalid, "no listener can be programmed; see each"),
    };
    let rejected = checked.iter().filter(|listener| listener.judged.is_err()).map(|listener| &*listener.name);
    let rejected: BTreeSet<&str> = rejected.collect();
    let accepted = match accepted {
        Err(error) => Verdict::no(ConditionType::Accepted, error.reason(), error.to_string()),
        Ok(()) if rejected.is_empty() => {
            Verdict::yes(ConditionType::Accepted, Reason::Accepted, "the Gateway is valid")
        }
        Ok(()) => {
            let names = rejected.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("listeners {names} are not valid and are not served; the others are");
            Verdict::yes(ConditionType::Accepted, Reason::ListenersNotValid, message)
        }
    };
    vec![accepted, programmed, resolved_refs(gateway, listeners)]
}

/// "Resolve all the object references for the Gateway that are not part of a specific Listener configuration, and also
/// … a positive-polarity summary of Listener's ResolvedRefs" (`GatewayConditionResolvedRefs`).
fn resolved_refs(gateway: &Gateway, listeners: &[ListenerPlan]) -> Verdict {
    let kind = ConditionType::ResolvedRefs;
    let backend = gateway.spec.tls.as_ref().and_then(|tls| tls.backend.as_ref());
    if backend.is_some_and(|backend| backend.client_certificate_ref.is_some()) {
        let message =
            "tls.backend.clientCertificateRef is not supported yet and no certificate is presented; remove it";
        return Verdict::no(kind, Reason::InvalidClientCertificateRef, message);
    }
    let unresolved = listeners.iter().filter(|listener| {
        listener.verdicts.iter().any(|verdict| verdict.kind == kind && verdict.state == State::False)
    });
    let names: Vec<&str> = unresolved.map(|listener| &*listener.name).collect();
    if names.is_empty() {
        return Verdict::yes(kind, Reason::ResolvedRefs, "all references are resolved");
    }
    Verdict::no(kind, Reason::ListenersNotResolved, format!("see ResolvedRefs of listeners {}", names.join(", ")))
}

impl ListenerPlan {
    fn awaits_data_plane(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.reason == Reason::Pending)
    }
}
