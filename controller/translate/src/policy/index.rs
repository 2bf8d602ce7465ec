//! Who governs a place. Two policies of one kind with the same target and section do not merge: the older one counts
//! alone, so that nobody changes what another one wrote by writing something beside it.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_crds::policy::PolicyTargetRef;
use portcullis_ir::PolicyTarget;

use super::level::Level;
use super::{Policy, PolicyPlan, age};
use crate::listener::GATEWAY_GROUP;
use crate::{Inputs, Kind, NamespacedName, ObjectRef};

/// An object or one of its sections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) name: NamespacedName,
    pub(crate) section: Option<Arc<str>>,
}

impl Place {
    pub(crate) fn whole(kind: Kind, name: NamespacedName) -> Self {
        Self { kind, name, section: None }
    }

    pub(crate) fn section(kind: Kind, name: NamespacedName, section: Arc<str>) -> Self {
        Self { kind, name, section: Some(section) }
    }

    /// What a policy of `namespace` targets; none for what cannot be a target.
    pub(crate) fn of(namespace: &Arc<str>, target: &PolicyTargetRef) -> Option<Self> {
        let PolicyTargetRef { group, kind, name, section_name } = target;
        let known = [Kind::Gateway, Kind::ListenerSet, Kind::HttpRoute, Kind::GrpcRoute];
        let kind = known.into_iter().find(|known| known.as_str() == kind && group == GATEWAY_GROUP)?;
        let section = Some(section_name.as_str()).filter(|name| !name.is_empty()).map(Arc::from);
        Some(Self { kind, name: NamespacedName::new(Arc::clone(namespace), name.as_str()), section })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, name, section } = self;
        match section {
            None => write!(f, "{kind} {name}"),
            Some(section) if kind.route_kind().is_some() => write!(f, "rule {section} of {kind} {name}"),
            Some(section) => write!(f, "listener {section} of {kind} {name}"),
        }
    }
}

/// The governing policy of each place.
#[derive(Debug)]
pub(crate) struct Targets<P: Policy> {
    governing: HashMap<Place, Arc<PolicyPlan<P>>>,
}

impl<P: Policy> Targets<P> {
    pub(crate) fn new(inputs: &Inputs, plan: impl Fn(&NamespacedName) -> Option<Arc<PolicyPlan<P>>>) -> Self {
        let mut oldest: Vec<(&NamespacedName, &Arc<P>)> = P::objects(inputs).iter().collect();
        oldest.sort_by_cached_key(|(_, policy)| age(&***policy));
        let mut governing: HashMap<Place, Arc<PolicyPlan<P>>> = HashMap::new();
        for (name, policy) in oldest {
            let Some(plan) = plan(name) else { continue };
            for place in policy.target_refs().iter().filter_map(|target| Place::of(&name.namespace, target)) {
                governing.entry(place).or_insert_with(|| Arc::clone(&plan));
            }
        }
        Self { governing }
    }

    /// The policy that governs a place.
    pub(crate) fn governing(&self, place: &Place) -> Option<&Arc<PolicyPlan<P>>> {
        self.governing.get(place)
    }

    /// The routes of which, or of a rule of which, something is said.
    pub(crate) fn routes(&self) -> impl Iterator<Item = ObjectRef> {
        let places = self.governing.keys().filter(|place| place.kind.route_kind().is_some());
        places.map(|place| ObjectRef::namespaced(place.kind, &place.name))
    }

    pub(crate) fn level(&self, place: &Place, target: impl FnOnce() -> PolicyTarget) -> Option<Level<P>> {
        let plan = Arc::clone(self.governing(place)?);
        Some(Level { target: target(), plan })
    }
}
