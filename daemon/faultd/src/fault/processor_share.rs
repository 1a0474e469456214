//! A share of the processors: all processes of the target together may use no more.

use super::FaultError;

/// The kernel gives no less than a millisecond, and a period is a tenth of a second unless somebody has changed it.
pub const LEAST: f64 = 0.01;
/// More processors than any machine has that is worth slowing down.
pub const MOST: f64 = 4096.0;

/// Processors that may be used, from [`LEAST`] to [`MOST`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessorShare(f64);

impl ProcessorShare {
    /// Checks a number of processors.
    ///
    /// # Errors
    /// When it is not a number from [`LEAST`] to [`MOST`].
    pub fn checked(processors: f64) -> Result<Self, FaultError> {
        // NaN is in no range.
        if (LEAST..=MOST).contains(&processors) {
            Ok(Self(processors))
        } else {
            Err(FaultError::ProcessorsOutOfRange(processors))
        }
    }

    /// The number of processors.
    #[must_use]
    pub fn processors(self) -> f64 {
        self.0
    }

    /// For people: `cpus 0.2`.
    #[must_use]
    pub fn text(self) -> String {
        format!("cpus {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_as_much_as_the_kernel_can_give() {
        assert_eq!(ProcessorShare::checked(0.2).unwrap().text(), "cpus 0.2");
        for right in [0.01, 1.5, 4096.0] {
            assert_eq!(ProcessorShare::checked(right).unwrap().processors(), right);
        }
        for wrong in [0.0, -1.0, 0.0099, 4096.1, f64::NAN, f64::INFINITY] {
            assert!(ProcessorShare::checked(wrong).is_err(), "{wrong}");
        }
    }
}
