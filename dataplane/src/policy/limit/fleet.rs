//! Rules that all replicas count together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use portcullis_expressions::Facts;
use portcullis_ir::{FleetScope, LimitScope, OnStoreFailure, Precision};
use portcullis_limits::{self as limits, Applied, Claim, Refused, Standing, Standings, StoreFailure};
use smallvec::SmallVec;

use super::store::{Book, Heard, InHand, Lease, Link, Taken, Wanted, exactly};
use super::{LimitProgram, Settled};

/// What a request has had of stores, over both phases of its rules.
#[derive(Debug, Default)]
pub(crate) struct SoFar {
    /// How long it has waited. All its rules together wait no longer than the most patient of them.
    waited: Duration,
    /// How each rule let it pass that is enforced, in their order.
    pub(super) outcomes: Outcomes,
}

pub(super) type Outcomes = SmallVec<[Outcome; 2]>;

/// How a rule let a request pass, so that it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Leased,
    Exact,
    /// Counted here, for the time without a store.
    Share,
    /// Nothing was counted.
    Free,
}

/// What a rule needs to be asked.
#[derive(Clone, Copy)]
struct Fleet<'p> {
    scope: &'p FleetScope,
    book: &'p Arc<Book>,
    link: &'p Arc<Link>,
}

/// Asks every rule of the fleet among `settled`; gives how each of them let the request pass.
///
/// # Errors
/// Which one refuses; then none of them has counted, and its standings say when to come again.
pub(super) async fn settle<'p>(
    program: &'p LimitProgram,
    settled: &mut [Settled<'p>],
    facts: &Facts<'_>,
    now: Instant,
    so_far: &mut SoFar,
) -> Result<Outcomes, usize> {
    let mut passed: SmallVec<[(usize, Outcome); 2]> = SmallVec::new();
    let mut refused = one_call(program, settled, facts, now, so_far, &mut passed).await.err();
    for (index, rule) in settled.iter_mut().enumerate() {
        if refused.is_some() {
            break;
        }
        if !is_fleet(rule) || passed.iter().any(|(done, _)| *done == index) {
            continue;
        }
        match one(program, rule, facts, now, so_far).await {
            Ok(outcome) => passed.push((index, outcome)),
            Err(()) => refused = Some(index),
        }
    }
    let Some(which) = refused else {
        passed.sort_unstable_by_key(|(index, _)| *index);
        return Ok(passed.into_iter().map(|(_, outcome)| outcome).collect());
    };
    for (index, outcome) in passed {
        put_back(program, &settled[index].applied, outcome);
    }
    Err(which)
}

