//! A seeded hash of byte strings that arrive in pieces, and the hasher of maps whose keys are such hashes.
//!
//! The value of a header that occurs several times, or of a percent-encoded parameter, exists only in pieces; hashing it
//! piece by piece must give what hashing the whole gives, which `std::hash::Hasher` does not promise. Collisions cost
//! time, never correctness: what is found by a hash is compared in full.

use std::hash::{BuildHasherDefault, Hasher};

/// For maps keyed by a [`Pieces`] hash.
pub(crate) type BuildIdentity = BuildHasherDefault<Identity>;

pub(crate) struct Pieces {
    state: u64,
    pending: u64,
    /// Bytes in `pending`; 0 to 7.
    filled: u32,
    length: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Identity(u64);

// The fractional digits of e and of the golden ratio: odd, and without structure.
const MULTIPLIER: u64 = 0xb7e1_5162_8aed_2a6b;
const OFFSET: u64 = 0x9e37_79b9_7f4a_7c15;

impl Pieces {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed ^ OFFSET, pending: 0, filled: 0, length: 0 }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        if self.filled == 0 {
            while let Some((head, tail)) = bytes.split_first_chunk::<8>() {
                self.mix(u64::from_le_bytes(*head));
                self.length += 8;
                bytes = tail;
            }
        }
        for &byte in bytes {
            self.push(byte);
        }
    }

    pub(crate) fn push(&mut self, byte: u8) {
        self.pending |= u64::from(byte) << (8 * self.filled);
        self.filled += 1;
        self.length += 1;
        if self.filled == 8 {
            self.mix(self.pending);
            (self.pending, self.filled) = (0, 0);
        }
    }

    /// Ends one string, so that `ab` + `c` and `a` + `bc` differ.
    pub(crate) fn end(&mut self) {
        self.mix(self.pending);
        self.mix(self.length);
        (self.pending, self.filled, self.length) = (0, 0, 0);
    }

    pub(crate) fn finish(&self) -> u64 {
        self.state
    }

    fn mix(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(MULTIPLIER);
        // Both halves on purpose: the high one holds what the low one lost.
        #[allow(clippy::cast_possible_truncation)]
        let folded = product as u64 ^ (product >> 64) as u64;
        self.state = folded.wrapping_add(OFFSET);
    }
}

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(parts: &[&[&str]]) -> u64 {
        let mut pieces = Pieces::new(7);
        for part in parts {
            for piece in *part {
                pieces.write(piece.as_bytes());
            }
            pieces.end();
        }
        pieces.finish()
    }

    #[test]
    fn pieces_hash_as_their_whole() {
        let text = "a value that is longer than two words of eight bytes";
        for cut in 0..text.len() {
            let (head, tail) = text.split_at(cut);
            assert_eq!(hash(&[&[head, tail]]), hash(&[&[text]]), "{cut}");
        }
    }

    #[test]
    fn where_one_string_ends_matters() {
        assert_ne!(hash(&[&["ab"], &["c"]]), hash(&[&["a"], &["bc"]]));
        assert_ne!(hash(&[&["a"]]), hash(&[&["a\0"]]));
        assert_ne!(hash(&[&[""]]), hash(&[]));
    }
}
