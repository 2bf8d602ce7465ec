//! What has been verified, so that it need not be verified again. Bounded in entries and bytes; two generations, so that
//! what is used stays and nothing has to be sorted out.
//!
//! An entry is found by the whole of what it was made from: what verified it (a method and its keys, as a hash of both)
//! and the credential itself, byte by byte. A hash alone only leads there, so nothing can be taken for something else.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use foldhash::fast::RandomState;

/// Bytes of a credential that are hashed at most, from its end.
const ENOUGH: usize = 16;
/// Credentials that are remembered to have been seen once; a power of two.
const NEWCOMERS: usize = 4096;

pub struct Cache<V> {
    hasher: RandomState,
    young: Generation<V>,
    old: Generation<V>,
    max_entries: usize,
    max_bytes: usize,
    /// The last of each few hashes that was not kept; made when there is no room for all.
    newcomers: Box<[u64]>,
}

/// What was found, and for how long it is good.
#[derive(Clone, Debug)]
pub struct Kept<V> {
    pub value: V,
    /// Milliseconds since 1970; good from here on.
    pub from: u64,
    /// Good before here.
    pub until: u64,
}

impl<V> Kept<V> {
    /// For as long as what verified it stays as it is.
    pub const fn for_good(value: V) -> Self {
        Self { value, from: 0, until: u64::MAX }
    }

    fn is_good(&self, now: impl FnOnce() -> u64) -> bool {
        if self.from == 0 && self.until == u64::MAX {
            return true;
        }
        let now = now();
        self.from <= now && now < self.until
    }
}

struct Generation<V> {
    entries: HashMap<u64, Entry<V>, BuildHasherDefault<AsItIs>>,
    bytes: usize,
}

struct Entry<V> {
    context: [u8; 32],
    credential: Box<[u8]>,
    kept: Kept<V>,
}

