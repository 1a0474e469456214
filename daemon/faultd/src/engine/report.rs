//! What the rules of one fault did, or its control of processes, added up, and what that says of the fault.

use std::time::Duration;

use faultd_api::{
    fault::{HeldTimes, PacketCounts, ProcessCounts},
    units::nanoseconds,
};
use faultd_kernel::{
    control_group::ControlReport,
    datapath::{DelayMeasured, RuleCounters, RuleReport},
};

use crate::fault::ProcessFault;

/// Packets may be late by this much, or by a tenth of the delay where that is more, before a fault is
/// called degraded.
const TOLERATED_LATENESS: Duration = Duration::from_millis(1);

/// What the rules of one fault did.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FaultReport {
    pub(super) packets: PacketCounts,
    pub(super) delay: Option<DelayMeasured>,
    pub(super) first_affected_ns: Option<u64>,
    pub(super) processes: Option<ProcessReport>,
}

/// What a control of processes did, with those before it that its target has outlived.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ProcessReport(ControlReport);

impl ProcessReport {
    /// For people.
    pub(super) fn counts(self) -> ProcessCounts {
        let Self(report) = self;
        ProcessCounts {
            group: report.group,
            pauses: report.pauses,
            paused_ns: report.paused_ns,
            unconfirmed_pauses: report.unconfirmed_pauses,
            periods: report.periods,
            throttled_periods: report.throttled_periods,
            throttled_ns: report.throttled_ns,
        }
    }

    /// Adds what a later one did, which says how things are now.
    fn merge(&mut self, later: Self) {
        let (Self(sum), Self(later)) = (self, later);
        *sum = ControlReport {
            group: later.group,
            is_lost: later.is_lost,
            pauses: sum.pauses.saturating_add(later.pauses),
            paused_ns: sum.paused_ns.saturating_add(later.paused_ns),
            unconfirmed_pauses: sum.unconfirmed_pauses.saturating_add(later.unconfirmed_pauses),
            periods: sum.periods.saturating_add(later.periods),
            throttled_periods: sum.throttled_periods.saturating_add(later.throttled_periods),
            throttled_ns: sum.throttled_ns.saturating_add(later.throttled_ns),
            first_at_ns: sum.first_at_ns.or(later.first_at_ns),
        };
    }

    fn state(&self) -> &'static str {
        let Self(report) = self;
        if report.is_lost {
            "gone"
        } else if report.pauses == 0 && report.throttled_periods == 0 {
            "ineffective"
        } else if report.unconfirmed_pauses > 0 {
            "degraded"
        } else {
            "effective"
        }
    }
}

impl FaultReport {
    /// Adds what another rule did.
    pub(super) fn add(&mut self, report: RuleReport) {
        let RuleReport { counters, delay, first_affected_at_ns } = report;
        let packets = counts(&counters);
        self.merge(Self { packets, delay, first_affected_ns: first_affected_at_ns, processes: None });
    }

    /// Adds what a control of processes did.
    pub(super) fn add_processes(&mut self, report: ControlReport) {
        let first_affected_ns = report.first_at_ns;
        let processes = Some(ProcessReport(report));
        self.merge(Self { first_affected_ns, processes, ..Self::default() });
    }

    /// Adds what other rules did.
    pub(super) fn merge(&mut self, more: Self) {
        add_counts(&mut self.packets, &more.packets);
        match (&mut self.delay, more.delay) {
            (Some(sum), Some(more)) => sum.merge(&more),
            (sum @ None, more) => *sum = more,
            (Some(_), None) => {}
        }
        match (&mut self.processes, more.processes) {
            (Some(sum), Some(more)) => sum.merge(more),
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

    /// `effective`, `ineffective`, `degraded`, or `gone`.
    pub(super) fn state(&self, processes: Option<ProcessFault>, delay: Option<Duration>) -> &'static str {
        if processes.is_some() {
            return self.processes.as_ref().map_or("ineffective", ProcessReport::state);
        }
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
        assert_eq!(sum.state(None, None), "ineffective");
        sum.add(report(1, 0, Some(7)));
        sum.add(report(2, 0, None));
        sum.add(report(3, 0, Some(5)));
        assert_eq!(
            (sum.packets.matched, sum.first_affected_ns, sum.state(None, None)),
            (6, Some(5), "effective")
        );
    }

    #[test]
    fn pauses_before_and_after_a_restart_of_the_target_are_added() {
        let share = crate::fault::ProcessorShare::checked(0.5).map(ProcessFault::Cpu).ok();
        let mut sum = FaultReport::default();
        assert_eq!(sum.state(share, None), "ineffective");
        let control = |pauses, first_at_ns, is_lost| ControlReport {
            pauses,
            paused_ns: pauses * 10,
            first_at_ns,
            is_lost,
            ..ControlReport::default()
        };
        sum.add_processes(control(2, Some(7), true));
        assert_eq!(sum.state(share, None), "gone");
        sum.add_processes(control(3, Some(9), false));
        let counts = sum.processes.clone().unwrap().counts();
        assert_eq!((counts.pauses, counts.paused_ns, sum.first_affected_ns), (5, 50, Some(7)));
        assert_eq!(sum.state(share, None), "effective");
        sum.add_processes(ControlReport { unconfirmed_pauses: 1, ..ControlReport::default() });
        assert_eq!(sum.state(share, None), "degraded");
    }

    #[test]
    fn packets_that_nobody_asked_to_lose_degrade_a_fault() {
        let mut sum = FaultReport::default();
        sum.add(report(10, 1, None));
        assert_eq!(sum.state(None, None), "degraded");
    }
}
