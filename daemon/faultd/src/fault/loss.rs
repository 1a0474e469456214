//! Random loss: each packet is dropped with the same probability, independent of the others.

use faultd_api::units::share_text;

use super::FaultError;

/// A share of packets: more than 0, at most 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss(f64);

impl Loss {
    /// Checks a ratio.
    ///
    /// # Errors
    /// When it is not a number in 0 < ratio <= 1.
    pub fn checked(ratio: f64) -> Result<Self, FaultError> {
        // Written so that NaN fails too.
        if ratio > 0.0 && ratio <= 1.0 { Ok(Self(ratio)) } else { Err(FaultError::LossOutOfRange(ratio)) }
    }

    /// The share as a ratio.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.0
    }

    /// For people: `loss 20%`.
    #[must_use]
    pub fn text(self) -> String {
        format!("loss {}", share_text(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_above_zero_and_at_most_one() {
        assert_eq!(Loss::checked(0.2).unwrap().ratio(), 0.2);
        assert!(Loss::checked(1.0).is_ok());
        for wrong in [0.0, -0.01, 1.01, f64::NAN, f64::INFINITY] {
            assert!(Loss::checked(wrong).is_err(), "{wrong}");
        }
    }
}
