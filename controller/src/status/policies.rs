//! Our entries in the statuses of our own policies, beside those of other controllers.

use portcullis_crds::PolicyStatus;
use portcullis_crds::policy::PolicyAncestorStatus;

use super::merge::{MAX_ANCESTORS, conditions, hold};

/// What is to be written, if anything differs. "If this slice is full, implementations MUST NOT add further entries": of
/// too many, ours are left out.
pub(super) fn own_policy(
    old: Option<&PolicyStatus>,
    ours: &PolicyStatus,
    controller_name: &str,
) -> Option<PolicyStatus> {
    let there = old.map(|status| status.ancestors.as_slice()).unwrap_or_default();
    let before = |ancestor: &PolicyAncestorStatus| {
        let mut own = there.iter().filter(|old| old.controller_name == controller_name);
        own.find(|old| old.ancestor_ref == ancestor.ancestor_ref)
    };
    let others = there.iter().filter(|old| old.controller_name != controller_name);
    let mut ancestors: Vec<_> = others.cloned().collect();
    let room = MAX_ANCESTORS.saturating_sub(ancestors.len());
    let ours = &ours.ancestors[..ours.ancestors.len().min(room)];
    let is_there = there.len() == ancestors.len() + ours.len()
        && ours.iter().all(|one| before(one).is_some_and(|old| hold(&old.conditions, &one.conditions)));
    if is_there && (old.is_some() || ours.is_empty()) {
        return None;
    }
    for ancestor in ours {
        let mut ancestor = ancestor.clone();
        let there = before(&ancestor).map(|old| old.conditions.as_slice());
        ancestor.conditions = conditions(there, Some(&ancestor.conditions));
        ancestors.push(ancestor);
    }
    Some(PolicyStatus { ancestors })
}
