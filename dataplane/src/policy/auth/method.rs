//! One method's judgement of one request.

use std::sync::Arc;

use portcullis_auth::{
    ApiKeys, Basic, Certificates, ConsumerSet, Found, Jwt, Kept, KeySet, Reason, Recognised, SlowCheck, Source, Vault,
    Verified,
};
use portcullis_expressions::Identity;
use portcullis_ir::{CredentialKey, JwtKeys};
use tokio::task::yield_now;

use super::admit::wall;
use super::program::{Method, MethodKind};
use super::remote::{self, Login, Told};
use super::state::State;
use crate::policy::{Asked, Refusal};
use crate::worker::Worker;

/// What a method made of a request.
pub(super) enum Judged {
    Accepted(Arc<Identity>),
    Refused(Reason),
    /// The method answers itself, whatever others say.
    Answer(Box<Refusal>),
    /// Not accepted; this leads to where it can be.
    Login(Box<Refusal>),
}

/// What is known of a credential without judging it.
pub(super) enum Recalled {
    /// It was found good, by what is in force now; and which of the method's sources has it.
    Known(Arc<Identity>, usize),
    /// The request has none for the method.
    Missing,
    Unknown,
}

/// A moment, for what ends at one.
#[derive(Clone, Copy)]
pub(super) struct Now {
    /// Milliseconds since 1970.
    pub(super) wall: u64,
}

impl Method {
    pub(super) async fn judge(&self, asked: &Asked<'_>, vault: &Vault, now: Now, told: &mut Told) -> Judged {
        let judged = match &self.kind {
            MethodKind::Jwt(jwt) => match self.found(asked) {
                Ok(found) => self.jwt(jwt, &found.bytes, asked, vault, now).await,
                Err(reason) => Err(reason),
            },
            MethodKind::Certificate(rules) => certificate(rules, asked, now),
            MethodKind::Anonymous => Ok(Arc::new(Identity { method: Arc::clone(&self.name), ..Identity::default() })),
            MethodKind::ApiKey(keys) => match self.found(asked) {
                Ok(found) => api_key(keys, &found.bytes, asked, vault, now).await,
                Err(reason) => Err(reason),
            },
            MethodKind::Basic(users) => match self.found(asked) {
                Ok(found) => self.basic(users, &found.bytes, asked, vault, now).await,
                Err(reason) => Err(reason),
            },
            MethodKind::Introspection(introspection) => match self.found(asked) {
                Ok(found) => Box::pin(remote::introspect(introspection, &found.bytes, asked, vault)).await,
                Err(reason) => Err(reason),
            },
            MethodKind::Oidc(login) => match Box::pin(remote::oidc(login, asked, vault, told)).await {
                Ok(Login::Identified(identity)) => Ok(identity),
                Ok(Login::Answer(answer)) => return Judged::Answer(answer),
                Ok(Login::Begin(answer)) => {
                    self.tally.reason(Reason::Missing);
                    return Judged::Login(answer);
                }
                Err(reason) => Err(reason),
            },
        };
        match judged {
            Ok(identity) => {
                self.tally.accepted();
                Judged::Accepted(identity)
            }
            Err(reason) => {
                self.tally.reason(reason);
                Judged::Refused(reason)
            }
        }
    }

    /// What a credential in a request is judged by, for methods whose verdict is remembered by that and the credential alone.
    #[inline]
    fn context(&self, vault: &Vault) -> Option<[u8; 32]> {
        match &self.kind {
            MethodKind::Jwt(jwt) => Self::keys(jwt, vault).map(|keys| both(jwt.id(), keys.id())),
            MethodKind::ApiKey(keys) => vault.consumers(keys.consumers()).map(ConsumerSet::id),
            MethodKind::Certificate(_)
            | MethodKind::Basic(_)
            | MethodKind::Introspection(_)
            | MethodKind::Oidc(_)
            | MethodKind::Anonymous => None,
        }
    }

    /// Who has been found to have this credential.
    #[inline]
    pub(super) fn knows(&self, credential: &[u8], vault: &Vault, worker: &Worker) -> Option<Arc<Identity>> {
        verified(worker, &self.context(vault)?, credential, wall)
    }

    /// Nothing is counted, and nothing is found out.
    pub(super) fn recall(&self, asked: &Asked<'_>, vault: &Vault) -> Recalled {
        if let MethodKind::Certificate(rules) = &self.kind {
            let Some(leaf) = verified_leaf(asked) else { return Recalled::Missing };
            let known = verified(asked.worker, rules.id(), leaf, wall);
            return known.map_or(Recalled::Unknown, |identity| Recalled::Known(identity, 0));
        }
        let Some(context) = self.context(vault) else { return Recalled::Unknown };
        match self.found(asked) {
            Ok(found) => match verified(asked.worker, &context, &found.bytes, wall) {
                Some(identity) => Recalled::Known(identity, found.source),
                None => Recalled::Unknown,
            },
            Err(Reason::Missing) => Recalled::Missing,
            Err(_) => Recalled::Unknown,
        }
    }

