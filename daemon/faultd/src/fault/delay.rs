//! A fixed one-way delay: every packet arrives later by the same time, in the same order.

use std::time::Duration;

use faultd_api::units::{LONGEST_DELAY, duration_text, nanoseconds};

use super::FaultError;

/// A one-way delay: more than zero, at most [`LONGEST_DELAY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay(Duration);

impl Delay {
    /// Checks a delay in nanoseconds.
    ///
    /// # Errors
    /// When it is zero or longer than [`LONGEST_DELAY`].
    pub fn checked(delay_ns: u64) -> Result<Self, FaultError> {
        let delay = Duration::from_nanos(delay_ns);
        if delay.is_zero() || delay > LONGEST_DELAY {
            return Err(FaultError::DelayOutOfRange(delay_ns));
        }
        Ok(Self(delay))
    }

    /// The delay as a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }

    /// For people: `delay 100ms`.
    #[must_use]
    pub fn text(self) -> String {
        format!("delay {}", duration_text(nanoseconds(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_above_zero_and_within_the_bound() {
        assert_eq!(Delay::checked(1).unwrap().duration(), Duration::from_nanos(1));
        assert!(Delay::checked(0).is_err());
        assert!(Delay::checked(nanoseconds(LONGEST_DELAY)).is_ok());
        assert!(Delay::checked(nanoseconds(LONGEST_DELAY) + 1).is_err());
    }

    #[test]
    fn a_delay_reads_as_people_write_it() {
        assert_eq!(Delay::checked(100_000_000).unwrap().text(), "delay 100ms");
    }
}