impl<V: Clone> Cache<V> {
    /// Each generation holds at most half.
    pub fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            young: Generation::default(),
            old: Generation::default(),
            max_entries: max_entries / 2,
            max_bytes: max_bytes / 2,
            newcomers: Box::default(),
        }
    }

    /// What was kept, if it is good now, which only what ends at a moment has to be asked about. What is not good is
    /// forgotten: a clock that is set back does not bring it back.
    pub fn get(&mut self, context: &[u8; 32], credential: &[u8], now: impl FnOnce() -> u64) -> Option<V> {
        let hash = self.hash(context, credential);
        let is_it = |entry: &Entry<V>| entry.context == *context && *entry.credential == *credential;
        if let Some(entry) = self.young.entries.get(&hash).filter(|entry| is_it(entry)) {
            if entry.kept.is_good(now) {
                return Some(entry.kept.value.clone());
            }
            self.young.remove(hash);
            return None;
        }
        if !self.old.entries.get(&hash).is_some_and(is_it) {
            return None;
        }
        let entry = self.old.remove(hash)?;
        if !entry.kept.is_good(now) {
            return None;
        }
        let value = entry.kept.value.clone();
        self.put_entry(hash, entry);
        Some(value)
    }

    pub fn put(&mut self, context: &[u8; 32], credential: &[u8], kept: Kept<V>) {
        let hash = self.hash(context, credential);
        self.put_entry(hash, Entry { context: *context, credential: credential.into(), kept });
    }

    /// As [`Self::put`], but where there is no room for all only what comes a second time is kept: among credentials that
    /// are used once, to keep each is to sort out as many.
    pub fn put_if_used(&mut self, context: &[u8; 32], credential: &[u8], kept: impl FnOnce() -> Kept<V>) {
        let hash = self.hash(context, credential);
        if self.old.entries.is_empty() || self.was_seen(hash) {
            self.put_entry(hash, Entry { context: *context, credential: credential.into(), kept: kept() });
        }
    }

    pub fn len(&self) -> usize {
        self.young.entries.len() + self.old.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is not new, as far as that is remembered.
    fn was_seen(&mut self, hash: u64) -> bool {
        if self.newcomers.is_empty() {
            self.newcomers = vec![0; NEWCOMERS].into();
        }
        // Cut to the table's length.
        let at = usize::try_from(hash % NEWCOMERS as u64).unwrap_or(0);
        std::mem::replace(&mut self.newcomers[at], hash) == hash
    }

    fn put_entry(&mut self, hash: u64, entry: Entry<V>) {
        let bytes = entry.credential.len();
        if bytes > self.max_bytes || self.max_entries == 0 {
            return;
        }
        if self.young.entries.len() >= self.max_entries || self.young.bytes + bytes > self.max_bytes {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.remove(hash);
        self.young.bytes += bytes;
        self.young.entries.insert(hash, entry);
    }

    /// Of its length and its end, which of a token is a signature. Where two end alike one takes the other's place.
    fn hash(&self, context: &[u8; 32], credential: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        let context = u64::from_ne_bytes(*context.first_chunk().unwrap_or(&[0; 8]));
        hasher.write_u64(context ^ (credential.len() as u64).rotate_right(16));
        hasher.write(credential.last_chunk::<ENOUGH>().map_or(credential, |end| end));
        hasher.finish()
    }
}

impl<V> Generation<V> {
    fn remove(&mut self, hash: u64) -> Option<Entry<V>> {
        let entry = self.entries.remove(&hash)?;
        self.bytes -= entry.credential.len();
        Some(entry)
    }
}

impl<V> Default for Generation<V> {
    fn default() -> Self {
        Self { entries: HashMap::default(), bytes: 0 }
    }
}

/// Credentials redact themselves: how many there are is all that is shown.
impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({} entries)", self.young.entries.len() + self.old.entries.len())
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `u64` is ever hashed.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREVER: (u64, u64) = (0, u64::MAX);

    fn kept(value: u32, (from, until): (u64, u64)) -> Kept<u32> {
        Kept { value, from, until }
    }

    #[test]
    fn an_entry_is_found_by_credential_and_context_alone() {
        let mut cache = Cache::new(100, 10_000);
        cache.put(&[1; 32], b"token", kept(1, FOREVER));
        assert_eq!(cache.get(&[1; 32], b"token", || 5), Some(1));
        assert_eq!(cache.get(&[2; 32], b"token", || 5), None);
        assert_eq!(cache.get(&[1; 32], b"tokem", || 5), None);
        assert_eq!(cache.get(&[1; 32], b"", || 5), None);
        let (one, other) = ([b"1".as_slice(), &[b'e'; 100]].concat(), [b"2".as_slice(), &[b'e'; 100]].concat());
        cache.put(&[1; 32], &one, kept(1, FOREVER));
        assert_eq!(cache.get(&[1; 32], &other, || 5), None, "they end alike");
        cache.put(&[1; 32], &other, kept(2, FOREVER));
        assert_eq!((cache.get(&[1; 32], &one, || 5), cache.get(&[1; 32], &other, || 5)), (None, Some(2)));
    }

    #[test]
    fn an_entry_ends_at_its_moment_and_does_not_come_back_with_the_clock() {
        let mut cache = Cache::new(100, 10_000);
        cache.put(&[1; 32], b"token", kept(1, (10, 20)));
        assert_eq!(cache.get(&[1; 32], b"token", || 19), Some(1));
        assert_eq!(cache.get(&[1; 32], b"token", || 20), None);
        assert_eq!(cache.get(&[1; 32], b"token", || 15), None);
        cache.put(&[1; 32], b"token", kept(1, (10, 20)));
        assert_eq!(cache.get(&[1; 32], b"token", || 9), None, "the clock was set back");
    }

    #[test]
    fn entries_and_bytes_are_bounded_and_what_is_used_stays() {
        let mut cache = Cache::new(100, 1_000_000);
        cache.put(&[0; 32], b"used", kept(7, FOREVER));
        for round in 0..10_000_u32 {
            cache.put(&[0; 32], &round.to_be_bytes(), kept(round, FOREVER));
            assert!(cache.len() <= 101);
            assert_eq!(cache.get(&[0; 32], b"used", || 0), Some(7), "after {round}");
        }
        let mut cache = Cache::new(100, 1_000_000);
        for round in 0..50_u32 {
            cache.put_if_used(&[0; 32], &round.to_be_bytes(), || kept(round, FOREVER));
            assert_eq!(cache.get(&[0; 32], &round.to_be_bytes(), || 0), Some(round), "there is room");
        }
        cache.put(&[0; 32], b"one too many", kept(0, FOREVER));
        for round in 1_000..11_000_u32 {
            cache.put_if_used(&[0; 32], &round.to_be_bytes(), || kept(round, FOREVER));
            assert_eq!(cache.get(&[0; 32], &round.to_be_bytes(), || 0), None, "it may come once");
        }
        assert_eq!(cache.get(&[0; 32], &7_u32.to_be_bytes(), || 0), Some(7), "nothing had to go for them");
        for sight in [None, Some(7)] {
            cache.put_if_used(&[0; 32], b"twice", || kept(7, FOREVER));
            assert_eq!(cache.get(&[0; 32], b"twice", || 0), sight);
        }
        let mut cache = Cache::new(1000, 1000);
        for round in 0..1000_u32 {
            cache.put(&[0; 32], &[round.to_be_bytes().as_slice(), &[0; 96]].concat(), kept(round, FOREVER));
            assert!(cache.len() <= 10);
        }
        cache.put(&[0; 32], &[0; 2000], kept(0, FOREVER));
        assert_eq!(cache.get(&[0; 32], &[0; 2000], || 0), None);
    }
}
