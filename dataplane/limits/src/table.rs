//! Words by key: bounded, never locked for a key seen before, never allocating for it.
//!
//! A key is 64 bits of a hash with a secret seed; two keys share a word with a probability of one in 10^7 even when a
//! million are alive. Slots come in sets of eight, sets in levels of which each is sixteen times the one before, so
//! that a limit with one key costs one set. A key that is new takes a slot that is empty, or whose word says nothing any
//! more; when there is none the next level is opened, and when there is no next level the stalest of its set goes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::shape::Shape;
use crate::time::{SECOND, Time};

const WAYS: usize = 8;
/// Sets of each level; together 559,240 slots.
const LEVELS: [usize; 5] = [1, 16, 256, 4096, 65_536];
/// Sets that are allocated together.
const SEGMENT: usize = 16;
const EMPTY: u64 = 0;
const BUSY: u64 = 1;

/// How many sets all tables of a process may have together.
#[derive(Debug)]
pub(crate) struct Budget(AtomicUsize);

/// The words of one limit.
#[derive(Debug)]
pub(crate) struct Table {
    levels: [OnceLock<Level>; LEVELS.len()],
    /// New keys come one after the other.
    entry: Mutex<()>,
    evicted: AtomicU64,
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Level {
    segments: Box<[OnceLock<Box<[Set]>>]>,
    mask: u64,
}

/// One cache line each.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set {
    tags: [AtomicU64; WAYS],
    words: [AtomicU64; WAYS],
    /// The second of the last use, and [`Shape::mark`].
    notes: [AtomicU64; WAYS],
}

/// The place of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'t> {
    set: &'t Set,
    way: usize,
}

impl Budget {
    /// For about so many keys.
    pub(crate) fn of(keys: usize) -> Self {
        Self(AtomicUsize::new(keys.div_ceil(WAYS)))
    }

    fn take(&self, sets: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(sets)).is_ok()
    }

    fn give(&self, sets: usize) {
        self.0.fetch_add(sets, Ordering::Relaxed);
    }
}

impl Table {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { levels: Default::default(), entry: Mutex::new(()), evicted: AtomicU64::new(0), budget }
    }

    /// Keys that were forgotten although their words still said something.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// The place of a key, made if it is new, with its word in terms of `shape`.
    #[inline]
    pub(crate) fn slot(&self, tag: u64, shape: &Shape, now: Time) -> Slot<'_> {
        match self.find(tag) {
            Some(slot) if slot.mark() == shape.mark() => slot,
            _ => self.enter(tag, shape, now),
        }
    }

    /// The place of a key that was seen before, and whose word is in terms of the shape that has this mark.
    #[inline]
    pub(crate) fn seen(&self, tag: u64, mark: u32) -> Option<Slot<'_>> {
        self.find(tag).filter(|slot| slot.mark() == mark)
    }

    /// The word of a key that was seen before.
    pub(crate) fn peek(&self, tag: u64, shape: &Shape, now: Time) -> Option<u64> {
        let slot = self.find(tag)?;
        let (mark, word) = (slot.mark(), slot.word());
        Some(if mark == shape.mark() { word } else { shape.convert(mark, word, now) })
    }

    /// Forgets a key.
    pub(crate) fn reset(&self, tag: u64) {
        let _entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = self.find(tag) {
            slot.set.words[slot.way].store(0, Ordering::Relaxed);
        }
    }

    /// Forgets every key.
    pub(crate) fn clear(&self) {
        let _entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        let segments = self.levels.iter().filter_map(OnceLock::get).flat_map(|level| &level.segments);
        for set in segments.filter_map(OnceLock::get).flatten() {
            set.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }

    /// Most keys are in the largest level.
    #[inline]
    fn find(&self, tag: u64) -> Option<Slot<'_>> {
        let tag = known(tag);
        self.levels.iter().rev().filter_map(OnceLock::get).find_map(|level| level.set(tag)?.find(tag))
    }

    #[cold]
    fn enter(&self, tag: u64, shape: &Shape, now: Time) -> Slot<'_> {
        let _entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been quicker.
        if let Some(slot) = self.find(tag) {
            let mark = slot.mark();
            if mark != shape.mark() {
                let change = |word| Some(shape.convert(mark, word, now));
                let _ = slot.set.words[slot.way].fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
                slot.note(shape, now);
            }
            return slot;
        }
        let slot = self.room(known(tag), now);
        slot.set.tags[slot.way].store(BUSY, Ordering::Relaxed);
        slot.set.words[slot.way].store(0, Ordering::Relaxed);
        slot.note(shape, now);
        slot.set.tags[slot.way].store(known(tag), Ordering::Release);
        slot
    }

    fn room(&self, tag: u64, now: Time) -> Slot<'_> {
        let mut stalest: Option<(u64, Slot<'_>)> = None;
        for (cell, &sets) in self.levels.iter().zip(&LEVELS) {
            let level = cell.get_or_init(|| Level::new(sets));
            let Some(set) = level.open(tag, &self.budget) else { break };
            if let Some(way) = set.free(now) {
                return Slot { set, way };
            }
            let (used, way) = set.stalest();
            if stalest.is_none_or(|(oldest, _)| used < oldest) {
                stalest = Some((used, Slot { set, way }));
            }
        }
        self.evicted.fetch_add(1, Ordering::Relaxed);
        // The first level's only segment is opened whatever the budget says.
        stalest.map_or_else(|| unreachable!("the first level always has a set"), |(_, slot)| slot)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let segments = self.levels.iter().filter_map(OnceLock::get).flat_map(|level| &level.segments);
        self.budget.give(segments.filter_map(OnceLock::get).map(|sets| sets.len()).sum());
    }
}

