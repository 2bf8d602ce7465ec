//! Gateways of our classes: their listeners and those of ListenerSets beside each other, and what routes and the data plane get to see of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_api::gateways::Gateway;
use portcullis_crds::CounterStore;
use portcullis_ir::{Certificate, CertificateKey, GatewayKey, HostPattern, ListenerKey, RouteKind};

use crate::addresses::{Claims, InvalidAddress, bind_addresses};
use crate::certificates::ClientCertificate;
use crate::class::ClassPlan;
use crate::client_validation::Frontend;
use crate::condition::{ConditionType, Reason, State, Verdict};
use crate::conflicts::overlaps;
use crate::listener_plan::{Builder, ListenerPlan, pending};
use crate::listener_set::{Allowed, Set, SetPlan};
use crate::listeners::{Checked, check_all, claim_ports, judge_conflicts, validate_clients};
use crate::memo::Memo;
use crate::namespaces::AllowedNamespaces;
use crate::parameters::{self, InvalidParameters, Parameters};
use crate::world::World;
use crate::{Kind, NamespacedName, ObjectRef, Settings};

/// What a Gateway comes to.
pub(crate) struct GatewayPlan {
    pub(crate) key: GatewayKey,
    pub(crate) listeners: Vec<ListenerPlan>,
    /// ListenerSets that name it, whether or not it takes them.
    pub(crate) sets: Vec<SetPlan>,
    pub(crate) certificates: BTreeMap<CertificateKey, Arc<Certificate>>,
    /// What is presented to backends that are reached by TLS.
    pub(crate) client_certificate: Option<Arc<Certificate>>,
    /// The store that its data planes count in together, and the namespace of what it names.
    pub(crate) counter_store: Option<(Arc<str>, CounterStore)>,
    pub(crate) verdicts: Vec<Verdict>,
}

impl GatewayPlan {
    /// Its own and those of ListenerSets.
    pub(crate) fn all_listeners(&self) -> impl Iterator<Item = &ListenerPlan> {
        self.listeners.iter().chain(self.sets.iter().flat_map(|set| &set.listeners))
    }
}

/// A Gateway, and what its plan depends on.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a NamespacedName,
    pub(crate) gateway: &'a Gateway,
    pub(crate) class_name: &'a str,
    pub(crate) class: &'a ClassPlan,
    /// Those that name it, in order of precedence.
    pub(crate) sets: &'a [Set<'a>],
}

/// A plan, and what routes see: of the Gateway, and of each ListenerSet.
pub(crate) struct Planned {
    pub(crate) plan: GatewayPlan,
    pub(crate) points: AttachPoints,
    pub(crate) set_points: Vec<(NamespacedName, AttachPoints)>,
}

