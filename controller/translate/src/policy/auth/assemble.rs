//! Parts back to one policy, as the IR has it.

use portcullis_crds::AuthPolicy;
use portcullis_ir::{
    Auth, AuthPolicy as Effective, Authorization, AuthorizationAction, BrokenAuth, DenyResponse, IdentityOutput, Match,
    MethodKind, PolicyOrigin, Require,
};

use super::AuthValue;
use crate::policy::level::Level;
use crate::policy::merge::{Merged, Outcome};

/// None where no policy is attached.
pub(crate) fn assemble(levels: &[Level<AuthPolicy>], merged: &Merged<AuthPolicy>) -> Option<Auth> {
    let parts = match &merged.outcome {
        Outcome::Nothing => return None,
        Outcome::Broken(at) => return Some(Auth::Broken(broken(levels, *at))),
        Outcome::Parts(parts) => parts,
    };
    let mut contributing: Vec<usize> = parts.values().map(|part| part.level).collect();
    contributing.sort_unstable();
    contributing.dedup();
    let mut effective = nothing(contributing.iter().map(|at| levels[*at].origin()).collect());
    let (mut methods, mut rules, mut default) = (Vec::new(), Vec::new(), None);
    let (mut unauthenticated, mut unauthorized) = (None, None);
    for (key, part) in parts {
        match part.value.clone() {
            AuthValue::Shadow(shadow) => effective.shadow = shadow,
            AuthValue::Exempt(matched) => effective.exempt.push(matched),
            AuthValue::Require(require) => effective.require = require,
            AuthValue::Method(at, method) => methods.push((part.level, at, method)),
            AuthValue::DefaultAction(action) => default = Some(action),
            AuthValue::Rule(rule) => rules.push(rule),
            AuthValue::External(external) => effective.external = Some(external),
            AuthValue::Header(header) => effective.identity.headers.push(header),
            AuthValue::KeepCredential(keep) => effective.identity.keep_credential = keep,
            AuthValue::Xfcc(mode) => effective.identity.xfcc = mode,
            AuthValue::Response(response) if *key == super::AuthKey::Unauthenticated => {
                unauthenticated = Some(response)
            }
            AuthValue::Response(response) => unauthorized = Some(response),
        }
    }
    // In the order written, those of the more general policy first.
    methods.sort_by_key(|(level, at, _)| (*level, *at));
    effective.methods = methods.into_iter().map(|(_, _, method)| method).collect();
    if !rules.is_empty() || default.is_some() {
        let default = default.unwrap_or(AuthorizationAction::Deny);
        effective.authorization = Some(Authorization { rules, default });
    }
    effective.unauthenticated = unauthenticated.unwrap_or_default();
    effective.unauthorized = unauthorized.unwrap_or_default();
    Some(Auth::Enforce(Box::new(effective)))
}

pub(super) fn nothing(origins: Vec<PolicyOrigin>) -> Effective {
    Effective {
        origins,
        shadow: false,
        exempt: Vec::new(),
        require: Require::Any,
        methods: Vec::new(),
        authorization: None,
        external: None,
        identity: IdentityOutput::default(),
        unauthenticated: DenyResponse::default(),
        unauthorized: DenyResponse::default(),
    }
}

fn broken(levels: &[Level<AuthPolicy>], at: usize) -> BrokenAuth {
    let message = levels[at].plan.parts.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let mut identity_headers: Vec<_> = levels.iter().flat_map(|level| &level.plan.extra.headers).cloned().collect();
    identity_headers.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    identity_headers.dedup();
    BrokenAuth { origin: levels[at].origin(), message: message.into(), identity_headers }
}

/// Whether somebody who proves nothing is turned away.
pub(crate) fn requires(auth: Option<&Auth>) -> bool {
    match auth {
        None => false,
        Some(Auth::Broken(_)) => true,
        Some(Auth::Enforce(policy)) => {
            let Effective { shadow, exempt, require, methods, external, .. } = &**policy;
            let anonymous = |method: &portcullis_ir::AuthMethod| method.kind == MethodKind::Anonymous;
            let asked = match require {
                Require::Any => !methods.is_empty() && !methods.iter().any(anonymous),
                Require::All => !methods.iter().all(anonymous),
            };
            let everything = exempt.iter().any(|matched| *matched == Match::default());
            let judged = external.as_ref().is_some_and(|external| !external.fail_open);
            !shadow && !everything && (asked || judged)
        }
    }
}
