//! Gateways of our classes: their listeners beside each other, and what routes and the data plane get to see of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_api::gateways::Gateway;
use portcullis_ir::{Certificate, CertificateKey, GatewayKey, HostPattern, ListenerKey};

use crate::addresses::{Claims, InvalidAddress, bind_addresses};
use crate::class::ClassPlan;
use crate::condition::{ConditionType, Reason, State, Verdict};
use crate::conflicts::overlaps;
use crate::listener_plan::{Builder, ListenerPlan, pending};
use crate::listeners::{Checked, check_all, claim_ports, judge_conflicts};
use crate::memo::Memo;
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
        claim_ports(&mut checked, claims, &key, bind);
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
            own?.over(of_class)
        }
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