/// What routes see of a Gateway or a ListenerSet: nothing that changes with its certificates or messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AttachPoints {
    /// The Gateway or the ListenerSet itself.
    pub(crate) parent: ObjectRef,
    /// What `from: Same` means.
    pub(crate) namespace: Arc<str>,
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
    pub(crate) kinds: Vec<RouteKind>,
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
    subject: Subject<'_>,
) -> Planned {
    let Subject { name, gateway, sets, .. } = subject;
    let key = GatewayKey::from(name);
    let parameters = resolve_parameters(world, subject);
    let addresses = bind_addresses(gateway, settings);
    let frontend = Frontend::resolve(world, &mut memo.roots, name, gateway);
    let client_certificate = ClientCertificate::resolve(world, &mut memo.secrets, name, gateway);
    let allowed = Allowed::by(name, gateway);
    let entries: Vec<_> = sets.iter().map(|set| set.listeners(world, &allowed)).collect();

    let mut own = check_all(&gateway.spec.listeners, &key, None);
    let mut of_sets: Vec<_> = (sets.iter().zip(&entries))
        .map(|(set, entries)| check_all(entries.as_deref().unwrap_or_default(), &key, Some(&set.key())))
        .collect();
    judge_conflicts(&mut own, &mut of_sets);
    // What is not accepted as a whole binds nothing.
    let sound_whole = parameters.is_ok() && addresses.is_ok();
    let bind = addresses.as_deref().unwrap_or_default();
    for checked in std::iter::once(&mut own).chain(&mut of_sets) {
        if sound_whole && settings.bind_addresses {
            claim_ports(checked, claims, &key, bind);
        }
        validate_clients(checked, &frontend);
    }
    // "`Accepted` and `Programmed` … reflect the status of the local configuration" (GEP-1713): its own listeners.
    let accepted = match (&parameters, &addresses) {
        (Err(error), _) => Err(InvalidGateway::Parameters(error.clone())),
        (_, Err(error)) => Err(InvalidGateway::Address(error.clone())),
        _ if !own.iter().any(Checked::is_accepted) => Err(InvalidGateway::Listeners),
        _ => Ok(()),
    };

    let mut certificates = BTreeMap::new();
    let mut build = Builder { world, memo, bind, certificates: &mut certificates };
    let whole = parameters.as_ref().ok().filter(|_| sound_whole);
    let every = || own.iter().chain(of_sets.iter().flatten());
    let mut overlapping = overlaps(&every().map(Checked::distinction).collect::<Vec<_>>()).into_iter();
    let mut build_all = |checked: &[Checked<'_>], whole| -> Vec<ListenerPlan> {
        let overlapping = overlapping.by_ref();
        checked.iter().zip(overlapping).map(|(listener, overlaps)| build.listener(listener, overlaps, whole)).collect()
    };
    let listeners = build_all(&own, whole);
    let whole = whole.filter(|_| accepted.is_ok());
    let set_plans = (sets.iter().zip(&entries).zip(&of_sets))
        .map(|((set, entries), checked)| match entries {
            Ok(_) => SetPlan::new(set.name, build_all(checked, whole), accepted.is_ok()),
            Err(why) => SetPlan::refused(set.name, why),
        })
        .collect();

    let verdicts = verdicts(accepted, &own, &listeners, &frontend, &client_certificate);
    let client_certificate = match client_certificate {
        ClientCertificate::Usable(certificate, _) => Some(certificate),
        ClientCertificate::None | ClientCertificate::Invalid(_) => None,
    };
    let points_of = |kind, name: &NamespacedName, points| AttachPoints {
        parent: ObjectRef::namespaced(kind, name),
        namespace: Arc::clone(&name.namespace),
        points,
    };
    let set_points = (sets.iter().zip(&entries).zip(&of_sets)).map(|((set, entries), checked)| {
        let points = match entries {
            Ok(_) => checked.iter().map(Checked::attach_point).collect(),
            Err(_) => set.refusing_points(&key),
        };
        (set.name.clone(), points_of(Kind::ListenerSet, set.name, points))
    });
    Planned {
        points: points_of(Kind::Gateway, name, own.iter().map(Checked::attach_point).collect()),
        set_points: set_points.collect(),
        plan: GatewayPlan {
            counter_store: parameters.ok().and_then(|parameters| parameters.counter_store()),
            key,
            listeners,
            sets: set_plans,
            certificates,
            client_certificate,
            verdicts,
        },
    }
}

fn resolve_parameters(world: &World<'_>, subject: Subject<'_>) -> Result<Parameters, InvalidParameters> {
    let Subject { name, gateway, class_name, class, sets: _ } = subject;
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
    checked: &[Checked<'_>],
    listeners: &[ListenerPlan],
    frontend: &Frontend,
    client_certificate: &ClientCertificate,
) -> Vec<Verdict> {
    let programmed = match &accepted {
        Err(_) => Verdict::no(ConditionType::Programmed, Reason::Invalid, "the Gateway is not accepted"),
        Ok(()) if listeners.iter().any(ListenerPlan::awaits_data_plane) => pending(),
        Ok(()) => Verdict::no(ConditionType::Programmed, Reason::Invalid, "no listener can be programmed; see each"),
    };
    let rejected = checked.iter().filter(|listener| !listener.is_accepted()).map(|listener| &*listener.key.name);
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
    let mut verdicts = vec![accepted, programmed, resolved_refs(client_certificate, listeners)];
    if frontend.allows_fallback() {
        let message = "tls.frontend has mode AllowInsecureFallback, so clients without a valid certificate are taken; \
                       change it to AllowValidOnly unless backends check";
        let kind = ConditionType::InsecureFrontendValidationMode;
        verdicts.push(Verdict::yes(kind, Reason::ConfigurationChanged, message));
    }
    verdicts
}

/// "Resolve all the object references for the Gateway that are not part of a specific Listener configuration, and also
/// … a positive-polarity summary of Listener's ResolvedRefs" (`GatewayConditionResolvedRefs`).
fn resolved_refs(client_certificate: &ClientCertificate, listeners: &[ListenerPlan]) -> Verdict {
    let kind = ConditionType::ResolvedRefs;
    if let Some((reason, problem)) = client_certificate.problem() {
        return Verdict::no(kind, reason, problem);
    }
    let unresolved = listeners.iter().filter(|listener| {
        listener.verdicts.iter().any(|verdict| verdict.kind == kind && verdict.state == State::False)
    });
    let names: Vec<&str> = unresolved.map(|listener| &*listener.key.name).collect();
    match client_certificate {
        _ if !names.is_empty() => {
            let message = format!("see ResolvedRefs of listeners {}", names.join(", "));
            Verdict::no(kind, Reason::ListenersNotResolved, message)
        }
        ClientCertificate::Usable(_, Some(warning)) => {
            let message = format!("all references are resolved, but {warning}");
            Verdict::yes(kind, Reason::ResolvedRefs, message)
        }
        _ => Verdict::yes(kind, Reason::ResolvedRefs, "all references are resolved"),
    }
}
