//! One request under a policy.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use portcullis_auth::{Denial, Kind as ReasonKind, Reason, Ruling, Shown, Source, Vault, xfcc};
use portcullis_expressions::Identity;
use portcullis_ir::AuthorizationAction;

use super::AuthNote;
use super::method::{Judged, Now, verified_leaf};
use super::program::{AuthProgram, Compiled, Kind};
use super::remote::Told;
use crate::observe::{Verdict, flags};
use crate::policy::{Admitted, Asked, Refusal, RequestEdits, XFCC};

/// Who the client is; none: nobody.
///
/// # Errors
/// The answer if the client may not go on.
pub(crate) async fn admit(
    program: &AuthProgram,
    vault: &Vault,
    asked: &Asked<'_>,
    admitted: &mut Admitted,
    log: &mut Option<AuthNote>,
) -> Result<Option<Arc<Identity>>, Box<Refusal>> {
    let policy = match &program.kind {
        Kind::Enforce(policy) => policy,
        Kind::Broken(_) => {
            program.requests.verdict(Verdict::Broken);
            *log = Some(program.note(Verdict::Broken));
            return Err(unavailable("the policy of this place cannot be honoured"));
        }
    };
    let mut edits = policy.edits();
    if policy.exempt.take(&asked.head.method, &asked.path.matched) {
        program.requests.verdict(Verdict::Exempt);
        policy.tell(asked, None, &mut edits);
        policy.strip(asked, None, &mut edits);
        *log = Some(program.note(Verdict::Exempt));
        admitted.settle(edits);
        return Ok(None);
    }
    let mut note = program.note(Verdict::Allowed);
    let mut told = None;
    let decided = policy.decide(vault, asked, &mut edits, &mut told, &mut note).await;
    let (verdict, result) = match decided {
        Ok(identity) => (Verdict::Allowed, Ok(identity)),
        Err(Turned { verdict, refusal }) => (verdict, Err(refusal)),
    };
    program.requests.verdict(verdict);
    note.outcome = verdict.code();
    note.shadow = policy.shadow;
    let identity = match result {
        Ok(identity) => identity,
        Err(_) if policy.shadow => {
            edits = policy.edits();
            policy.tell(asked, None, &mut edits);
            None
        }
        Err(refusal) => {
            *log = Some(note);
            return Err(refusal);
        }
    };
    policy.strip(asked, None, &mut edits);
    answer_with(told, admitted);
    *log = Some(note);
    admitted.settle(edits);
    Ok(identity)
}

/// A request that goes no further, unless its policy only looks on.
struct Turned {
    verdict: Verdict,
    refusal: Box<Refusal>,
}

impl Compiled {
    async fn decide(
        &self,
        vault: &Vault,
        asked: &Asked<'_>,
        edits: &mut RequestEdits,
        told: &mut Told,
        note: &mut AuthNote,
    ) -> Result<Option<Arc<Identity>>, Turned> {
        let identity = self.authenticate(vault, asked, told, note).await?;
        note.identity.clone_from(&identity);
        self.authorize(asked, identity.as_deref(), note)?;
        // Before the service is asked: it judges whom the methods have found.
        self.tell(asked, identity.as_deref(), edits);
        if let Some(external) = &self.external {
            let judged = Box::pin(external.admit(asked, identity.as_deref(), edits, told)).await;
            if let Err(refusal) = judged {
                let is_away = refusal.status == StatusCode::SERVICE_UNAVAILABLE;
                let verdict = if is_away { Verdict::Unavailable } else { Verdict::Unauthorized };
                return Err(Turned { verdict, refusal });
            }
        }
        Ok(identity)
    }

    async fn authenticate(
        &self,
        vault: &Vault,
        asked: &Asked<'_>,
        told: &mut Told,
        note: &mut AuthNote,
    ) -> Result<Option<Arc<Identity>>, Turned> {
        let now = Now { wall: wall() };
        let mut accepted: Option<Arc<Identity>> = None;
        let mut refused = None;
        let mut login = None;
        for method in &self.methods {
            match method.judge(asked, vault, now, told).await {
                Judged::Accepted(identity) => {
                    accepted = Some(match accepted {
                        Some(first) => merged(&first, &identity),
                        None => identity,
                    });
                    if !self.all {
                        break;
                    }
                }
                Judged::Refused(reason) => {
                    refused = Some(refused.map_or(reason, |other: Reason| other.or(reason)));
                }
                Judged::Answer(refusal) => return Err(Turned { verdict: Verdict::Login, refusal }),
                Judged::Login(refusal) => login = Some(refusal),
            }
        }
        let missing = refused.is_some() || login.is_some();
        match accepted {
            Some(identity) if !(self.all && missing) => return Ok(Some(identity)),
            None if self.methods.is_empty() => return Ok(None),
            _ => {}
        }
        if let Some(refusal) = login {
            note.reason = Some(Reason::Missing.code());
            return Err(Turned { verdict: Verdict::Login, refusal });
        }
        Err(self.unauthenticated(refused.unwrap_or(Reason::Missing), note))
    }

