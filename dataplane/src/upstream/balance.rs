//! Least-request of two random choices, and the small random numbers for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A worker's random numbers (splitmix64): no lock, no allocation, not for secrets.
#[derive(Debug)]
pub(crate) struct Rng(AtomicU64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut mixed = state ^ (state >> 30);
        mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^= mixed >> 27;
        mixed = mixed.wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Two different indices below `length`, which must be at least 2.
    pub(crate) fn two_below(&self, length: usize) -> (usize, usize) {
        let random = self.next();
        let first = scale(random >> 32, length);
        let second = scale(random & 0xffff_ffff, length - 1);
        (first, if second >= first { second + 1 } else { second })
    }
}

/// Maps 32 random bits to `0..length` without a division (Lemire); sets are far smaller than 2^32.
fn scale(bits: u64, length: usize) -> usize {
    ((bits * length as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn two_choices_are_different_in_range_and_even() {
        let rng = Rng::new(1);
        for length in [2, 3, 7] {
            let mut hits = vec![0_u32; length];
            for _ in 0..10_000 {
                let (first, second) = rng.two_below(length);
                assert_ne!(first, second);
                hits[first] += 1;
                hits[second] += 1;
            }
            let expected = 20_000 / u32::try_from(length).unwrap_or(1);
            assert!(hits.iter().all(|hits| hits.abs_diff(expected) < expected / 10), "{hits:?}");
        }
    }
}
