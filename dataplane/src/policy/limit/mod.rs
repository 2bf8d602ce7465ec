//! Rate limits and quotas: the rules are [`portcullis_limits`]'s, the clock, the store and the answers are here.
//!
//! ```text
//! round ─► charge what this replica counts ─► ask for what the fleet counts (lease, exact, or the store is away) ─► shadow
//!               │ refused                          │ refused: what was charged is given back
//!               └──────────────────────────────────┴─► Refusal (429, Retry-After, RateLimit; gRPC 8)
//! ```

mod answer;
mod fleet;
mod program;
mod quotas;
mod render;
mod state;
mod store;
mod stream;

pub(crate) use fleet::SoFar;
pub(crate) use program::LimitProgram;
pub(crate) use quotas::QuotaQuestion;
pub(crate) use state::State;
pub(crate) use stream::{Newcomer, admit_connection, admit_session};

use std::net::IpAddr;
use std::time::Instant;

use http::HeaderMap;
use portcullis_expressions::{Facts, Identity};
use portcullis_ir::LimitScope;
use portcullis_limits::{self as limits, Application, Applied, Book, Claim, Round, Sole, Standings};
use smallvec::SmallVec;

use self::program::AtOnce;
use super::{Admitted, Asked, LimitHeaders, Refusal};

/// When rules are asked: those that need nothing of authentication run before it, so that guessing is limited too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Anyone,
    Identified,
}

/// A rule that applied, and where the request stands with it.
#[derive(Debug)]
struct Settled<'p> {
    applied: Applied<'p>,
    standings: Standings,
}

impl Settled<'_> {
    /// Seconds until all limits of the rule that refuse would not.
    fn longest_wait(&self) -> u64 {
        self.standings.iter().map(|standing| standing.retry).max().unwrap_or(1)
    }
}

type AllSettled<'p> = SmallVec<[Settled<'p>; 2]>;

/// # Errors
/// The answer if a limit is used up.
pub(crate) async fn admit(
    program: &LimitProgram,
    phase: Phase,
    asked: &Asked<'_>,
    identity: Option<&Identity>,
    admitted: &mut Admitted,
) -> Result<(), Box<Refusal>> {
    let rules = match phase {
        Phase::Anyone => limits::Phase::Early,
        Phase::Identified => limits::Phase::Late,
    };
    if program.rules.phase(rules).is_empty() {
        return Ok(());
    }
    let facts = asked.facts(identity);
    let round = program.rules.round(rules, &facts);
    let settled = match settle(program, &round, &facts, asked.now, &mut admitted.fleet).await {
        Ok(settled) => settled,
        Err(refusal) => {
            if phase == Phase::Identified {
                undo_early(program, &facts, asked, admitted.fleet.as_deref());
            }
            return Err(refusal);
        }
    };
    if let Some(name) = shadow(program, &round, &facts, asked.now, &mut admitted.fleet).await {
        admitted.shadowed = Some(name);
    }
    answer::tell(&settled, &mut admitted.limits);
    Ok(())
}

/// What a client that may go on is told, or the answer to one that may not.
pub(crate) type Told = Result<Option<Box<LimitHeaders>>, Box<Refusal>>;

/// What most limits are: as [`admit`], without a word to anybody else. None: something has to be waited for, and nothing was
/// counted. What there is to tell is given, else.
pub(crate) fn admit_at_once(program: &LimitProgram, asked: &Asked<'_>) -> Option<Told> {
    match program.at_once {
        AtOnce::Nothing => None,
        AtOnce::Own => Some(own(program, asked)),
        AtOnce::Leased => leased(program, asked),
    }
}

/// This replica counts for itself.
fn own(program: &LimitProgram, asked: &Asked<'_>) -> Told {
    if let Some(rule) = program.rules.sole() {
        return alone(program, rule.decide(&asked.facts(None), program.time(asked.now)));
    }
    let round = program.rules.round(limits::Phase::Early, &asked.facts(None));
    if let Some(rule) = round.denied {
        return Err(answer::denied(rule));
    }
    let mut claims: SmallVec<[Claim<'_>; 4]> = SmallVec::new();
    for applied in &round.applied {
        claims.extend(applied.claims(Book::Own));
    }
    let mut standings = Standings::new();
    let charged = limits::charge(&claims, program.time(asked.now), &mut standings);
    if let Err(refused) = charged {
        let settled = all_settled(&round, &standings);
        let which = answer::owner(&settled, refused.claim);
        return Err(answer::refused(&settled, which, refused.standing.retry));
    }
    for applied in &round.applied {
        applied.rule.counters.tally.allowed.increment();
    }
    let mut told = None;
    if program.tells {
        answer::tell(&all_settled(&round, &standings), &mut told);
    }
    Ok(told)
}

/// The only limit is the fleet's, and units are in hand.
fn leased(program: &LimitProgram, asked: &Asked<'_>) -> Option<Told> {
    let rule = program.rules.rules().first()?;
    let applied = match rule.apply(&asked.facts(None)) {
        Application::Not => return Some(Ok(None)),
        Application::Denied => return Some(Err(answer::denied(rule))),
        Application::Applied(applied) => applied,
    };
    let mut settled = Settled { applied, standings: Standings::new() };
    if fleet::settle_in_hand(program, &mut settled)?.is_err() {
        let retry = settled.longest_wait();
        return Some(Err(answer::refused(&[settled], 0, retry)));
    }
    rule.counters.tally.allowed.increment();
    let mut told = None;
    if program.tells {
        answer::tell(&[settled], &mut told);
    }
    Some(Ok(told))
}

/// Whether the request passes the only limit there is; see [`limits::Program::pass`].
#[inline(never)]
pub(crate) fn pass(program: &LimitProgram, headers: &HeaderMap, client: IpAddr, now: Instant) -> bool {
    program.rules.pass(headers, client, || program.time(now))
}

/// What follows from the only limit.
fn alone(program: &LimitProgram, decided: Sole<'_>) -> Told {
    let settled = |applied, standing| [Settled { applied, standings: Standings::from_slice(&[standing]) }];
    match decided {
        Sole::NotApplied => Ok(None),
        Sole::Denied(rule) => Err(answer::denied(rule)),
        Sole::Refused(applied, standing) => Err(answer::refused(&settled(applied, standing), 0, standing.retry)),
        Sole::Passes(applied, passed) => {
            applied.rule.counters.tally.allowed.increment();
            let mut told = None;
            if program.tells {
                answer::tell(&settled(applied, passed.standing()), &mut told);
            }
            Ok(told)
        }
    }
}

fn all_settled<'p>(round: &Round<'p>, standings: &Standings) -> AllSettled<'p> {
    let each = round.applied.iter().map(|applied| Settled { applied: *applied, standings: Standings::new() });
    let mut settled: AllSettled<'p> = each.collect();
    answer::distribute(standings, &mut settled);
    settled
}