    fn authorize(&self, asked: &Asked<'_>, identity: Option<&Identity>, note: &mut AuthNote) -> Result<(), Turned> {
        let Some(authorizer) = &self.authorizer else { return Ok(()) };
        let ruling = authorizer.rule(&asked.facts(identity));
        self.note_ruling(&ruling, note);
        if ruling.action == AuthorizationAction::Allow {
            return Ok(());
        }
        if Denial::is_strangers(identity, &self.challenges) {
            return Err(self.unauthenticated(Reason::Missing, note));
        }
        let bearer = identity.is_some_and(|identity| !identity.claims.is_empty());
        let denial = self.unauthorized.unauthorized(bearer, ruling.missing_scopes);
        Err(Turned { verdict: Verdict::Unauthorized, refusal: refusal(denial, flags::UNAUTHORIZED) })
    }

    pub(super) fn note_ruling(&self, ruling: &Ruling<'_>, note: &mut AuthNote) {
        let name = ruling.rule.unwrap_or("default");
        if let Some((name, tally)) = self.rules.iter().find(|(rule, _)| **rule == *name) {
            tally.decided();
            note.rule = Some(Arc::clone(name));
        }
    }

    fn unauthenticated(&self, reason: Reason, note: &mut AuthNote) -> Turned {
        note.reason = Some(reason.code());
        let denial = self.unauthenticated.unauthenticated(reason, &self.challenges);
        match reason.kind() {
            ReasonKind::Unavailable => {
                Turned { verdict: Verdict::Unavailable, refusal: refusal(denial, flags::UNAVAILABLE) }
            }
            ReasonKind::Missing | ReasonKind::Invalid => {
                Turned { verdict: Verdict::Unauthenticated, refusal: refusal(denial, flags::UNAUTHENTICATED) }
            }
        }
    }

    /// What the backend, and a service before it, is told of the client.
    pub(super) fn tell(&self, asked: &Asked<'_>, identity: Option<&Identity>, edits: &mut RequestEdits) {
        if identity.is_some() && !self.headers.is_empty() {
            edits.set.extend(self.headers.values(&asked.facts(identity)));
        }
        if self.set_xfcc
            && let Some(value) = verified_leaf(asked).and_then(Shown::read).as_ref().and_then(xfcc)
        {
            edits.set.push((XFCC.clone(), value));
        }
    }

    /// What the backend is not told. In shadow mode the credential goes on: whoever judges it today still has to.
    /// `known` is where a credential was found already.
    pub(super) fn strip(&self, asked: &Asked<'_>, known: Option<&Source>, edits: &mut RequestEdits) {
        if let Some(strip) = self.strip.as_ref().filter(|_| !self.shadow) {
            strip.note(asked.head, known, &self.methods, edits);
        }
    }
}

impl AuthProgram {
    pub(super) fn note(&self, verdict: Verdict) -> AuthNote {
        AuthNote {
            policy: Arc::clone(&self.policy),
            outcome: verdict.code(),
            reason: None,
            identity: None,
            rule: None,
            shadow: false,
        }
    }
}

/// Who several methods together say that the client is. The first counts where they differ.
fn merged(first: &Identity, other: &Identity) -> Arc<Identity> {
    let mut claims = other.claims.map().clone();
    claims.extend(first.claims.map().clone());
    Arc::new(Identity {
        method: first.method.clone(),
        subject: first.subject.clone().or_else(|| other.subject.clone()),
        claims: claims.into(),
        api_key: first.api_key.clone().or_else(|| other.api_key.clone()),
        username: first.username.clone().or_else(|| other.username.clone()),
        certificate: first.certificate.clone().or_else(|| other.certificate.clone()),
    })
}

/// What goes into the answer, beside what others have put there.
fn answer_with(told: Told, admitted: &mut Admitted) {
    let Some(told) = told else { return };
    match &mut admitted.response {
        None => admitted.response = Some(told),
        Some(all) => {
            for (name, value) in &*told {
                all.append(name, value.clone());
            }
        }
    }
}

fn unavailable(message: &'static str) -> Box<Refusal> {
    Box::new(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, 14, flags::UNAVAILABLE, message))
}

fn refusal(denial: Denial, flags: crate::observe::Flags) -> Box<Refusal> {
    let Denial { status, grpc, headers, body, message } = denial;
    let mut refusal = Refusal::new(status, grpc, flags, message);
    refusal.headers = headers;
    refusal.body = body.map(|body| Bytes::from(String::from(body)));
    Box::new(refusal)
}

/// Milliseconds since 1970; a clock before that is there.
pub(super) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().saturating_mul(1000) + u64::from(since.subsec_millis())
}
