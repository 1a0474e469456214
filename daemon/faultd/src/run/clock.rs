//! One clock for a run: the monotonic one of the kernel's programs, with zero at the start of the
//! measured time, and the wall clock read once beside it.

use std::time::Duration;

use faultd_kernel::clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A run's clock; copies agree.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    origin_ns: u64,
    origin_instant: Instant,
    origin_wall: Timestamp,
}

impl RunClock {
    /// A clock whose zero is `warm_up` from now.
    #[must_use]
    pub fn starting_in(warm_up: Duration) -> Self {
        Self {
            origin_ns: clock::monotonic_ns().saturating_add(faultd_api::units::nanoseconds(warm_up)),
            origin_instant: Instant::now() + warm_up,
            origin_wall: Timestamp::now() + warm_up,
        }
    }

    /// Zero, on the monotonic clock.
    #[must_use]
    pub fn origin_ns(&self) -> u64 {
        self.origin_ns
    }

    /// Now, in nanoseconds since zero; negative in the warm-up.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        self.since_origin_ns(clock::monotonic_ns())
    }

    /// Now, since zero; in the warm-up it is still zero.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.now_ns()).unwrap_or_default())
    }

    /// An instant of the monotonic clock, in nanoseconds since zero.
    #[must_use]
    pub fn since_origin_ns(&self, monotonic_ns: u64) -> i64 {
        monotonic_ns.wrapping_sub(self.origin_ns).cast_signed()
    }

    /// An instant of the monotonic clock, in seconds since zero.
    #[must_use]
    pub fn since_origin_s(&self, monotonic_ns: u64) -> f64 {
        SignedDuration::from_nanos(self.since_origin_ns(monotonic_ns)).as_secs_f64()
    }

    /// The wall clock at an instant of the monotonic one.
    #[must_use]
    pub fn wall_clock(&self, monotonic_ns: u64) -> Timestamp {
        self.origin_wall + SignedDuration::from_nanos(self.since_origin_ns(monotonic_ns))
    }

    /// When to wake for a time since zero; before zero is zero.
    #[must_use]
    pub fn instant_at(&self, since_origin: Duration) -> Instant {
        self.origin_instant + since_origin
    }

    /// When to wake for the end of a second, which may lie in the warm-up.
    #[must_use]
    pub fn end_of_second(&self, second: i64) -> Instant {
        let end = second.saturating_add(1);
        let distance = Duration::from_secs(end.unsigned_abs());
        if end >= 0 { self.origin_instant + distance } else { self.origin_instant - distance }
    }
}
