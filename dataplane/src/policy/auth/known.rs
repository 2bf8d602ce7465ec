//! Requests by whom is known already: a credential that was found good before, of a client that may. Nothing is computed and
//! nobody waited for; whatever is not as simple is left to [`super::admit`], which begins anew.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use portcullis_auth::{Reason, Ruling, Vault};
use portcullis_expressions::Identity;
use portcullis_ir::AuthorizationAction;

use super::AuthNote;
use super::method::{Recalled, verified_leaf};
use super::program::{AuthProgram, Compiled, Kind};
use crate::conn::ConnInfo;
use crate::observe::Verdict;
use crate::policy::{Asked, RequestEdits};
use crate::worker::Worker;

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

/// As [`recall`] and [`Known::settle`], of a policy that asks for one credential in one header and nothing else. None: nothing
/// was counted, and all has to be asked.
#[inline(never)]
pub(crate) fn pass<'p>(
    program: &'p AuthProgram,
    vault: &Vault,
    headers: &HeaderMap,
    (worker, info): (&Worker, &ConnInfo),
    log: &mut Option<AuthNote>,
) -> Option<&'p RequestEdits> {
    let Kind::Enforce(policy) = &program.kind else { return None };
    let (Some(place), Some(same), [method]) = (&policy.plain, &policy.same, &policy.methods[..]) else { return None };
    // Of a certificate the backend might have to be told.
    if info.tls.is_some() && policy.set_xfcc {
        return None;
    }
    let identity = method.knows(place.find(headers)?, vault, worker)?;
    method.tally.accepted();
    program.requests.verdict(Verdict::Allowed);
    log.insert(program.note(Verdict::Allowed)).identity = Some(identity);
    Some(same)
}

/// None: there is something to find out, or to refuse.
pub(crate) fn recall<'p>(program: &'p AuthProgram, vault: &Vault, asked: &Asked<'_>) -> Option<Known<'p>> {
    let Kind::Enforce(policy) = &program.kind else { return None };
    if !policy.at_once || policy.exempt.take(&asked.head.method, &asked.path.matched) {
        return None;
    }
    let (method, source, identity) =
        policy.methods.iter().enumerate().find_map(|(index, method)| match method.recall(asked, vault) {
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

impl<'p> Known<'p> {
    /// The request goes on, changed as is given.
    pub(crate) fn settle(self, asked: &Asked<'_>, log: &mut Option<AuthNote>) -> Cow<'p, RequestEdits> {
        let Self { program, policy, method, source, identity, ruling } = self;
        for missing in &policy.methods[..method] {
            missing.tally.reason(Reason::Missing);
        }
        policy.methods[method].tally.accepted();
        program.requests.verdict(Verdict::Allowed);
        let note = log.insert(program.note(Verdict::Allowed));
        if let Some(ruling) = ruling {
            policy.note_ruling(&ruling, note);
        }
        let identity = &**note.identity.insert(identity);
        if let Some(same) = &policy.same
            && !(policy.set_xfcc && verified_leaf(asked).is_some())
        {
            return Cow::Borrowed(same);
        }
        let mut edits = policy.edits();
        policy.tell(asked, Some(identity), &mut edits);
        policy.strip(asked, policy.methods[method].from.get(source), &mut edits);
        Cow::Owned(edits)
    }
}
