//! Asks another daemon for the time.

use faultd_api::proxy::ManagerProxy;
use rustix::time::{ClockId, clock_gettime};

use super::clock::{ClockOffset, Sample};
use crate::command_error::CommandError;

/// How often a clock is asked: the shortest round trip counts.
const QUESTIONS: usize = 8;

/// How far the monotonic clock there is from ours.
///
/// # Errors
/// When the daemon does not say it.
pub(crate) async fn ask_for_the_time(manager: &ManagerProxy<'_>) -> Result<ClockOffset, CommandError> {
    let mut samples = Vec::new();
    for _ in 0..QUESTIONS {
        let asked_ns = now_ns();
        let (there_ns, _time_of_day) = manager.clock().await?;
        samples.push(Sample { asked_ns, answered_ns: now_ns(), there_ns });
    }
    ClockOffset::of(&samples).ok_or_else(|| CommandError::CheckFailed("no clock was asked".to_owned()))
}

/// Our monotonic clock, which is that of a daemon on this machine too, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(now.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(now.tv_nsec))
}