/// All rules that are enforced, or the refusal of one: then none has counted.
async fn settle<'p>(
    program: &'p LimitProgram,
    round: &Round<'p>,
    facts: &Facts<'_>,
    now: Instant,
    so_far: &mut Option<Box<SoFar>>,
) -> Result<AllSettled<'p>, Box<Refusal>> {
    if let Some(rule) = round.denied {
        return Err(answer::denied(rule));
    }
    let mut settled = AllSettled::new();
    let mut claims: SmallVec<[Claim<'p>; 4]> = SmallVec::new();
    let mut fleet = false;
    for applied in round.applied.iter().filter(|applied| !applied.rule.shadow) {
        match applied.rule.scope {
            LimitScope::Replica => claims.extend(applied.claims(Book::Own)),
            LimitScope::Fleet(_) => fleet = true,
        }
        settled.push(Settled { applied: *applied, standings: Standings::new() });
    }
    let mut standings = Standings::new();
    let charged = limits::charge(&claims, program.time(now), &mut standings);
    answer::distribute(&standings, &mut settled);
    if let Err(refused) = charged {
        let which = answer::owner(&settled, refused.claim);
        return Err(answer::refused(&settled, which, refused.standing.retry));
    }
    if fleet {
        let so_far = so_far.get_or_insert_default();
        match Box::pin(fleet::settle(program, &mut settled, facts, now, so_far)).await {
            Ok(outcomes) => so_far.outcomes.extend(outcomes),
            Err(which) => {
                limits::give_back(&claims, program.time(now));
                return Err(answer::refused(&settled, which, settled[which].longest_wait()));
            }
        }
    }
    for settled in &settled {
        settled.applied.rule.counters.tally.allowed.increment();
    }
    Ok(settled)
}

/// Rules that decide and count, and let pass. Gives the last one that would not have.
async fn shadow(
    program: &LimitProgram,
    round: &Round<'_>,
    facts: &Facts<'_>,
    now: Instant,
    so_far: &mut Option<Box<SoFar>>,
) -> Option<Box<str>> {
    let mut refused = None;
    for rule in &round.shadow_denied {
        rule.counters.tally.shadowed.increment();
        refused = Some(answer::name(rule));
    }
    for applied in round.applied.iter().filter(|applied| applied.rule.shadow) {
        let admits = match &applied.rule.scope {
            LimitScope::Replica => {
                let claims: SmallVec<[Claim<'_>; 4]> = applied.claims(Book::Own).collect();
                limits::charge(&claims, program.time(now), &mut Standings::new()).is_ok()
            }
            LimitScope::Fleet(_) => {
                let mut alone: AllSettled<'_> = SmallVec::new();
                alone.push(Settled { applied: *applied, standings: Standings::new() });
                let so_far = so_far.get_or_insert_default();
                Box::pin(fleet::settle(program, &mut alone, facts, now, so_far)).await.is_ok()
            }
        };
        if admits {
            applied.rule.counters.tally.allowed.increment();
        } else {
            applied.rule.counters.tally.shadowed.increment();
            refused = Some(answer::name(applied.rule));
        }
    }
    refused
}

/// The request goes no further: what it consumed before authentication is not consumed.
#[cold]
fn undo_early(program: &LimitProgram, facts: &Facts<'_>, asked: &Asked<'_>, so_far: Option<&SoFar>) {
    let facts = Facts { identity: None, ..*facts };
    let round = program.rules.round(limits::Phase::Early, &facts);
    let mut outcomes = so_far.into_iter().flat_map(|so_far| &so_far.outcomes);
    for applied in round.applied.iter().filter(|applied| !applied.rule.shadow) {
        match &applied.rule.scope {
            LimitScope::Replica => {
                let claims: SmallVec<[Claim<'_>; 4]> = applied.claims(Book::Own).collect();
                limits::give_back(&claims, program.time(asked.now));
            }
            LimitScope::Fleet(_) => {
                if let Some(outcome) = outcomes.next() {
                    fleet::put_back(program, applied, *outcome);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests over sockets, which use the rest")]
#[path = "../../../tests/limits/redis.rs"]
mod redis;
#[cfg(test)]
mod tests;
