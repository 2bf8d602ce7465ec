//! Requests by whom is known already: a credential that was found good before, of a client that may. Nothing is computed and
//! nobody waited for; whatever is not as simple is left to [`super::admit`], which begins anew.

use std::sync::Arc;

use portcullis_auth::{Reason, Ruling, Vault};
use portcullis_expressions::Identity;
use portcullis_ir::AuthorizationAction;

use super::admit::wall;
use super::method::{Now, Recalled};
use super::program::{AuthProgram, Compiled, Kind};
use crate::observe::Verdict;
use crate::policy::{Admitted, Asked};

/// Nothing of it has been counted yet.
pub(crate) struct Known<'p> {
    program: &'p AuthProgram,
    policy: &'p Compiled,
    /// Which of the methods accepts; those before it found nothing to judge.
    method: usize,
    /// Which of that method's sources has the credential.
    source: usize,
    identity: Arc<Identity>,
    ruling: Option<Ruling<'p>>,
}

/// None: there is something to find out, or to refuse.
pub(crate) fn recall<'p>(program: &'p AuthProgram, vault: &Vault, asked: &Asked<'_>) -> Option<Known<'p>> {
    let Kind::Enforce(policy) = &program.kind else { return None };
    if !policy.at_once || policy.exempt.take(&asked.head.method, &asked.path.matched) {
        return None;
    }
    let now = Now { wall: wall() };
    let (method, source, identity) =
        policy.methods.iter().enumerate().find_map(|(index, method)| match method.recall(asked, vault, now) {
            Recalled::Known(identity, source) => Some(Some((index, source, identity))),
            Recalled::Missing => None,
            Recalled::Unknown => Some(None),
        })??;
    let ruling = policy.authorizer.as_ref().map(|authorizer| authorizer.rule(&asked.facts(Some(&identity))));
    if ruling.is_some_and(|ruling| ruling.action != AuthorizationAction::Allow) {
        return None;
    }
    Some(Known { program, policy, method, source, identity, ruling })
}

impl Known<'_> {
    /// The request goes on.
    pub(crate) fn settle(self, asked: &Asked<'_>, admitted: &mut Admitted) {
        let Self { program, policy, method, source, identity, ruling } = self;
        for missing in &policy.methods[..method] {
            missing.tally.reason(Reason::Missing);
        }
        policy.methods[method].tally.accepted();
        program.requests.verdict(Verdict::Allowed);
        let mut note = program.note(Verdict::Allowed);
        if let Some(ruling) = ruling {
            policy.note_ruling(&ruling, &mut note);
        }
        let mut edits = policy.edits();
        policy.tell(asked, Some(&identity), &mut edits);
        policy.strip(asked, policy.methods[method].from.get(source), &mut edits);
        note.identity = Some(identity);
        admitted.note = Some(note);
        admitted.settle(edits);
    }
}