impl Level {
    fn new(sets: usize) -> Self {
        let segments = sets.div_ceil(SEGMENT);
        Self { segments: (0..segments).map(|_| OnceLock::new()).collect(), mask: sets as u64 - 1 }
    }

    #[inline]
    fn place(&self, tag: u64) -> (usize, usize) {
        // The mask is at most 16 bits.
        let set = usize::try_from((tag >> 40) & self.mask).unwrap_or(0);
        (set / SEGMENT, set % SEGMENT)
    }

    #[inline]
    fn set(&self, tag: u64) -> Option<&Set> {
        let (segment, set) = self.place(tag);
        self.segments[segment].get()?.get(set)
    }

    /// As [`Level::set`]; what was never used is allocated if the budget allows it.
    fn open(&self, tag: u64, budget: &Budget) -> Option<&Set> {
        let (segment, set) = self.place(tag);
        let sets = SEGMENT.min(self.mask as usize + 1);
        if self.segments[segment].get().is_none() && !budget.take(sets) && sets > 1 {
            return None;
        }
        self.segments[segment].get_or_init(|| (0..sets).map(|_| Set::default()).collect()).get(set)
    }
}

impl Set {
    #[inline]
    fn find(&self, tag: u64) -> Option<Slot<'_>> {
        let way = self.tags.iter().position(|held| held.load(Ordering::Acquire) == tag)?;
        Some(Slot { set: self, way })
    }

    /// A slot that is empty, or that says nothing any more. One of this very second is somebody's who is about to count.
    fn free(&self, now: Time) -> Option<usize> {
        (0..WAYS).find(|&way| {
            let note = self.notes[way].load(Ordering::Relaxed);
            self.tags[way].load(Ordering::Relaxed) == EMPTY
                || (note >> 32 != stamp(now)
                    && Shape::is_idle(mark(note), self.words[way].load(Ordering::Relaxed), now))
        })
    }

    /// When it was used last, and its way.
    fn stalest(&self) -> (u64, usize) {
        let used = (0..WAYS).map(|way| (self.notes[way].load(Ordering::Relaxed) >> 32, way));
        used.min().unwrap_or_default()
    }
}

