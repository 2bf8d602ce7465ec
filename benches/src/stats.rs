//! What a row of numbers comes to: medians and quartiles, never means of what a busy machine skews.

use serde::{Deserialize, Serialize};

/// Rounds that a paired ratio needs before anybody may judge by it; with seven it was found 20 % off.
pub const ENOUGH_ROUNDS: usize = 12;

/// A median with its quartiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    /// None of nothing.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let at = |share| percentile(values, share);
        Some(Self { median: at(0.5)?, low: at(0.25)?, high: at(0.75)? })
    }

    /// Of the quotients of what stands in the same place: a round is compared with itself only, so that what the machine did to a whole
    /// round falls out.
    #[must_use]
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        if ratios.iter().any(|ratio| !ratio.is_finite()) {
            return None;
        }
        Self::of(&ratios)
    }

    /// How far the median may well be off by chance: two standard errors of the median of so many values, their deviation estimated by the
    /// quartiles as of a normal distribution (1.253 σ ÷ √n, σ = IQR ÷ 1.349).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    pub fn doubt(self, values: usize) -> f64 {
        2.0 * 1.253 * (self.high - self.low) / 1.349 / (values as f64).sqrt()
    }
}

/// The value below which this share of all lies, linear between neighbours. None of nothing.
#[must_use]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// None of nothing.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a count")]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The greatest, or zero of nothing.
#[must_use]
pub fn greatest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these are exact")]
    use super::*;

    #[test]
    fn a_percentile_lies_between_its_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&values, 0.5), Some(2.5));
        assert_eq!(percentile(&values, 0.75), Some(3.25));
        assert_eq!(percentile(&values, 1.0), Some(4.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn a_ratio_is_formed_within_a_round_so_that_a_slow_round_changes_nothing() {
        let (ours, theirs) = ([10.0, 100.0, 12.0], [20.0, 200.0, 24.0]);
        assert_eq!(Spread::of_ratios(&ours, &theirs), Some(Spread { median: 0.5, low: 0.5, high: 0.5 }));
        // The quotient of medians would say the same here, and something else as soon as rounds differ.
        assert_eq!(Spread::of_ratios(&[1.0, 9.0], &[2.0, 3.0]).unwrap().median, 1.75);
    }

    #[test]
    fn a_median_of_more_values_or_closer_ones_is_more_certain() {
        let spread = Spread { median: 1.0, low: 0.0, high: 1.349 };
        assert!((spread.doubt(4) - 1.253).abs() < 1e-9);
        assert!((spread.doubt(16) - 1.253 / 2.0).abs() < 1e-9);
        assert_eq!(Spread { median: 1.0, low: 1.0, high: 1.0 }.doubt(4), 0.0);
    }

    #[test]
    fn nothing_has_no_spread_and_a_ratio_to_zero_is_none() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[1.0, 2.0]), Some(1.5));
    }
}
