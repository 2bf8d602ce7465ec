//! Check every limit, then count. What is refused has consumed from none.

use smallvec::SmallVec;

use crate::counter::Counters;
use crate::rule::Applied;
use crate::shape::{Shape, Standing};
use crate::table::{Slot, Table};
use crate::time::Time;

/// Where a request stands with the limits that apply to it.
pub type Standings = SmallVec<[Standing; 4]>;

/// Units that are wanted of one limit under one key.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'t> {
    table: &'t Table,
    tag: u64,
    shape: Shape,
    units: u64,
}

/// The limit that refuses; of several, the one that makes the client wait the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which of the claims.
    pub claim: usize,
    pub standing: Standing,
}

/// Which of a rule's counters are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Book {
    Own,
    /// A replica's part of a limit of the fleet.
    Share {
        replicas: u64,
    },
    /// A multiple of that part.
    Guard {
        replicas: u64,
        multiple: u64,
    },
}

impl<'t> Applied<'t> {
    /// What the request wants of the rule's limits, for each of them.
    #[inline]
    pub fn claims(&self, book: Book) -> impl Iterator<Item = Claim<'t>> + use<'t> {
        let (hash, units) = (self.hash, self.cost);
        book.claims(&self.rule.counters, &self.plan.shapes, hash, units)
    }
}

impl Claim<'_> {
    pub(crate) fn peek(&self, now: Time) -> Standing {
        self.shape.standing(self.table.peek(self.tag, &self.shape, now).unwrap_or(0), now)
    }

    pub(crate) fn reset(&self) {
        self.table.reset(self.tag);
    }
}

impl Book {
    #[inline]
    pub(crate) fn claims<'t>(
        self,
        counters: &'t Counters,
        shapes: &'t [Shape],
        tag: u64,
        units: u64,
    ) -> impl Iterator<Item = Claim<'t>> + use<'t> {
        let tables = match self {
            Self::Own => &counters.own,
            Self::Share { .. } => &counters.share,
            Self::Guard { .. } => &counters.guard,
        };
        shapes.iter().zip(tables).map(move |(shape, table)| {
            let shape = match self {
                Self::Own => *shape,
                Self::Share { replicas } => shape.share(replicas),
                Self::Guard { replicas, multiple } => shape.share(replicas).multiple(multiple),
            };
            Claim { table, tag, shape, units }
        })
    }
}

/// Counts all claims, or none. Gives where each stands afterwards.
///
/// # Errors
/// [`Refused`]; `standings` then says where each stands without the request.
#[inline]
pub fn charge(claims: &[Claim<'_>], now: Time, standings: &mut Standings) -> Result<(), Refused> {
    let mut checked: SmallVec<[(Slot<'_>, u64, u64); 4]> = SmallVec::new();
    let mut refused: Option<Refused> = None;
    standings.clear();
    for (index, claim) in claims.iter().enumerate() {
        let slot = claim.table.slot(claim.tag, &claim.shape, now);
        let word = slot.word();
        match claim.shape.admit(word, claim.units, now) {
            Ok((next, standing)) => {
                checked.push((slot, word, next));
                standings.push(standing);
            }
            // What costs nothing is refused nowhere.
            Err(standing) if claim.units == 0 => {
                checked.push((slot, word, word));
                standings.push(Standing { retry: 0, ..standing });
            }
            Err(standing) => {
                checked.push((slot, word, word));
                standings.push(Standing { retry: 0, ..standing });
                if refused.is_none_or(|refused| refused.standing.retry < standing.retry) {
                    refused = Some(Refused { claim: index, standing });
                }
            }
        }
    }
    if let Some(refused) = refused {
        return Err(unspent(claims, now, standings, refused));
    }
    for (index, &(slot, word, next)) in checked.iter().enumerate() {
        if word != next && slot.exchange(word, next, now).is_err() {
            contended(claims, &checked, index, now, standings)?;
        }
    }
    Ok(())
}

/// [`charge`] of one limit, by this replica for itself. Gives the key's word, of which [`Shape::standing`] tells more.
///
/// # Errors
/// Where it stands, and when to come again.
#[inline]
pub(crate) fn charge_one(applied: &Applied<'_>, shape: &Shape, table: &Table, now: Time) -> Result<u64, Standing> {
    let slot = table.slot(applied.hash, shape, now);
    loop {
        let word = slot.word();
        match shape.advance(word, applied.cost, now) {
            Some(next) if word == next || slot.exchange(word, next, now).is_ok() => return Ok(next),
            // Somebody counted under the same key meanwhile.
            Some(_) => {}
            // What costs nothing is refused nowhere.
            None if applied.cost == 0 => return Ok(word),
            None => return Err(shape.admit(word, applied.cost, now).map_or_else(|standing| standing, |(_, now)| now)),
        }
    }
}

/// Gives back what [`charge`] has counted.
pub fn give_back(claims: &[Claim<'_>], now: Time) {
    for claim in claims {
        let slot = claim.table.slot(claim.tag, &claim.shape, now);
        slot.update(|word| claim.shape.refund(word, claim.units, now));
    }
}

/// Somebody counted under the same key meanwhile.
#[cold]
fn contended(
    claims: &[Claim<'_>],
    checked: &[(Slot<'_>, u64, u64)],
    index: usize,
    now: Time,
    standings: &mut Standings,
) -> Result<(), Refused> {
    let (claim, slot) = (&claims[index], checked[index].0);
    loop {
        let word = slot.word();
        match claim.shape.admit(word, claim.units, now) {
            Ok((next, standing)) => {
                if slot.exchange(word, next, now).is_ok() {
                    standings[index] = standing;
                    return Ok(());
                }
            }
            Err(standing) => {
                for (claim, (slot, word, next)) in claims[..index].iter().zip(checked) {
                    if word != next {
                        slot.update(|word| claim.shape.refund(word, claim.units, now));
                    }
                }
                return Err(unspent(claims, now, standings, Refused { claim: index, standing }));
            }
        }
    }
}

#[cold]
fn unspent(claims: &[Claim<'_>], now: Time, standings: &mut Standings, refused: Refused) -> Refused {
    for (claim, standing) in claims.iter().zip(standings.iter_mut()) {
        *standing = claim.shape.standing(claim.table.slot(claim.tag, &claim.shape, now).word(), now);
    }
    standings[refused.claim] = refused.standing;
    refused
}

#[cfg(test)]
mod tests;