impl Slot<'_> {
    #[inline]
    pub(crate) fn word(self) -> u64 {
        self.set.words[self.way].load(Ordering::Relaxed)
    }

    /// Puts `next` in the place of `word`.
    ///
    /// # Errors
    /// The word that is there instead.
    #[inline]
    pub(crate) fn exchange(self, word: u64, next: u64, now: Time) -> Result<(), u64> {
        let cell = &self.set.words[self.way];
        cell.compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed)?;
        let note = &self.set.notes[self.way];
        let held = note.load(Ordering::Relaxed);
        if held >> 32 != stamp(now) {
            note.store((stamp(now) << 32) | u64::from(mark(held)), Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) fn update(self, change: impl Fn(u64) -> u64) {
        let _ = self.set.words[self.way].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| Some(change(word)));
    }

    #[inline]
    fn mark(self) -> u32 {
        mark(self.set.notes[self.way].load(Ordering::Relaxed))
    }

    fn note(self, shape: &Shape, now: Time) {
        self.set.notes[self.way].store((stamp(now) << 32) | u64::from(shape.mark()), Ordering::Relaxed);
    }
}

/// No key is taken for an empty slot.
#[inline]
fn known(tag: u64) -> u64 {
    tag.max(BUSY + 1)
}

fn stamp(now: Time) -> u64 {
    (now.monotonic / SECOND) & u64::from(u32::MAX)
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half")]
fn mark(note: u64) -> u32 {
    note as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Window;

    fn at(seconds: u64) -> Time {
        Time { monotonic: seconds * SECOND, unix: seconds }
    }

    fn spend(table: &Table, tag: u64, shape: &Shape, now: Time) {
        let slot = table.slot(tag, shape, now);
        if let Ok((next, _)) = shape.admit(slot.word(), 1, now) {
            slot.exchange(slot.word(), next, now).unwrap_or_default();
        }
    }

    fn tag(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn ten_million_keys_stay_within_the_budget_and_the_stalest_go() {
        let budget = Arc::new(Budget::of(4096));
        let table = Table::new(Arc::clone(&budget));
        let shape = Shape::Window(Window::new(10, 3600 * SECOND, 10));
        for number in 0..10_000_000 {
            spend(&table, tag(number), &shape, at(10 + number / 1_000_000));
        }
        assert!(budget.0.load(Ordering::Relaxed) < SEGMENT, "all that may be used is used");
        assert!(table.evicted() > 9_900_000);
        let held = |range: std::ops::Range<u64>| {
            range.filter(|number| table.peek(tag(*number), &shape, at(20)).is_some()).count()
        };
        assert_eq!(held(0..9_000_000), 0);
        // Of the last second, whose keys are all equally stale.
        assert!(held(9_000_000..10_000_000) > 1_000, "the newest are there");
        drop(table);
        assert_eq!(budget.0.load(Ordering::Relaxed), 512);
    }

    #[test]
    fn a_key_whose_word_says_nothing_makes_room_without_being_missed() {
        let table = Table::new(Arc::new(Budget::of(128)));
        let shape = Shape::Window(Window::new(1, SECOND, 1));
        for number in 0..10_000 {
            spend(&table, tag(number), &shape, at(10 + 3 * number));
        }
        assert_eq!(table.evicted(), 0);
    }

    #[test]
    fn a_key_keeps_its_word_when_the_limit_changes() {
        let table = Table::new(Arc::new(Budget::of(128)));
        let before = Shape::Window(Window::new(10, SECOND, 10));
        let after = Shape::Window(Window::new(100, 60 * SECOND, 100));
        for _ in 0..10 {
            spend(&table, tag(7), &before, at(10));
        }
        let word = table.slot(tag(7), &after, at(10)).word();
        assert_eq!(after.standing(word, at(10)).remaining, 90);
        table.reset(tag(7));
        assert_eq!(after.standing(table.slot(tag(7), &after, at(10)).word(), at(10)).remaining, 100);
    }
}