/// Several exact rules of one store are one call, unless a cluster has their keys at different nodes.
async fn one_call(
    program: &LimitProgram,
    settled: &mut [Settled<'_>],
    facts: &Facts<'_>,
    now: Instant,
    so_far: &mut SoFar,
    passed: &mut SmallVec<[(usize, Outcome); 2]>,
) -> Result<(), usize> {
    let mut exact: SmallVec<[(usize, Fleet<'_>); 2]> = SmallVec::new();
    for (index, settled) in settled.iter().enumerate() {
        if let Some(fleet) = fleet(program, &settled.applied)
            && fleet.scope.precision == Precision::Exact
            && settled.applied.cost > 0
            && exact.first().is_none_or(|(_, first)| first.scope.store == fleet.scope.store)
        {
            exact.push((index, fleet));
        }
    }
    let Some((_, first)) = exact.first() else { return Ok(()) };
    // A rule alone goes the way of all; so does what cannot be asked now.
    if exact.len() < 2 || first.link.is_cluster() || first.link.resting().is_some() {
        return Ok(());
    }
    for (index, fleet) in &exact {
        let settled = &mut settled[*index];
        if guarded(program, fleet, settled, now).is_err() || hopeless(settled) {
            return Err(*index);
        }
    }
    let patience = exact.iter().map(|(_, fleet)| fleet.scope.store_timeout).max().unwrap_or_default();
    let wanted = exact.iter().map(|(index, fleet)| {
        let applied = &settled[*index].applied;
        let lease = fleet.book.lease(applied, || applied.key_text(facts));
        Wanted { lease, shapes: applied.plan.shapes.clone(), cost: applied.cost }
    });
    match ask_exactly(program, first.link, patience, wanted.collect(), so_far).await {
        Ok((granted, standings)) => {
            for ((index, _), standings) in exact.iter().zip(standings) {
                settled[*index].standings = standings;
                if granted {
                    passed.push((*index, Outcome::Exact));
                }
            }
            if granted {
                return Ok(());
            }
            let retry = |index: &usize| settled[*index].standings.iter().map(|standing| standing.retry).max();
            Err(exact.iter().map(|(index, _)| *index).max_by_key(retry).unwrap_or(0))
        }
        // Nobody asks again for the same request: each rule does as it was told.
        Err(failure) => {
            for (index, fleet) in &exact {
                let settled = &mut settled[*index];
                settled.applied.rule.counters.tally.failure(failure);
                let outcome = without_store(program, fleet, settled, now).map_err(|()| *index)?;
                passed.push((*index, outcome));
            }
            Ok(())
        }
    }
}

async fn one(
    program: &LimitProgram,
    settled: &mut Settled<'_>,
    facts: &Facts<'_>,
    now: Instant,
    so_far: &mut SoFar,
) -> Result<Outcome, ()> {
    let applied = settled.applied;
    if applied.cost == 0 {
        return Ok(Outcome::Free);
    }
    if hopeless(settled) {
        return Err(());
    }
    let Some(fleet) = fleet(program, &applied) else { return Ok(Outcome::Free) };
    guarded(program, &fleet, settled, now)?;
    let heard = match fleet.link.resting() {
        Some(why) => Err(why),
        None => match fleet.scope.precision {
            Precision::Leased => leased(program, &fleet, &applied, facts, so_far).await,
            Precision::Exact => exact(program, &fleet, &applied, facts, so_far).await,
        },
    };
    match heard {
        Ok(Heard::Granted(standings)) => {
            settled.standings = standings;
            let leased = fleet.scope.precision == Precision::Leased;
            Ok(if leased { Outcome::Leased } else { Outcome::Exact })
        }
        Ok(Heard::Refused(standings)) => {
            settled.standings = standings;
            Err(())
        }
        Err(failure) => {
            applied.rule.counters.tally.failure(failure);
            without_store(program, &fleet, settled, now)
        }
    }
}

async fn leased(
    program: &LimitProgram,
    fleet: &Fleet<'_>,
    applied: &Applied<'_>,
    facts: &Facts<'_>,
    so_far: &mut SoFar,
) -> Result<Heard, StoreFailure> {
    let lease = fleet.book.lease(applied, || applied.key_text(facts));
    let (reply, ask) = match lease.take(applied.cost, fleet.book.now()) {
        Taken::Now(in_hand) => return Ok(from_hand(program, fleet, applied, lease, in_hand)),
        Taken::Overload => return Err(StoreFailure::Overload),
        Taken::Wait { reply, ask } => (reply, ask),
    };
    if ask {
        fetch(program, fleet, applied, lease);
    }
    match so_far.wait(fleet.scope.store_timeout, fleet.link, reply).await? {
        Ok(heard) => heard,
        // Whoever asked is gone with its runtime.
        Err(_) => Err(StoreFailure::Connect),
    }
}

/// Whoever finds that it is time for more sees to it.
fn from_hand(
    program: &LimitProgram,
    fleet: &Fleet<'_>,
    applied: &Applied<'_>,
    lease: Arc<Lease>,
    in_hand: InHand,
) -> Heard {
    match in_hand {
        InHand::Granted { standings, renew } => {
            if renew {
                fetch(program, fleet, applied, lease);
            }
            Heard::Granted(standings)
        }
        InHand::Refused(standings) => Heard::Refused(standings),
    }
}

/// As [`settle`], of the only rule of a program, which is leased and has no guard. None: somebody has to be asked, and
/// nothing was counted.
///
/// # Errors
/// It is refused, and its standings say when to come again.
pub(super) fn settle_in_hand(program: &LimitProgram, settled: &mut Settled<'_>) -> Option<Result<(), ()>> {
    let applied = settled.applied;
    let fleet = fleet(program, &applied)?;
    if applied.cost == 0 || fleet.link.resting().is_some() || hopeless(settled) {
        return None;
    }
    let lease = fleet.book.known(applied.hash)?;
    // By the time that it is: the request may have begun in a period of the calendar that is over.
    let in_hand = lease.take_in_hand(applied.cost, fleet.book.now())?;
    Some(match from_hand(program, &fleet, &applied, lease, in_hand) {
        Heard::Granted(standings) => {
            settled.standings = standings;
            Ok(())
        }
        Heard::Refused(standings) => {
            settled.standings = standings;
            Err(())
        }
    })
}

async fn exact(
    program: &LimitProgram,
    fleet: &Fleet<'_>,
    applied: &Applied<'_>,
    facts: &Facts<'_>,
    so_far: &mut SoFar,
) -> Result<Heard, StoreFailure> {
    let lease = fleet.book.lease(applied, || applied.key_text(facts));
    let wanted = vec![Wanted { lease, shapes: applied.plan.shapes.clone(), cost: applied.cost }];
    let (granted, standings) = ask_exactly(program, fleet.link, fleet.scope.store_timeout, wanted, so_far).await?;
    let standings = standings.into_iter().next().unwrap_or_default();
    Ok(if granted { Heard::Granted(standings) } else { Heard::Refused(standings) })
}

/// Takes units in the background.
fn fetch(program: &LimitProgram, fleet: &Fleet<'_>, applied: &Applied<'_>, lease: Arc<Lease>) {
    match (fleet.link.slot(), program.state().stores.control()) {
        (Ok(slot), Some(control)) => {
            fleet.book.renew(lease, Arc::clone(fleet.link), applied.plan.shapes.clone(), slot, control);
        }
        (Err(failure), _) => lease.unanswered(failure, fleet.book.now()),
        (Ok(_), None) => lease.unanswered(StoreFailure::Unknown, fleet.book.now()),
    }
}

/// Asks on the control runtime, where it goes on without us if it takes too long.
async fn ask_exactly(
    program: &LimitProgram,
    link: &Arc<Link>,
    patience: Duration,
    wanted: Vec<Wanted>,
    so_far: &mut SoFar,
) -> Result<(bool, Vec<Standings>), StoreFailure> {
    let Some(control) = program.state().stores.control() else { return Err(StoreFailure::Unknown) };
    if patience <= so_far.waited {
        return Err(StoreFailure::Timeout);
    }
    let question = control.spawn(exactly(Arc::clone(link), wanted, 1, link.slot()?));
    so_far.wait(patience, link, question).await?.map_err(|_| StoreFailure::Connect)?
}

impl SoFar {
    /// The only place where a request waits for a store.
    async fn wait<T>(
        &mut self,
        patience: Duration,
        link: &Link,
        answer: impl Future<Output = T>,
    ) -> Result<T, StoreFailure> {
        let left = patience.saturating_sub(self.waited);
        if left.is_zero() {
            return answer.now_or_never().ok_or(StoreFailure::Timeout);
        }
        let since = tokio::time::Instant::now();
        let answer = tokio::time::timeout(left, answer).await;
        self.waited += since.elapsed();
        answer.map_err(|_| {
            link.gave_up();
            StoreFailure::Timeout
        })
    }
}

/// What is done about a store that gives no answer.
fn without_store(
    program: &LimitProgram,
    fleet: &Fleet<'_>,
    settled: &mut Settled<'_>,
    now: Instant,
) -> Result<Outcome, ()> {
    match fleet.scope.on_store_failure {
        OnStoreFailure::Allow => Ok(Outcome::Free),
        OnStoreFailure::Deny => {
            let standing = |_| Standing { remaining: 0, reset: 1, retry: 1 };
            settled.standings = settled.applied.plan.shapes.iter().map(standing).collect();
            Err(())
        }
        OnStoreFailure::LocalShare => {
            let book = limits::Book::Share { replicas: fleet.link.replicas() };
            charge(program, settled, book, now).map(|()| Outcome::Share)
        }
    }
}

/// Sheds what is far beyond a replica's part of the limit.
fn guarded(program: &LimitProgram, fleet: &Fleet<'_>, settled: &mut Settled<'_>, now: Instant) -> Result<(), ()> {
    let Some(multiple) = fleet.scope.local_guard else { return Ok(()) };
    let book = limits::Book::Guard { replicas: fleet.link.replicas(), multiple: u64::from(multiple) };
    charge(program, settled, book, now)
}

fn charge(program: &LimitProgram, settled: &mut Settled<'_>, book: limits::Book, now: Instant) -> Result<(), ()> {
    let claims: SmallVec<[Claim<'_>; 4]> = settled.applied.claims(book).collect();
    let mut standings = Standings::new();
    let charged = limits::charge(&claims, program.time(now), &mut standings);
    settled.standings = standings;
    charged.map_err(|Refused { .. }| ())
}

/// It costs more than the limit ever allows at once.
fn hopeless(settled: &mut Settled<'_>) -> bool {
    let Settled { applied, standings } = settled;
    let never = applied.plan.shapes.iter().any(|shape| applied.cost > shape.most());
    if never {
        let standing = |_| Standing { remaining: 0, reset: 0, retry: u64::MAX };
        *standings = applied.plan.shapes.iter().map(standing).collect();
    }
    never
}

/// The request goes no further: its units go back to where they are from.
pub(super) fn put_back(program: &LimitProgram, applied: &Applied<'_>, outcome: Outcome) {
    let Some(fleet) = fleet(program, applied) else { return };
    match outcome {
        Outcome::Free => {}
        Outcome::Leased => {
            if let Some(lease) = fleet.book.known(applied.hash) {
                fleet.book.put_back(&lease, applied.cost);
            }
        }
        Outcome::Exact => {
            let (lease, control) = (fleet.book.known(applied.hash), program.state().stores.control());
            if let (Some(lease), Some(control), Ok(slot)) = (lease, control, fleet.link.slot()) {
                let wanted = vec![Wanted { lease, shapes: applied.plan.shapes.clone(), cost: applied.cost }];
                control.spawn(exactly(Arc::clone(fleet.link), wanted, -1, slot));
            }
        }
        Outcome::Share => {
            let book = limits::Book::Share { replicas: fleet.link.replicas() };
            let claims: SmallVec<[Claim<'_>; 4]> = applied.claims(book).collect();
            limits::give_back(&claims, program.time(Instant::now()));
        }
    }
}

/// How many share what a rule counts.
pub(super) fn replicas(program: &LimitProgram, applied: &Applied<'_>) -> u64 {
    fleet(program, applied).map_or(1, |fleet| fleet.link.replicas())
}

fn is_fleet(settled: &Settled<'_>) -> bool {
    matches!(settled.applied.rule.scope, LimitScope::Fleet(_))
}

fn fleet<'p>(program: &'p LimitProgram, applied: &Applied<'p>) -> Option<Fleet<'p>> {
    let LimitScope::Fleet(scope) = &applied.rule.scope else { return None };
    let index = program.rules.rules().iter().position(|rule| std::ptr::eq(rule, applied.rule))?;
    let super::program::Fleet { book, link } = program.fleets.get(index)?.as_ref()?;
    Some(Fleet { scope, book, link })
}