    fn keys<'a>(jwt: &'a Jwt, vault: &'a Vault) -> Option<&'a Arc<KeySet>> {
        match jwt.inline() {
            Some(inline) => inline.ok(),
            None => vault.keys(&jwt.config().keys),
        }
    }

    fn found<'a>(&self, asked: &Asked<'a>) -> Result<Found<'a>, Reason> {
        let found = Source::find(&self.from, &asked.head.headers, asked.head.uri.query());
        let found = found.map_err(|_| Reason::Malformed)?.ok_or(Reason::Missing)?;
        if found.bytes.is_empty() { Err(Reason::Malformed) } else { Ok(found) }
    }

    async fn jwt(
        &self,
        jwt: &Arc<Jwt>,
        token: &[u8],
        asked: &Asked<'_>,
        vault: &Vault,
        now: Now,
    ) -> Result<Arc<Identity>, Reason> {
        let Some(keys) = Self::keys(jwt, vault) else { return Ok(jwt.verify(token, None, now.wall)?.identity) };
        let context = both(jwt.id(), keys.id());
        if let Some(known) = recall(asked, &context, token, now) {
            return known;
        }
        // A signature takes as long as all the rest of a request. Those that need none go first, then all signatures of the
        // turn are checked in a row and their requests sent on together: each by itself would wake a backend anew.
        yield_now().await;
        // Others may have shown it meanwhile.
        if let Some(known) = recall(asked, &context, token, now) {
            return known;
        }
        let most = asked.worker.shared.settings.limits.max_wrong_signatures;
        if state(asked).remembered(asked.worker.id).wrong.is_flood(most, now.wall) {
            asked.worker.shared.metrics.auth.floods.increment();
            return Box::pin(self.jwt_elsewhere(jwt, Arc::clone(keys), token, asked, now)).await;
        }
        let judged = learn(jwt, keys, token, jwt.verify(token, Some(keys), now.wall), asked, now);
        yield_now().await;
        judged
    }

    async fn jwt_elsewhere(
        &self,
        jwt: &Arc<Jwt>,
        keys: Arc<KeySet>,
        token: &[u8],
        asked: &Asked<'_>,
        now: Now,
    ) -> Result<Arc<Identity>, Reason> {
        let (verifying, by, shown): (_, _, Box<[u8]>) = (Arc::clone(jwt), Arc::clone(&keys), token.into());
        let verified = state(asked).flooded.run(move || verifying.verify(&shown, Some(&by), now.wall)).await?;
        learn(jwt, &keys, token, verified, asked, now)
    }

    async fn basic(
        &self,
        users: &CredentialKey,
        credentials: &[u8],
        asked: &Asked<'_>,
        vault: &Vault,
        now: Now,
    ) -> Result<Arc<Identity>, Reason> {
        let basic = Basic::parse(credentials)?;
        let users = vault.users(users).ok_or(Reason::Unavailable)?;
        let context = both(users.id(), &name_of(&self.name));
        let fingerprint = basic.fingerprint();
        if let Some(known) = recall(asked, &context, &fingerprint, now) {
            return known;
        }
        let (check, slow) = users.check(&self.name, &basic.name, &basic.password);
        let checked = if slow { off_the_worker(check, asked).await? } else { check.run() };
        conclude(checked, Reason::Password, asked, &context, &fingerprint)
    }
}

/// Keeps what was found out about a token, and has keys looked for that it names and nobody knows.
fn learn(
    jwt: &Jwt,
    keys: &KeySet,
    token: &[u8],
    verified: Result<Verified, Reason>,
    asked: &Asked<'_>,
    now: Now,
) -> Result<Arc<Identity>, Reason> {
    let context = both(jwt.id(), keys.id());
    let reason = match verified {
        Ok(Verified { identity, from, until }) => {
            let kept = || Kept { value: Arc::clone(&identity), from, until };
            state(asked).remembered(asked.worker.id).verified.put_if_used(&context, token, kept);
            return Ok(identity);
        }
        Err(reason) => reason,
    };
    if let (Reason::UnknownKey, JwtKeys::Issuer(issuer)) = (reason, &jwt.config().keys)
        && state(asked).refetch.ask(issuer, asked.now)
    {
        asked.worker.shared.metrics.auth.refetches.increment();
    }
    // Costly to find out, and true for ever of this token and these keys.
    if reason == Reason::Signature {
        refuse(asked, &context, token, reason);
    }
    // A name that no key has costs nothing, but where keys have none.
    if reason == Reason::Signature || (reason == Reason::UnknownKey && keys.has_nameless()) {
        state(asked).remembered(asked.worker.id).wrong.note(now.wall);
    }
    Err(reason)
}

