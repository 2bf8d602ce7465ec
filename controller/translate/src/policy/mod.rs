//! RateLimitPolicies and AuthPolicies: attached, inherited, merged and judged by one implementation.
//!
//! ```text
//! object ─► plan: its parts by name, or why it is broken        (limits, auth; memoised by object)
//! targets ─► index: who governs a place, and who lost it          (oldest first)
//! place ─► levels: Gateway < ListenerSet < listener < route < rule
//!        ─► merge: parts of all levels, by the strategy of each   ─► IR of the place ─► apply: listeners, attachments
//!                                                                 └► fates ─► status, explain
//! ```
//!
//! A policy is a set of named parts: rules of limits, or methods, rules, headers and settings of authentication. Merging
//! knows nothing else about a kind but what a lower policy may add to an override.

pub(crate) mod apply;
mod auth;
pub(crate) mod credentials;
mod explain;
mod field;
mod index;
pub(crate) mod kept;
mod level;
mod limits;
mod merge;
pub(crate) mod needs;
mod request;
pub(crate) mod status;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use portcullis_crds::policy::PolicyTargetRef;
use portcullis_crds::{AuthPolicy, MergeStrategy, RateLimitPolicy};

pub(crate) use auth::AuthPlan;
pub use explain::{Explained, ExplainedPart, explain};
pub(crate) use field::Invalid;
pub(crate) use limits::LimitPlan;

use crate::lenient::UNREADABLE;
use crate::memo::Memo;
use crate::object::name_of;
use crate::world::World;
use crate::{Inputs, Kind, NamespacedName, Objects};

/// What tells the two kinds apart.
pub(crate) trait Policy: Resource + Sized + PartialEq + 'static {
    /// Names a part; parts of one name meet when policies are merged.
    type Key: Clone + Ord + fmt::Display + fmt::Debug;
    type Value: Clone + PartialEq + fmt::Debug;
    /// What a plan holds beside its parts.
    type Extra: Clone + PartialEq + Default + fmt::Debug;

    const KIND: Kind;
    /// Whether a policy that is broken turns requests away, or is as if it were not there.
    const BROKEN_DENIES: bool;

    fn objects(inputs: &Inputs) -> &Objects<Self>;
    fn target_refs(&self) -> &[PolicyTargetRef];
    fn strategy(&self) -> MergeStrategy;

    /// Whether a more specific policy's part may stand beside those of an override: only if it asks for more.
    fn may_add(over: &BTreeMap<Self::Key, Self::Value>, key: &Self::Key, value: &Self::Value) -> bool;
}

/// What a policy comes to by itself.
#[derive(Debug, PartialEq)]
pub(crate) struct PolicyPlan<P: Policy> {
    pub(crate) name: NamespacedName,
    /// Files have none: then `namespace/name` stands here.
    pub(crate) uid: Arc<str>,
    pub(crate) strategy: MergeStrategy,
    pub(crate) parts: Result<BTreeMap<P::Key, P::Value>, Invalid>,
    /// Why an older version counts in place of the present one.
    pub(crate) outdated: Option<Invalid>,
    pub(crate) extra: P::Extra,
}

impl<P: Policy> PolicyPlan<P> {
    fn new(object: &P, parts: Result<BTreeMap<P::Key, P::Value>, Invalid>, extra: P::Extra) -> Self {
        let name = name_of(object);
        let uid = object.meta().uid.as_deref().map_or_else(|| name.to_string().into(), Arc::from);
        Self { name, uid, strategy: object.strategy(), parts, outdated: None, extra }
    }

    /// What is wrong with the present version.
    pub(crate) fn problem(&self) -> Option<&Invalid> {
        self.outdated.as_ref().or(self.parts.as_ref().err())
    }
}

/// All policies, by themselves.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    pub(crate) limits: BTreeMap<NamespacedName, Arc<LimitPlan>>,
    pub(crate) auth: BTreeMap<NamespacedName, Arc<AuthPlan>>,
}

impl Plans {
    pub(crate) fn compile(world: &World<'_>, memo: &mut Memo) -> Self {
        let inputs = world.inputs;
        let limits = inputs.rate_limit_policies.keys().map(|name| {
            let plan = memo.rate_limit_policies.get(world, name, |reader, _| limits::compile(reader, name));
            (name.clone(), plan)
        });
        let limits = limits.collect();
        let auth = inputs.auth_policies.keys().map(|name| {
            let plan = memo.auth_policies.get(world, name, |reader, _| auth::compile(reader, name));
            (name.clone(), plan)
        });
        Self { limits, auth: auth.collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.auth.is_empty()
    }
}

/// Why an object that was read could not be understood (see [`crate::lenient`]).
fn unreadable(object: &impl Resource) -> Option<Invalid> {
    let annotations = object.meta().annotations.as_ref()?;
    annotations.get(UNREADABLE).map(|why| Invalid::new("spec", format!("does not parse: {why}; correct the field")))
}

/// "The oldest Policy based on creation timestamp" comes first, then "the Policy appearing first in alphabetical order by
/// {namespace}/{name}" (GEP-713).
fn age(object: &impl Resource) -> (Timestamp, NamespacedName) {
    let created = object.meta().creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    (created, name_of(object))
}

impl Policy for RateLimitPolicy {
    type Key = Box<str>;
    type Value = limits::RulePart;
    type Extra = ();

    const KIND: Kind = Kind::RateLimitPolicy;
    const BROKEN_DENIES: bool = false;

    fn objects(inputs: &Inputs) -> &Objects<Self> {
        &inputs.rate_limit_policies
    }

    fn target_refs(&self) -> &[PolicyTargetRef] {
        &self.spec.target_refs
    }

    fn strategy(&self) -> MergeStrategy {
        self.spec.strategy
    }

    /// All rules that apply must let a request pass: one more never lets more through.
    fn may_add(_: &BTreeMap<Self::Key, Self::Value>, _: &Self::Key, _: &Self::Value) -> bool {
        true
    }
}

impl Policy for AuthPolicy {
    type Key = auth::AuthKey;
    type Value = auth::AuthValue;
    type Extra = auth::AuthExtra;

    const KIND: Kind = Kind::AuthPolicy;
    const BROKEN_DENIES: bool = true;

    fn objects(inputs: &Inputs) -> &Objects<Self> {
        &inputs.auth_policies
    }

    fn target_refs(&self) -> &[PolicyTargetRef] {
        &self.spec.target_refs
    }

    fn strategy(&self) -> MergeStrategy {
        self.spec.strategy
    }

    fn may_add(over: &BTreeMap<Self::Key, Self::Value>, key: &Self::Key, value: &Self::Value) -> bool {
        auth::may_add(over, key, value)
    }
}
