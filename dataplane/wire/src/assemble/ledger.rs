//! What was sent of one lane, and what of it is held: digests that follow each update by the difference.

use std::collections::{BTreeMap, HashMap};

use portcullis_ir::Digest;

use crate::digests::KeyHash;

/// The two differ where a resource was rejected: it counts as sent, so that later deltas still add up to the sender's
/// digest, but what is claimed to be held is what stood there before.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sent: BTreeMap<KeyHash, Digest>,
    digest: Digest,
    /// Where `held` is not what was sent: what is held instead. At most one entry for each entry of `sent`, or for a
    /// resource that a rejected update left in place.
    diverged: HashMap<KeyHash, Option<Digest>>,
    held: Digest,
}

/// What an update does to one key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Put(Digest),
    /// Sent, but not taken: what was there stays.
    Reject(Digest),
    Remove,
}

impl Step {
    fn sent(self) -> Option<Digest> {
        match self {
            Self::Put(digest) | Self::Reject(digest) => Some(digest),
            Self::Remove => None,
        }
    }
}

impl Ledger {
    /// The sum of what was sent.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// The sum of what is held.
    pub(super) fn held(&self) -> Digest {
        self.held
    }

    pub(super) fn put(&mut self, key: KeyHash, digest: Digest) {
        self.commit(HashMap::from([(key, Step::Put(digest))]));
    }

    pub(super) fn disclaim(&mut self, key: KeyHash) {
        if let Some(digest) = self.held_of(key) {
            self.held -= digest;
            self.diverged.insert(key, None);
        }
    }

    pub(super) fn digest_after(&self, steps: &HashMap<KeyHash, Step>) -> Digest {
        let mut digest = self.digest;
        for (key, step) in steps {
            if let Some(before) = self.sent.get(key) {
                digest -= *before;
            }
            if let Some(after) = step.sent() {
                digest += after;
            }
        }
        digest
    }

    pub(super) fn count_after(&self, steps: &HashMap<KeyHash, Step>) -> usize {
        steps.iter().fold(self.sent.len(), |count, (key, step)| {
            match (self.sent.contains_key(key), step.sent().is_some()) {
                (false, true) => count + 1,
                (true, false) => count - 1,
                _ => count,
            }
        })
    }

    pub(super) fn commit(&mut self, steps: HashMap<KeyHash, Step>) {
        self.digest = self.digest_after(&steps);
        for (key, step) in steps {
            let held_before = self.held_of(key);
            match step.sent() {
                Some(digest) => self.sent.insert(key, digest),
                None => self.sent.remove(&key),
            };
            let held_after = match step {
                Step::Put(digest) => Some(digest),
                Step::Reject(_) => held_before,
                Step::Remove => None,
            };
            if let Some(digest) = held_before {
                self.held -= digest;
            }
            if let Some(digest) = held_after {
                self.held += digest;
            }
            match step {
                Step::Reject(_) => self.diverged.insert(key, held_after),
                Step::Put(_) | Step::Remove => self.diverged.remove(&key),
            };
        }
    }

    fn held_of(&self, key: KeyHash) -> Option<Digest> {
        match self.diverged.get(&key) {
            Some(held) => *held,
            None => self.sent.get(&key).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bits: u128) -> Digest {
        Digest::from_bits(bits)
    }

    fn commit(ledger: &mut Ledger, key: &str, step: Step) {
        ledger.commit(HashMap::from([(KeyHash::of_encoded(key.as_bytes()), step)]));
    }

    #[test]
    fn a_rejected_resource_counts_as_sent_and_leaves_held_what_was_there() {
        let mut ledger = Ledger::default();
        commit(&mut ledger, "a", Step::Put(digest(1)));
        commit(&mut ledger, "a", Step::Reject(digest(10)));
        commit(&mut ledger, "b", Step::Reject(digest(100)));
        assert_eq!((ledger.digest(), ledger.held()), (digest(110), digest(1)));
        commit(&mut ledger, "a", Step::Put(digest(1000)));
        commit(&mut ledger, "b", Step::Remove);
        assert_eq!((ledger.digest(), ledger.held()), (digest(1000), digest(1000)));
    }

    #[test]
    fn what_is_disclaimed_is_held_again_when_it_is_sent_anew() {
        let mut ledger = Ledger::default();
        commit(&mut ledger, "a", Step::Put(digest(1)));
        let key = KeyHash::of_encoded(b"a");
        ledger.disclaim(key);
        ledger.disclaim(key);
        assert_eq!((ledger.digest(), ledger.held()), (digest(1), Digest::EMPTY));
        commit(&mut ledger, "a", Step::Put(digest(2)));
        assert_eq!((ledger.digest(), ledger.held()), (digest(2), digest(2)));
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut ledger = Ledger::default();
        commit(&mut ledger, "a", Step::Remove);
        assert_eq!((ledger.digest(), ledger.held()), (Digest::EMPTY, Digest::EMPTY));
        assert_eq!(ledger.count_after(&HashMap::new()), 0);
    }
}
