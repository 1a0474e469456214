//! The clock that eBPF programs read: all instants of this crate are nanoseconds on it.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since boot without time asleep (`CLOCK_MONOTONIC`), the clock of `bpf_ktime_get_ns`.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// A span in nanoseconds; spans beyond five centuries are cut to that.
pub fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A span as system calls want it; longer ones than they can take are cut.
pub(crate) fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn the_clock_does_not_run_backwards() {
        let before = super::monotonic_ns();
        assert!(super::monotonic_ns() >= before);
    }

    #[test]
    fn absurd_spans_saturate() {
        assert_eq!(super::nanoseconds(Duration::from_millis(5)), 5_000_000);
        assert_eq!(super::nanoseconds(Duration::MAX), u64::MAX);
    }
}