async fn api_key(
    keys: &ApiKeys,
    key: &[u8],
    asked: &Asked<'_>,
    vault: &Vault,
    now: Now,
) -> Result<Arc<Identity>, Reason> {
    let set = vault.consumers(keys.consumers());
    // A hash that says who it is costs more than all the rest; what it said of this very set is remembered, as it is of tokens.
    let context = set.map(ConsumerSet::id).unwrap_or_default();
    if let Some(known) = verified(asked.worker, &context, key, || now.wall) {
        return Ok(known);
    }
    match (keys.recognise(set, key)?, set) {
        (Recognised::Consumer(identity), _) => conclude(Some(identity), Reason::UnknownApiKey, asked, &context, key),
        (Recognised::Slow, Some(set)) => {
            let fingerprint = ApiKeys::fingerprint(key);
            if let Some(known) = recall(asked, set.slow_id(), &fingerprint, now) {
                return known;
            }
            let checked = off_the_worker(set.slow_check(key), asked).await?;
            conclude(checked, Reason::UnknownApiKey, asked, set.slow_id(), &fingerprint)
        }
        (Recognised::Slow | Recognised::Nobody, _) => Err(Reason::UnknownApiKey),
    }
}

fn certificate(rules: &Certificates, asked: &Asked<'_>, now: Now) -> Result<Arc<Identity>, Reason> {
    let leaf = verified_leaf(asked).ok_or(Reason::Missing)?;
    if let Some(known) = recall(asked, rules.id(), leaf, now) {
        return known;
    }
    conclude(rules.judge(leaf).map(Some)?, Reason::Certificate, asked, rules.id(), leaf)
}

/// The client's certificate, if the listener has verified it.
pub(super) fn verified_leaf<'a>(asked: &Asked<'a>) -> Option<&'a [u8]> {
    let client = asked.info.tls.as_ref()?.client.as_ref()?;
    client.leaf.as_deref().filter(|_| client.valid)
}

async fn off_the_worker(check: SlowCheck, asked: &Asked<'_>) -> Result<Option<Arc<Identity>>, Reason> {
    // Boxed, so that all the others do not carry its state.
    Box::pin(state(asked).slow.run(move || check.run())).await
}

#[expect(clippy::inline_always, reason = "measured: it is asked of every request, and the compiler leaves it a call")]
#[inline(always)]
fn verified(
    worker: &Worker,
    context: &[u8; 32],
    credential: &[u8],
    now: impl FnOnce() -> u64,
) -> Option<Arc<Identity>> {
    worker.shared.policy.auth.remembered(worker.id).verified.get(context, credential, now)
}

/// What was found out about the credential before.
fn recall(asked: &Asked<'_>, context: &[u8; 32], credential: &[u8], now: Now) -> Option<Result<Arc<Identity>, Reason>> {
    let mut remembered = state(asked).remembered(asked.worker.id);
    if let Some(identity) = remembered.verified.get(context, credential, || now.wall) {
        return Some(Ok(identity));
    }
    remembered.refused.get(context, credential, || now.wall).map(Err)
}

/// Keeps what was found out about a credential that is good, or not, as long as what it was judged by stays the same.
fn conclude(
    checked: Option<Arc<Identity>>,
    otherwise: Reason,
    asked: &Asked<'_>,
    context: &[u8; 32],
    credential: &[u8],
) -> Result<Arc<Identity>, Reason> {
    let Some(identity) = checked else {
        refuse(asked, context, credential, otherwise);
        return Err(otherwise);
    };
    let kept = Kept::for_good(Arc::clone(&identity));
    state(asked).remembered(asked.worker.id).verified.put(context, credential, kept);
    Ok(identity)
}

fn refuse(asked: &Asked<'_>, context: &[u8; 32], credential: &[u8], reason: Reason) {
    let kept = Kept::for_good(reason);
    state(asked).remembered(asked.worker.id).refused.put(context, credential, kept);
}

fn state<'a>(asked: &Asked<'a>) -> &'a State {
    &asked.worker.shared.policy.auth
}

/// One context of two. Both are hashes: to find another pair with the same sum is to find a hash's origin.
fn both(one: &[u8; 32], other: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|at| one[at] ^ other[at])
}

/// A method's name, which is part of the identity: the same file under another name is another context.
fn name_of(name: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes()).as_ref());
    hash
}
