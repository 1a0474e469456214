//! Pauses: the processes of the target stand still, again and again or once.

use std::time::Duration;

use faultd_api::{
    shape::FaultShape,
    units::{LONGEST_DELAY, duration_text, nanoseconds},
};

use super::FaultError;

/// A shorter one is over before the kernel has stopped everybody.
pub const SHORTEST: Duration = Duration::from_millis(1);
/// The longest time from one pause to the next.
pub const LONGEST_PERIOD: Duration = Duration::from_secs(3600);

/// Pauses of a length, at intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    length: Duration,
    every: Option<Duration>,
}

impl Pause {
    /// The pauses that are asked for.
    ///
    /// # Errors
    /// When a pause is shorter than a millisecond or longer than [`LONGEST_DELAY`], is not over when the next one
    /// begins, or an interval is given without one.
    pub fn checked(shape: &FaultShape) -> Result<Option<Self>, FaultError> {
        let Some(length_ns) = shape.pause_ns else {
            return if shape.pause_every_ns.is_some() {
                Err(FaultError::PeriodWithoutPause)
            } else {
                Ok(None)
            };
        };
        let (length, every) =
            (Duration::from_nanos(length_ns), shape.pause_every_ns.map(Duration::from_nanos));
        if !(SHORTEST..=LONGEST_DELAY).contains(&length) {
            return Err(FaultError::PauseOutOfRange(length_ns));
        }
        if every.is_some_and(|every| every <= length || every > LONGEST_PERIOD) {
            return Err(FaultError::PausePeriodOutOfRange { length_ns });
        }
        Ok(Some(Self { length, every }))
    }

    /// How long each is.
    #[must_use]
    pub fn length(self) -> Duration {
        self.length
    }

    /// From the begin of one to that of the next; nothing for one alone.
    #[must_use]
    pub fn every(self) -> Option<Duration> {
        self.every
    }

    /// The share of time in which processes stand still, 0 to 1. One pause is all of the time that it takes.
    #[must_use]
    pub fn share(self) -> f64 {
        self.every.map_or(1.0, |every| self.length.as_secs_f64() / every.as_secs_f64())
    }

    /// For people: `pause 200ms every 1s`.
    #[must_use]
    pub fn text(self) -> String {
        let text = |duration| duration_text(nanoseconds(duration));
        let every = self.every.map_or("once".to_owned(), |every| format!("every {}", text(every)));
        format!("pause {} {every}", text(self.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(length_ns: Option<u64>, every_ns: Option<u64>) -> Result<Option<Pause>, FaultError> {
        Pause::checked(&FaultShape { pause_ns: length_ns, pause_every_ns: every_ns, ..FaultShape::default() })
    }

    #[test]
    fn a_pause_is_over_before_the_next_one_begins() {
        let text = |length, every| pause(Some(length), every).unwrap().unwrap().text();
        assert_eq!(text(200_000_000, Some(1_000_000_000)), "pause 200ms every 1s");
        assert_eq!(text(1_000_000, None), "pause 1ms once");
        assert_eq!(pause(None, None), Ok(None));
        for wrong in [0, 999_999, nanoseconds(LONGEST_DELAY) + 1, u64::MAX] {
            assert_eq!(pause(Some(wrong), None), Err(FaultError::PauseOutOfRange(wrong)));
        }
        for wrong in [0, 1, 5_000_000, nanoseconds(LONGEST_PERIOD) + 1, u64::MAX] {
            let length_ns = 5_000_000;
            let expected = Err(FaultError::PausePeriodOutOfRange { length_ns });
            assert_eq!(pause(Some(length_ns), Some(wrong)), expected);
        }
        assert_eq!(pause(None, Some(1)), Err(FaultError::PeriodWithoutPause));
    }
}
