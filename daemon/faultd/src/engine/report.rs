//! What the rules of one fault did, added up, and what that says of the fault.

use std::time::Duration;

use faultd_api::{
    fault::{HeldTimes, PacketCounts},
    units::nanoseconds,
};
use faultd_kernel::datapath::{DelayMeasured, RuleCounters, RuleReport};

/// Packets may be late by this much, or by a tenth of the delay where that is more, before a fault is
/// called degraded.
const TOLERATED_LATENESS: Duration = Duration::from_millis(1);

/// What the rules of one fault did.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FaultReport {
    pub(super) packets: PacketCounts,
    pub(super) delay: Option<DelayMeasured>,
    pub(super) first_affected_ns: Option<u64>,
}

impl FaultReport {
    /// Adds what another rule did.
    pub(super) fn add(&mut self, report: RuleReport) {
        let RuleReport { counters, delay, first_affected_at_ns } = report;
        self.merge(Self { packets: counts(&counters), delay, first_affected_ns: first_affected_at_ns });
    }

    /// Adds what other rules did.
    pub(super) fn merge(&mut self, more: Self) {
        add_counts(&mut self.packets, &more.packets);
        match (&mut self.delay, more.delay) {
            (Some(sum), Some(more)) => sum.merge(&more),
            (sum @ None, more) => *sum = more,
            (Some(_), None) => {}
        }
        let firsts = [self.first_affected_ns, more.first_affected_ns];
        self.first_affected_ns = firsts.into_iter().flatten().min();
    }

    /// How long packets were held.
    pub(super) fn held(&self) -> Option<HeldTimes> {
        let delay = self.delay.as_ref()?;
        let delays = |ratio| delay.delays.quantile(ratio).map_or(0, nanoseconds);
        let lateness = |ratio| delay.lateness.quantile(ratio).map_or(0, nanoseconds);
        Some(HeldTimes {
            count: delay.count,
            mean_ns: nanoseconds(delay.mean),
            p50_ns: delays(0.5),
            p99_ns: delays(0.99),
            late_mean_ns: nanoseconds(delay.mean_lateness),
            late_p50_ns: lateness(0.5),
            late_p99_ns: lateness(0.99),
            early: delay.early,
        })
    }

    /// `effective`, `ineffective` or `degraded`.
    pub(super) fn state(&self, delay: Option<Duration>) -> &'static str {
        let late = self.held().map_or(0, |held| held.late_p99_ns);
        let tolerated = TOLERATED_LATENESS.max(delay.unwrap_or_default() / 10);
        if self.packets.matched == 0 {
            "ineffective"
        } else if self.packets.unintended > 0 || late > nanoseconds(tolerated) {
            "degraded"
        } else {
            "effective"
        }
    }
}

fn counts(rule: &RuleCounters) -> PacketCounts {
    PacketCounts {
        seen: rule.seen,
        matched: rule.matched,
        matched_bytes: rule.matched_bytes,
        delayed: rule.delayed,
        returned: rule.returned,
        dropped: rule.dropped,
        overflowed: rule.overflowed,
        duplicated: rule.duplicated,
        corrupted: rule.corrupted,
        reordered: rule.reordered,
        cut: rule.cut,
        expired: rule.expired,
        unintended: rule.unintended,
    }
}

fn add_counts(sum: &mut PacketCounts, more: &PacketCounts) {
    let parts = [
        (&mut sum.seen, more.seen),
        (&mut sum.matched, more.matched),
        (&mut sum.matched_bytes, more.matched_bytes),
        (&mut sum.delayed, more.delayed),
        (&mut sum.returned, more.returned),
        (&mut sum.dropped, more.dropped),
        (&mut sum.overflowed, more.overflowed),
        (&mut sum.duplicated, more.duplicated),
        (&mut sum.corrupted, more.corrupted),
        (&mut sum.reordered, more.reordered),
        (&mut sum.cut, more.cut),
        (&mut sum.expired, more.expired),
        (&mut sum.unintended, more.unintended),
    ];
    for (sum, more) in parts {
        *sum = sum.saturating_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(matched: u64, unintended: u64, first: Option<u64>) -> RuleReport {
        let counters = RuleCounters { matched, unintended, ..RuleCounters::default() };
        RuleReport { counters, delay: None, first_affected_at_ns: first }
    }

    #[test]
    fn the_first_packet_of_any_rule_is_the_first_of_the_fault() {
        let mut sum = FaultReport::default();
        assert_eq!(sum.state(None), "ineffective");
        sum.add(report(1, 0, Some(7)));
        sum.add(report(2, 0, None));
        sum.add(report(3, 0, Some(5)));
        assert_eq!((sum.packets.matched, sum.first_affected_ns, sum.state(None)), (6, Some(5), "effective"));
    }

    #[test]
    fn packets_that_nobody_asked_to_lose_degrade_a_fault() {
        let mut sum = FaultReport::default();
        sum.add(report(10, 1, None));
        assert_eq!(sum.state(None), "degraded");
    }
}
